#include "app/rate_limit.h"

#include <openssl/rand.h>
#include <openssl/siphash.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include "core/check.h"

namespace txn {
namespace {

class LineWriter {
 public:
  explicit LineWriter(std::array<char, 256>& out) : begin_(out.data()), end_(out.data()), limit_(out.data() + 256) {}

  LineWriter& operator<<(std::string_view text) {
    CHECK(text.size() <= static_cast<size_t>(limit_ - end_), "rate limit fields fit their buffer");
    end_ = std::copy(text.begin(), text.end(), end_);
    return *this;
  }
  LineWriter& operator<<(int64_t value) {
    const auto [end, error] = std::to_chars(end_, limit_, value);
    CHECK(error == std::errc(), "rate limit fields fit their buffer");
    end_ = end;
    return *this;
  }
  size_t size() const { return static_cast<size_t>(end_ - begin_); }

 private:
  char* const begin_;
  char* end_;
  char* const limit_;
};

}  // namespace

std::string_view to_string(LimitedRoute route) {
  switch (route) {
    case LimitedRoute::kNone:
      break;
    case LimitedRoute::kDeposits:
      return "deposits";
    case LimitedRoute::kWithdrawals:
      return "withdrawals";
    case LimitedRoute::kTransfers:
      return "transfers";
  }
  CHECK(false, "asked for the name of no limit");
}

RateLimits::RateLimits(const Settings& settings)
    : tables_{RateLimitTable(settings.rate_limit_deposits), RateLimitTable(settings.rate_limit_withdrawals),
              RateLimitTable(settings.rate_limit_transfers)} {
  RAND_bytes(reinterpret_cast<uint8_t*>(secret_.data()), sizeof secret_);
}

uint64_t RateLimits::hash(const RateLimitClient& client) const {
  struct {
    std::array<uint8_t, 16> network{};
    int64_t subject = 0;
    uint8_t has_network = 0;
    uint8_t has_subject = 0;
    std::array<uint8_t, 6> zeros{};
  } input;
  static_assert(sizeof input == 32);
  if (client.network) input.network = client.network->bytes;
  if (client.subject) input.subject = *client.subject;
  input.has_network = client.network ? 1 : 0;
  input.has_subject = client.subject ? 1 : 0;
  return SIPHASH_24(secret_.data(), reinterpret_cast<const uint8_t*>(&input), sizeof input);
}

uint64_t RateLimits::evictions() const {
  uint64_t sum = 0;
  for (const RateLimitTable& table : tables_) sum += table.evictions();
  return sum;
}

RateLimitClient RateLimiter::client(const IpAddress& address, std::optional<int64_t> subject) const {
  if (!subject || !wants_subject()) return {.network = address.network(), .subject = std::nullopt};
  if (settings_.rate_limit_key == RateLimitKey::kSubject) return {.network = std::nullopt, .subject = subject};
  return {.network = address.network(), .subject = subject};
}

RateLimitDecision RateLimiter::peek(LimitedRoute route, const RateLimitClient& client) {
  const RateLimitDecision decision = limits_->table(route).peek(limits_->hash(client), now_ms());
  if (!decision.admitted) ++counters_.refused;
  return decision;
}

RateLimitDecision RateLimiter::take(LimitedRoute route, const RateLimitClient& client) {
  const RateLimitDecision decision = limits_->table(route).take(limits_->hash(client), now_ms());
  ++(decision.admitted ? counters_.admitted : counters_.refused);
  return decision;
}

RateLimitFields::RateLimitFields(LimitedRoute route, const RateLimitPolicy& policy, const RateLimitDecision& decision,
                                 int64_t wall_us) {
  const std::string_view name = to_string(route);
  const int64_t reset_s = (decision.reset_ms + 999) / 1000;
  LineWriter out(lines_);
  out << "RateLimit-Policy: \"" << name << "\";q=" << policy.count << ";w=" << policy.window.count() << "\r\n";
  out << "RateLimit: \"" << name << "\";r=" << decision.remaining << ";t=" << reset_s << "\r\n";
  out << "X-RateLimit-Limit: " << policy.count << "\r\n";
  out << "X-RateLimit-Remaining: " << decision.remaining << "\r\n";
  out << "X-RateLimit-Reset: " << wall_us / 1'000'000 + reset_s << "\r\n";
  size_ = out.size();
  const auto [end, error] =
      std::to_chars(retry_after_.data(), retry_after_.data() + retry_after_.size(), std::max<int64_t>(reset_s, 1));
  CHECK(error == std::errc(), "seconds of a window fit");
  retry_after_size_ = static_cast<size_t>(end - retry_after_.data());
}

}  // namespace txn
