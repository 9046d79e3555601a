// A growable run of bytes that keeps its memory when cleared: the storage of half-received requests and of responses
// waiting to be sent.
//
// Differs from std::string in three ways: growing never zero-fills, there is a place to write into before committing
// (prepare/commit), and kPadding bytes behind the capacity are always readable, so that a vectorised JSON parser may
// look past the end of a body that lives here. What stands in those bytes is unspecified.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "core/check.h"

namespace txn {

// Single-threaded. Moving leaves the source empty; copying is not offered.
class ByteBuffer {
 public:
  // What simdjson asks for behind a text (SIMDJSON_PADDING).
  static constexpr size_t kPadding = 64;

  ByteBuffer() = default;
  ByteBuffer(ByteBuffer&& other) noexcept
      : bytes_(std::move(other.bytes_)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  ByteBuffer& operator=(ByteBuffer&& other) noexcept {
    bytes_ = std::move(other.bytes_);
    size_ = std::exchange(other.size_, 0);
    capacity_ = std::exchange(other.capacity_, 0);
    return *this;
  }

  const char* data() const { return bytes_.get(); }
  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  bool empty() const { return size_ == 0; }
  // Valid until the next call that is not const.
  std::string_view view() const { return {bytes_.get(), size_}; }

  // Room for at least `count` bytes behind size(). The pointer is valid until the next call that is not const, except
  // commit(); nothing counts as content before commit().
  char* prepare(size_t count) {
    if (capacity_ - size_ < count) [[unlikely]] {
      grow(size_ + count);
    }
    return bytes_.get() + size_;
  }

  // Makes the first `count` bytes of what prepare() returned content. REQUIRES: they were prepared.
  void commit(size_t count) {
    CHECK(count <= capacity_ - size_, "more bytes committed than prepared");
    size_ += count;
  }

  // REQUIRES: `bytes` is not part of this buffer.
  void append(std::string_view bytes) {
    if (!bytes.empty()) {
      std::memcpy(prepare(bytes.size()), bytes.data(), bytes.size());
      size_ += bytes.size();
    }
  }

  // Makes capacity() at least `capacity`, so that filling it up moves nothing.
  void reserve(size_t capacity) {
    if (capacity > capacity_) {
      grow(capacity);
    }
  }

  // Keeps only content [offset, offset + count), moved to the front. REQUIRES: it is inside the content.
  void keep(size_t offset, size_t count) {
    CHECK(offset <= size_ && count <= size_ - offset, "range outside the buffer");
    if (offset != 0 && count != 0) {
      std::memmove(bytes_.get(), bytes_.get() + offset, count);
    }
    size_ = count;
  }

  // Empties; the memory stays for the next use.
  void clear() { size_ = 0; }

  // Empties and gives the memory back.
  void release() {
    bytes_.reset();
    size_ = 0;
    capacity_ = 0;
  }

 private:
  static constexpr size_t kMinCapacity = 1024;

  void grow(size_t needed) {
    size_t capacity = capacity_ * 2;
    capacity = capacity < kMinCapacity ? kMinCapacity : capacity;
    capacity = capacity < needed ? needed : capacity;
    auto bytes = std::make_unique_for_overwrite<char[]>(capacity + kPadding);
    if (size_ != 0) {
      std::memcpy(bytes.get(), bytes_.get(), size_);
    }
    bytes_ = std::move(bytes);
    capacity_ = capacity;
  }

  std::unique_ptr<char[]> bytes_;
  size_t size_ = 0;
  size_t capacity_ = 0;  // without the padding
};

}  // namespace txn
