// C++20 coroutines with scoped ownership.
//
// Task<T> starts when it is awaited and hands its result to the one that awaits it. A Scope owns tasks that run beside
// each other; it counts what is inside and cannot be destroyed before the last one has left, so nothing is ever
// detached. Tasks, scopes and awaiters belong to one loop's thread.
//
// Rules that keep lifetimes visible: parameters of a coroutine are taken by value, or by reference only to what its
// owner outlives it with; awaiters live in the awaiting frame and are what the kernel or another part points to, so a
// frame must not be destroyed while it waits.
#pragma once

#include <coroutine>
#include <cstdlib>
#include <optional>
#include <utility>

#include "core/check.h"
#include "core/frame_pool.h"

namespace txn {

template <class T>
class Task;

namespace internal {

struct PromiseBase {
  struct FinalAwaiter {
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> handle) const noexcept {
      return handle.promise().continuation;
    }
    void await_resume() const noexcept {}
  };

  static void* operator new(size_t size) { return FramePool::allocate(size); }
  static void operator delete(void* memory, size_t size) { FramePool::release(memory, size); }

  std::suspend_always initial_suspend() const noexcept { return {}; }
  FinalAwaiter final_suspend() const noexcept { return {}; }
  // Errors are values here; an exception that leaves a task is a bug or out of memory.
  [[noreturn]] void unhandled_exception() const { check_failed("no exception", __FILE__, __LINE__, "a task threw"); }

  std::coroutine_handle<> continuation = std::noop_coroutine();
};

template <class T>
struct Promise : PromiseBase {
  Task<T> get_return_object();
  template <class U>
  void return_value(U&& value) {
    result.emplace(std::forward<U>(value));
  }
  std::optional<T> result;
};

template <>
struct Promise<void> : PromiseBase {
  Task<void> get_return_object();
  void return_void() const {}
};

}  // namespace internal

template <class T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = internal::Promise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (handle_) handle_.destroy();
  }

  auto operator co_await() && {
    struct Awaiter {
      Handle handle;
      bool await_ready() const { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiting) const {
        handle.promise().continuation = awaiting;
        return handle;
      }
      T await_resume() const {
        if constexpr (!std::is_void_v<T>) return std::move(*handle.promise().result);
      }
    };
    return Awaiter{handle_};
  }

 private:
  friend promise_type;
  explicit Task(Handle handle) : handle_(handle) {}
  Handle handle_;
};

namespace internal {
template <class T>
Task<T> Promise<T>::get_return_object() {
  return Task<T>(std::coroutine_handle<Promise<T>>::from_promise(*this));
}
inline Task<void> Promise<void>::get_return_object() {
  return Task<void>(std::coroutine_handle<Promise<void>>::from_promise(*this));
}
}  // namespace internal

// Owns the tasks spawned into it. Shutdown is: ask the tasks to end (by whatever they wait for), then co_await join().
class Scope {
 public:
  Scope() = default;
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
  ~Scope() { CHECK(running_ == 0, "a scope was destroyed while its tasks ran"); }

  // Starts `task` at once, on the caller's stack until it first suspends. Its frame goes away when it has finished.
  void spawn(Task<void> task) {
    ++running_;
    run(std::move(task));
  }

  size_t running() const { return running_; }

  // Resumes the caller when no task is inside. One joiner at a time.
  auto join() {
    struct Awaiter {
      Scope& scope;
      bool await_ready() const { return scope.running_ == 0; }
      void await_suspend(std::coroutine_handle<> awaiting) const {
        CHECK(!scope.joiner_, "one joiner per scope");
        scope.joiner_ = awaiting;
      }
      void await_resume() const {}
    };
    return Awaiter{*this};
  }

 private:
  // Frees its own frame at the end: nobody holds a handle to it.
  struct Runner {
    struct promise_type {
      static void* operator new(size_t size) { return FramePool::allocate(size); }
      static void operator delete(void* memory, size_t size) { FramePool::release(memory, size); }
      Runner get_return_object() const { return {}; }
      std::suspend_never initial_suspend() const noexcept { return {}; }
      std::suspend_never final_suspend() const noexcept { return {}; }
      void return_void() const {}
      [[noreturn]] void unhandled_exception() const {
        check_failed("no exception", __FILE__, __LINE__, "a task threw");
      }
    };
  };

  Runner run(Task<void> task) {
    co_await std::move(task);
    leave();
  }

  void leave() {
    if (--running_ == 0 && joiner_) std::exchange(joiner_, nullptr).resume();
  }

  size_t running_ = 0;
  std::coroutine_handle<> joiner_;
};

}  // namespace txn
