#include "core/mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

#include "core/check.h"

namespace txn {

Mailbox::Wake::Wake() : descriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  CHECK(descriptor >= 0, "eventfd for a worker's mailbox");
}

Mailbox::Wake::~Wake() { close(descriptor); }

void Mailbox::post(Message& message) {
  // Behind the exchange nothing of `this` and `message` is touched: they may be gone. Until then they are there,
  // because nobody can have run the message.
  const std::shared_ptr<const Wake> wake = wake_;
  Message* head = head_.load(std::memory_order_relaxed);
  do {
    message.next_ = head;
  } while (!head_.compare_exchange_weak(head, &message, std::memory_order_release, std::memory_order_relaxed));
  if (head != nullptr) return;  // somebody else has woken the worker, and it has not looked yet
  const uint64_t one = 1;
  // The only possible failure is a counter at its maximum, which is readable as well.
  [[maybe_unused]] const ssize_t written = write(wake->descriptor, &one, sizeof one);
}

bool Mailbox::drain() {
  Message* newest = head_.exchange(nullptr, std::memory_order_acquire);
  if (newest == nullptr) return false;
  Message* oldest = nullptr;
  while (newest != nullptr) {
    Message* next = newest->next_;
    newest->next_ = oldest;
    oldest = newest;
    newest = next;
  }
  while (oldest != nullptr) {
    Message* next = oldest->next_;  // run() may destroy or send on the message
    oldest->run();
    oldest = next;
  }
  return true;
}

void Mailbox::clear_wake() const {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t received = read(wake_->descriptor, &count, sizeof count);
}

}  // namespace txn
