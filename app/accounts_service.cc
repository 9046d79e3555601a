#include "app/accounts_service.h"

#include <utility>

#include "core/concat.h"
#include "core/log.h"

namespace txn {
namespace {

// A question, the pause, and a second for a busy machine.
constexpr int64_t kGoodForNs = kAccountsTimeoutNs + kAccountsAskEveryNs + 1 * kNanosPerSecond;

HttpUrl health_url(HttpUrl url) {
  if (url.target.empty()) url.target = kAccountsDefaultTarget;
  return url;
}

bool is_success(int status) { return status >= 200 && status <= 299; }

}  // namespace

void AccountsState::record(const HttpClient::Outcome& outcome, int64_t now_ns) {
  Verdict verdict = Verdict::kFailed;
  if (outcome) verdict = is_success(outcome->status) ? Verdict::kHealthy : Verdict::kBadStatus;
  const auto failure = static_cast<uint64_t>(outcome ? HttpFailure::kTimeout : outcome.error());
  const auto status = static_cast<uint64_t>(outcome ? outcome->status : 0);
  const auto ms = static_cast<uint64_t>(now_ns / kNanosPerMilli) & UINT32_MAX;
  word_.store(static_cast<uint64_t>(verdict) | failure << 8 | status << 16 | ms << 32);
  questions_.fetch_add(1, std::memory_order_relaxed);
  if (verdict != Verdict::kHealthy) failures_.fetch_add(1, std::memory_order_relaxed);
}

AccountsState::Reading AccountsState::read(int64_t now_ns) const {
  const uint64_t word = word_.load();
  Reading reading{.verdict = static_cast<Verdict>(word & 0xff),
                  .status = static_cast<int>(word >> 16 & 0xffff),
                  .failure = static_cast<HttpFailure>(word >> 8 & 0xff)};
  if (reading.verdict == Verdict::kNotConfigured || reading.verdict == Verdict::kNotYetAsked) return reading;
  // The other worker's clock may be ahead of ours by a turn, which is a small negative age.
  const auto age_ms =
      static_cast<int32_t>(static_cast<uint32_t>(now_ns / kNanosPerMilli) - static_cast<uint32_t>(word >> 32));
  if (age_ms > kGoodForNs / kNanosPerMilli) reading.verdict = Verdict::kStale;
  return reading;
}

AccountsState::Counters AccountsState::counters() const {
  const auto verdict = static_cast<Verdict>(word_.load() & 0xff);
  return {.questions = questions_.load(std::memory_order_relaxed),
          .failures = failures_.load(std::memory_order_relaxed),
          .configured = verdict != Verdict::kNotConfigured};
}

std::string describe(const AccountsState::Reading& reading) {
  switch (reading.verdict) {
    case AccountsState::Verdict::kNotConfigured:
      return "not configured";
    case AccountsState::Verdict::kNotYetAsked:
      return "unhealthy: no answer yet";
    case AccountsState::Verdict::kHealthy:
      return "healthy";
    case AccountsState::Verdict::kBadStatus:
      return concat("unhealthy: it answered with status ", reading.status);
    case AccountsState::Verdict::kFailed:
      return concat("unhealthy: ", to_string(reading.failure));
    case AccountsState::Verdict::kStale:
      return "unhealthy: it has not been asked lately";
  }
  return "";
}

AccountsProbe::AccountsProbe(Loop& loop, const HttpUrl& url, AccountsState& state)
    : loop_(loop), pause_(loop), client_(loop, health_url(url), {.timeout_ns = kAccountsTimeoutNs}), state_(state) {}

void AccountsProbe::stop() {
  pause_.end();
  client_.cancel();
}

Task<void> AccountsProbe::run() {
  bool was_healthy = true;
  while (!pause_.ended()) {
    const auto outcome = co_await client_.get();
    if (!outcome && outcome.error() == HttpFailure::kCancelled) break;
    const int64_t now_ns = loop_.clock().now_ns();
    state_.record(outcome, now_ns);
    const auto reading = state_.read(now_ns);
    const bool is_healthy = reading.verdict == AccountsState::Verdict::kHealthy;
    if (is_healthy && !was_healthy) LOG(kInfo, "app.health", "The accounts service answers again");
    if (!is_healthy && was_healthy)
      LOG(kWarning, "app.health", "The accounts service is not healthy").field("exception", describe(reading));
    was_healthy = is_healthy;
    co_await pause_.wait(kAccountsAskEveryNs);
  }
}

}  // namespace txn
