#include "app/metrics_scraper.h"

#include <pthread.h>

#include "core/check.h"

namespace txn {

MetricsScraper::MetricsScraper(Write write) : write_(std::move(write)) {
  thread_ = std::thread([this] { run(); });
}

MetricsScraper::~MetricsScraper() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
  CHECK(queue_.empty(), "scrapes are answered before the scraper goes away");
}

bool MetricsScraper::enqueue(Request& request) {
  {
    const std::lock_guard lock(mutex_);
    if (queue_.size() >= kWaitingMax) return false;
    queue_.push_back(&request);
  }
  wake_.notify_one();
  return true;
}

void MetricsScraper::run() {
  pthread_setname_np(pthread_self(), "metrics");
  std::vector<Request*> taken;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      taken.swap(queue_);
    }
    // Whoever has asked while the last page was being written shares the next one: a crowd of scrapers costs no more
    // than one of them.
    std::string pages[2];
    for (Request* request : taken) {
      std::string& page = pages[static_cast<size_t>(request->format)];
      if (page.empty()) write_(page, request->format);
      request->page = page;
      // The request lives in a frame of the receiving worker; after this line it is no longer ours.
      request->reply_to.post(*request);
    }
    taken.clear();
  }
}

}  // namespace txn
