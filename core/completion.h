// One thing the kernel may hold: a request in the ring, or a multishot one that keeps producing events.
//
// A Completion lives in its owner (a connection, a listener, an awaiting coroutine frame) and must outlive its last
// event: destroying one in flight aborts. Owners that want to go away cancel first and wait for the event that says
// `more == false`.
#pragma once

#include <cstdint>
#include <span>

#include "core/check.h"

namespace txn {

struct CompletionEvent {
  int32_t result = 0;    // as of the system call: bytes, a file descriptor, poll events; negative errno on error
  bool more = false;     // a multishot request stays armed; false: this was the last event
  std::span<char> data;  // recv only: the bytes, valid until on_completion returns
};

class Completion {
 public:
  Completion() = default;
  Completion(const Completion&) = delete;
  Completion& operator=(const Completion&) = delete;

  // Called on the loop's thread. `in_flight()` is already false when `event.more` is.
  virtual void on_completion(const CompletionEvent& event) = 0;

  // Whether the kernel may still produce an event for this object.
  bool in_flight() const { return in_flight_; }

 protected:
  ~Completion() { CHECK(!in_flight_, "a completion was destroyed while the kernel held it"); }

 private:
  friend class Ring;
  bool in_flight_ = false;
};

}  // namespace txn
