// Memory for coroutine frames: free lists by size, one set per thread, so that a request's frames cost no malloc once
// the worker is warm. A frame must be freed on the thread that allocated it, which holds because tasks belong to one
// worker's loop.
#pragma once

#include <array>
#include <cstddef>
#include <new>

namespace txn {

class FramePool {
 public:
  static void* allocate(size_t size) {
    const size_t bin = bin_of(size);
    if (bin >= kBins) return ::operator new(size);
    FramePool& pool = local();
    if (Free* head = pool.bins_[bin]) {
      pool.bins_[bin] = head->next;
      return head;
    }
    return ::operator new((bin + 1) * kStep);
  }

  static void release(void* memory, size_t size) {
    const size_t bin = bin_of(size);
    if (bin >= kBins) {
      ::operator delete(memory);
      return;
    }
    FramePool& pool = local();
    auto* freed = static_cast<Free*>(memory);
    freed->next = pool.bins_[bin];
    pool.bins_[bin] = freed;
  }

  FramePool(const FramePool&) = delete;
  FramePool& operator=(const FramePool&) = delete;
  ~FramePool() {
    for (Free* head : bins_) {
      while (head != nullptr) {
        Free* next = head->next;
        ::operator delete(head);
        head = next;
      }
    }
  }

 private:
  static constexpr size_t kStep = 64;
  static constexpr size_t kBins = 64;  // frames up to 4 KiB
  struct Free {
    Free* next;
  };
  FramePool() = default;
  static size_t bin_of(size_t size) { return (size + kStep - 1) / kStep - 1; }
  static FramePool& local() {
    static thread_local FramePool pool;
    return pool;
  }
  std::array<Free*, kBins> bins_{};
};

}  // namespace txn
