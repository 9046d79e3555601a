#include "core/loop.h"

#include <poll.h>

#include <utility>

namespace txn {
namespace {

// Enough that a turn's system call is shared by many, few enough that they take well below a millisecond.
constexpr size_t kEventsPerTurn = 256;
// From so many events in a turn on there may be more behind them that the kernel has kept to itself: since Linux 6.13
// one io_uring_enter brings about 20 of those that are due (IO_LOCAL_TW_DEFAULT_MAX), in order of arrival.
constexpr size_t kBusyEvents = 16;

}  // namespace

Loop::Loop(std::unique_ptr<Ring> ring, Clock& clock)
    : ring_(std::move(ring)), clock_(clock), timers_(clock.now_ns()), mailbox_wake_(*this) {
  ring_->poll(mailbox_.wake_descriptor(), POLLIN, mailbox_wake_);
}

Loop::~Loop() {
  // The kernel must let go of the mailbox before it is closed.
  ring_->cancel(mailbox_wake_);
  stopping_ = true;
  while (mailbox_wake_.in_flight()) {
    ring_->submit_and_wait(-1);
    ring_->deliver(kEventsPerTurn);
  }
  mailbox_.drain();
}

void Loop::MailboxWake::on_completion(const CompletionEvent&) {
  if (loop_.stopping_) return;
  loop_.mailbox_.clear_wake();
  loop_.ring_->poll(loop_.mailbox_.wake_descriptor(), POLLIN, *this);
}

void Loop::run() {
  while (!stopping_) turn();
}

void Loop::turn() {
  // 1. One system call: what the last turn produced goes out, what has happened since comes in.
  const int64_t wait = wait_ns();
  keep_turning_ = false;
  ring_->submit_and_wait(wait);
  // 2. One reading of the clocks serves the whole turn: after the wait, or every deadline set below would be short by
  // it.
  clock_.update();
  // Under overload events queue up faster than they can be dealt with. Then a turn takes some of them and goes on to
  // send what has become ready, and whoever must not wait behind the rest looks for itself; or else what has been
  // accepted would starve behind what is going to be refused (J. Mogul, K. Ramakrishnan: Eliminating Receive Livelock
  // in an Interrupt-Driven Kernel, 1997).
  if (is_busy_) look_ahead();
  const size_t delivered = ring_->deliver(kEventsPerTurn);
  is_busy_ = delivered >= kBusyEvents;
  has_backlog_ = delivered == kEventsPerTurn;
  // 3. Messages before timers: a message may bring the very thing that a timer is about to give up on.
  mailbox_.drain();
  timers_.advance(clock_.now_ns());
  // 4. Whoever was made ready by the above, and whoever they make ready.
  run_ready();
  // 5. Everything gathered is sent once, to the database before the network.
  run_flushers();
#ifndef TXN_WITHOUT_METRICS
  counters_.turn_ns.observe(static_cast<uint64_t>(clock_.read_ns() - clock_.now_ns()));
#endif
}

void Loop::look_ahead() {
  for (LookAhead* one = lookers_.front(); one != nullptr;) {
    LookAhead* next = lookers_.next(*one);
    one->look();
    one = next;
  }
}

void Loop::run_ready() {
  while (!ready_.empty()) {
    running_.swap(ready_);
    for (std::coroutine_handle<> handle : running_) handle.resume();
    running_.clear();
  }
}

void Loop::run_flushers() {
  for (auto& stage : flushers_) {
    IntrusiveList<Flusher, FlushListTag> due;
    due.splice_back(stage);
    while (Flusher* flusher = due.pop_front()) flusher->flush();
  }
}

int64_t Loop::wait_ns() const {
  if (keep_turning_ || has_backlog_ || !ready_.empty() || !flushers_[0].empty() || !flushers_[1].empty()) return 0;
  return timers_.until_next_ns(clock_.now_ns());
}

}  // namespace txn
