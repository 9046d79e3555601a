// Lines of text on their way from one thread to another: a ring of bytes with one producer and one consumer, without
// locks, system calls or allocation on either side.
//
// A line is there as a whole or not at all: the producer publishes its end after its last byte, and what does not fit
// is dropped and counted. Lines carry no length: whoever reads them knows their end (for logs and spans, '\n').
//
// The indices only ever grow; index modulo capacity is the place. Each side keeps a copy of the other's index and looks
// at the real one only when the copy says full or empty, so that the two cores rarely touch the same cache line.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/check.h"

namespace txn {

class LineRing {
 public:
  // `capacity` bytes, a power of two.
  explicit LineRing(size_t capacity) : capacity_(capacity), bytes_(new char[capacity]) {
    CHECK(std::has_single_bit(capacity), "a ring's capacity is a power of two");
  }

  // --- Producer ---

  // False: no room, the line is dropped and counted.
  bool push(std::string_view line) {
    const uint64_t end = end_.load(std::memory_order_relaxed);
    if (line.size() > capacity_ - (end - known_begin_)) {
      known_begin_ = begin_.load(std::memory_order_acquire);
      if (line.size() > capacity_ - (end - known_begin_)) {
        increase(dropped_);
        return false;
      }
    }
    const size_t at = end & (capacity_ - 1);
    const size_t first = std::min(line.size(), capacity_ - at);
    line.copy(bytes_.get() + at, first);
    line.copy(bytes_.get(), line.size() - first, first);
    increase(lines_);
    // Sequentially consistent because whoever sleeps looks at the rings after saying so, and the producer looks whether
    // somebody sleeps after publishing: one of the two must see the other.
    end_.store(end + line.size(), std::memory_order_seq_cst);
    return true;
  }

  // Whether the producer has filled more than half, as far as it knows: a reason to wake the consumer early.
  bool is_half_full() {
    const uint64_t end = end_.load(std::memory_order_relaxed);
    if (end - known_begin_ <= capacity_ / 2) return false;
    known_begin_ = begin_.load(std::memory_order_acquire);
    return end - known_begin_ > capacity_ / 2;
  }

  // --- Consumer ---

  bool is_empty() const { return begin_.load(std::memory_order_relaxed) == end_.load(std::memory_order_seq_cst); }

  // Takes all that is there and appends it to `out`; false when there was nothing.
  bool pop_all(std::string& out) {
    const uint64_t begin = begin_.load(std::memory_order_relaxed);
    const uint64_t end = end_.load(std::memory_order_acquire);
    if (begin == end) return false;
    const size_t at = begin & (capacity_ - 1);
    const size_t size = end - begin;
    const size_t first = std::min(size, capacity_ - at);
    out.append(bytes_.get() + at, first);
    out.append(bytes_.get(), size - first);
    begin_.store(end, std::memory_order_release);
    return true;
  }

  // --- Any thread ---

  uint64_t lines() const { return lines_.load(std::memory_order_relaxed); }  // that found room
  uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  // For a counter that one thread writes: no locked instruction.
  static void increase(std::atomic<uint64_t>& counter) {
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  static constexpr size_t kCacheLine = 64;

  const size_t capacity_;
  const std::unique_ptr<char[]> bytes_;
  alignas(kCacheLine) std::atomic<uint64_t> end_{0};  // written by the producer, as are the next three
  uint64_t known_begin_ = 0;
  std::atomic<uint64_t> lines_{0};
  std::atomic<uint64_t> dropped_{0};
  alignas(kCacheLine) std::atomic<uint64_t> begin_{0};  // written by the consumer
};

}  // namespace txn
