// The kernel's completion queue, one per worker, behind an interface that says nothing of io_uring: a second driver
// (epoll with emulated completions) can implement it. ring.cc is the only file that includes liburing.
//
// Threading: a Ring belongs to the thread that created it (IORING_SETUP_SINGLE_ISSUER); every call from another thread
// aborts. Requests are queued by the calls below and reach the kernel with the next submit_and_wait: one system call a
// loop turn. Sources: io_uring_setup(2), io_uring_enter(2), io_uring_prep_recv_multishot(3), io_uring_multishot(7),
// io_uring_cancelation(7).
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "core/completion.h"
#include "core/error.h"

struct sockaddr;

namespace txn {

struct RingOptions {
  uint32_t submission_entries = 1024;  // power of two
  uint32_t completion_entries = 8192;  // several multishot events per connection may be pending in one turn
  uint32_t buffer_count = 1024;        // provided receive buffers, power of two, at most 32768
  uint32_t buffer_size = 4096;         // bytes; a request with a JWT and a small body fits
};

class Ring {
 public:
  // Creates the ring for the calling thread. The error is one line that names what the kernel refused (too old,
  // seccomp, kernel.io_uring_disabled, RLIMIT_MEMLOCK) and what to do about it.
  static Result<std::unique_ptr<Ring>> create(const RingOptions& options);
  virtual ~Ring() = default;

  // Multishot accept on a listening socket: an event per connection, result = its descriptor (SOCK_CLOEXEC). The
  // request ends (more == false) on any error, EMFILE included.
  virtual void accept(int listener, Completion& completion) = 0;

  // Multishot receive into provided buffers: an event per chunk with `data`; result 0 is the peer's end of stream.
  // -ENOBUFS means the buffers had run dry: arm again in a later turn, when the ring has them back.
  virtual void receive(int socket, Completion& completion) = 0;

  // Sends `bytes`, which must stay valid until the event. A short count is possible and not an error. At most one
  // send may be in flight on a socket, or the kernel may reorder them.
  virtual void send(int socket, std::span<const char> bytes, Completion& completion) = 0;

  // Connects `socket` to `address`, whose `length` bytes must stay valid until the event; result 0 or the negative
  // errno of connect(2). For sockets without O_NONBLOCK: it is the ring that does not block.
  virtual void connect(int socket, const sockaddr* address, uint32_t length, Completion& completion) = 0;

  // One receive into the caller's memory, which must stay valid until the event: for the few sockets that a worker
  // opens itself, where a provided buffer would be one less for clients. Result 0 is the peer's end of stream.
  virtual void receive_into(int socket, std::span<char> bytes, Completion& completion) = 0;

  // One-shot level-triggered poll for POLLIN, POLLOUT ...; the event's result is the set of ready conditions.
  virtual void poll(int descriptor, uint32_t events, Completion& completion) = 0;

  // Asks the kernel to end the request of `completion` early; its last event still comes (with -ECANCELED, or with its
  // true result when that was faster). Harmless when it is not in flight.
  virtual void cancel(Completion& completion) = 0;

  // Submits what was queued and waits until an event is there or `timeout_ns` has passed (0: does not wait, < 0: no
  // limit). Calls nobody back: the caller can read its clock in between.
  virtual void submit_and_wait(int64_t timeout_ns) = 0;

  // Calls on_completion for the events that are there, oldest first, `most` of them at most. Returns their number.
  virtual size_t deliver(size_t most) = 0;

  // Receive buffers that no event holds which is still to be delivered.
  virtual uint32_t free_buffers() const = 0;
  // Times that the completion queue overflowed its memory (the kernel kept the events aside; multishots ended). Any
  // thread.
  virtual uint64_t overflows() const = 0;

 protected:
  static void mark_submitted(Completion& completion) {
    CHECK(!completion.in_flight_, "one request at a time per completion");
    completion.in_flight_ = true;
  }
  static void complete(Completion& completion, const CompletionEvent& event) {
    if (!event.more) completion.in_flight_ = false;
    completion.on_completion(event);
  }
};

}  // namespace txn
