// Scrapes from a loop: answered by the scraper's thread, shared by those who come meanwhile, refused beyond the bound.
#include "app/metrics_scraper.h"

#include <gtest/gtest.h>

#include <atomic>
#include <semaphore>
#include <string>
#include <vector>

#include "core/task.h"

namespace txn {
namespace {

class Scrapes {
 public:
  explicit Scrapes(MetricsScraper& scraper) : scraper_(scraper), loop_(std::move(*Ring::create({})), clock_) {}

  void start(ExpositionFormat format) {
    ++waiting_;
    scope_.spawn(run(format));
  }
  // Until every scrape has been answered.
  void finish() {
    while (waiting_ > 0) loop_.turn();
  }
  const std::vector<std::string>& pages() const { return pages_; }

 private:
  Task<void> run(ExpositionFormat format) {
    std::string page = co_await scraper_.scrape(loop_, format);
    pages_.push_back(std::move(page));
    --waiting_;
  }

  MetricsScraper& scraper_;
  SystemClock clock_;
  Loop loop_;
  Scope scope_;
  int waiting_ = 0;
  std::vector<std::string> pages_;
};

TEST(MetricsScraper, AnswersEachInItsFormat) {
  MetricsScraper scraper(
      [](std::string& out, ExpositionFormat format) { out += format == ExpositionFormat::kText ? "text" : "open"; });
  Scrapes scrapes(scraper);
  scrapes.start(ExpositionFormat::kText);
  scrapes.finish();
  scrapes.start(ExpositionFormat::kOpenMetrics);
  scrapes.finish();
  EXPECT_EQ(scrapes.pages(), (std::vector<std::string>{"text", "open"}));
}

TEST(MetricsScraper, ACrowdSharesAPageAndMoreThanACrowdIsRefused) {
  std::counting_semaphore<1000> begun{0};
  std::counting_semaphore<1000> may_write{0};
  std::atomic<int> written{0};
  MetricsScraper scraper([&](std::string& out, ExpositionFormat) {
    begun.release();
    may_write.acquire();
    out += "page " + std::to_string(++written);
  });
  Scrapes scrapes(scraper);
  scrapes.start(ExpositionFormat::kText);
  begun.acquire();  // the first is being written; the queue is empty
  for (size_t i = 0; i < MetricsScraper::kWaitingMax; ++i) scrapes.start(ExpositionFormat::kText);
  EXPECT_TRUE(scrapes.pages().empty());
  scrapes.start(ExpositionFormat::kText);
  EXPECT_EQ(scrapes.pages(), std::vector<std::string>{""}) << "one too many";
  may_write.release(2);
  scrapes.finish();
  EXPECT_EQ(written, 2) << "those who waited share a page";
  EXPECT_EQ(scrapes.pages().size(), MetricsScraper::kWaitingMax + 2);
  EXPECT_EQ(scrapes.pages()[1], "page 1");
  for (size_t i = 2; i < scrapes.pages().size(); ++i) EXPECT_EQ(scrapes.pages()[i], "page 2");
}

}  // namespace
}  // namespace txn
