// Messages to a worker from other threads: a lock-free many-producers stack that the worker empties once a turn, and an
// eventfd on its ring that wakes it. The wake is written only when the box was empty, so a burst costs one system call.
#pragma once

#include <atomic>
#include <memory>

namespace txn {

// Embedded in whatever is sent. The sender gives it away with post(); run() is called once on the receiving worker's
// thread and decides what becomes of it (delete itself, send itself back ...).
class Message {
 public:
  Message() = default;
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  virtual void run() = 0;

 protected:
  ~Message() = default;

 private:
  friend class Mailbox;
  Message* next_ = nullptr;
};

class Mailbox {
 public:
  // Opens the eventfd; aborts when the process has no descriptor left for it (start-up only).
  Mailbox() = default;
  ~Mailbox() = default;
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // Any thread. The message runs in the order of posting, as far as one sender is concerned. The mailbox must be there
  // until the message has run, and may be gone from then on, even before this returns.
  void post(Message& message);

  // The receiving thread: runs what has been posted. Returns whether there was anything.
  bool drain();

  // Becomes readable when there may be messages. Read by the receiving loop only.
  int wake_descriptor() const { return wake_->descriptor; }
  // Clears the descriptor's readable state.
  void clear_wake() const;

 private:
  // What a sender touches once its message can be seen, and so owns a share of. The message may be what the receiver
  // was waiting for to go away: with a plain member the sender would read freed memory, or write its wake into whatever
  // file has the number by then.
  struct Wake {
    Wake();
    ~Wake();
    Wake(const Wake&) = delete;
    Wake& operator=(const Wake&) = delete;
    const int descriptor;  // an eventfd
  };

  std::atomic<Message*> head_{nullptr};
  const std::shared_ptr<const Wake> wake_ = std::make_shared<const Wake>();
};

}  // namespace txn
