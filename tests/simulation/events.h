// Simulated time: what happens next, and a Ring that "waits" by moving the clock to it. No system call, no thread.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/ring.h"

namespace txn::simulation {

// What is due when. Events at the same instant happen in the order in which they were planned.
class Events {
 public:
  explicit Events(ManualClock& clock) : clock_(clock) {}

  // Calls (target.*Method)(argument) after `delay_ns`; there is no way to take it back, so the method has to see for
  // itself whether it still means anything.
  template <auto Method, class T>
  void after(int64_t delay_ns, T& target, uint64_t argument) {
    heap_.push_back({.at_ns = clock_.now_ns() + std::max<int64_t>(delay_ns, 0),
                     .order = ++order_,
                     .call = [](void* object, uint64_t value) { (static_cast<T*>(object)->*Method)(value); },
                     .target = &target,
                     .argument = argument});
    std::push_heap(heap_.begin(), heap_.end(), Later());
  }

  int64_t now_ns() const { return clock_.now_ns(); }
  bool empty() const { return heap_.empty(); }
  int64_t next_ns() const { return heap_.front().at_ns; }

  // Calls everything due by now.
  size_t run_due() {
    size_t count = 0;
    while (!heap_.empty() && heap_.front().at_ns <= clock_.now_ns()) {
      std::pop_heap(heap_.begin(), heap_.end(), Later());
      const Event event = heap_.back();
      heap_.pop_back();
      event.call(event.target, event.argument);
      ++count;
    }
    return count;
  }

 private:
  struct Event {
    int64_t at_ns;
    uint64_t order;
    void (*call)(void*, uint64_t);
    void* target;
    uint64_t argument;
  };
  struct Later {
    bool operator()(const Event& a, const Event& b) const {
      return a.at_ns != b.at_ns ? a.at_ns > b.at_ns : a.order > b.order;
    }
  };
  ManualClock& clock_;
  std::vector<Event> heap_;
  uint64_t order_ = 0;
};

class SimulatedRing final : public Ring {
 public:
  SimulatedRing(Events& events, ManualClock& clock) : events_(events), clock_(clock) {}

  // Nothing will ever happen again: no event is planned and the loop has no timer.
  bool is_at_rest() const { return at_rest_; }

  void accept(int, Completion&) override { CHECK(false, "the simulation has no sockets"); }
  void receive(int, Completion&) override { CHECK(false, "the simulation has no sockets"); }
  void send(int, std::span<const char>, Completion&) override { CHECK(false, "the simulation has no sockets"); }
  void connect(int, const sockaddr*, uint32_t, Completion&) override { CHECK(false, "the simulation has no sockets"); }
  void receive_into(int, std::span<char>, Completion&) override { CHECK(false, "the simulation has no sockets"); }
  // The loop's mailbox, which stays silent.
  void poll(int, uint32_t, Completion& completion) override { mark_submitted(completion); }
  void cancel(Completion& completion) override {
    if (completion.in_flight()) cancelled_.push_back(&completion);
  }

  void submit_and_wait(int64_t timeout_ns) override {
    at_rest_ = timeout_ns < 0 && events_.empty();
    int64_t wait_ns = timeout_ns;
    if (!events_.empty()) {
      const int64_t until_event_ns = std::max<int64_t>(events_.next_ns() - clock_.now_ns(), 0);
      wait_ns = timeout_ns < 0 ? until_event_ns : std::min(timeout_ns, until_event_ns);
    }
    if (wait_ns > 0) clock_.advance_ns(wait_ns);
  }

  size_t deliver(size_t) override {
    for (Completion* completion : std::exchange(cancelled_, {})) complete(*completion, {.result = -ECANCELED});
    return events_.run_due();
  }

  uint32_t free_buffers() const override { return 0; }
  uint64_t overflows() const override { return 0; }

 private:
  Events& events_;
  ManualClock& clock_;
  std::vector<Completion*> cancelled_;
  bool at_rest_ = false;
};

}  // namespace txn::simulation
