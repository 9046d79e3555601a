// A thread that writes the metrics page, so that no worker's turn gets longer by it: reading /proc may block, and the
// page is a hundred kilobytes of text.
#pragma once

#include <condition_variable>
#include <coroutine>
#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/exposition.h"
#include "core/loop.h"
#include "core/mailbox.h"

namespace txn {

class MetricsScraper {
 public:
  // Scrapes that wait at once, in the whole process; more are refused.
  static constexpr size_t kWaitingMax = 32;

  // Appends the page of that format to the string. Called on the scraper's thread.
  using Write = std::function<void(std::string& out, ExpositionFormat format)>;

  explicit MetricsScraper(Write write);
  // REQUIRES: nobody waits.
  ~MetricsScraper();
  MetricsScraper(const MetricsScraper&) = delete;
  MetricsScraper& operator=(const MetricsScraper&) = delete;

 private:
  struct Request : Message {
    Request(MetricsScraper& owner, Loop& loop, ExpositionFormat asked)
        : scraper(owner), reply_to(loop), format(asked) {}
    void run() override { waiting.resume(); }

    MetricsScraper& scraper;
    Loop& reply_to;
    const ExpositionFormat format;
    std::string page;
    std::coroutine_handle<> waiting;
  };

 public:
  // Awaitable: the page, written after this call; "" when too many wait. Resumes on `loop`, the caller's own.
  auto scrape(Loop& loop, ExpositionFormat format) {
    struct Scrape : Request {
      using Request::Request;
      bool await_ready() const { return false; }
      bool await_suspend(std::coroutine_handle<> handle) {
        this->waiting = handle;
        return this->scraper.enqueue(*this);
      }
      std::string await_resume() { return std::move(this->page); }
    };
    return Scrape(*this, loop, format);
  }

 private:
  bool enqueue(Request& request);
  void run();

  const Write write_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Request*> queue_;  // guarded by mutex_
  bool stopping_ = false;        // guarded by mutex_
  std::thread thread_;
};

}  // namespace txn
