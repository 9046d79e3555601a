#include "app/rate_limit.h"

#include <arpa/inet.h>
#include <openssl/rand.h>
#include <openssl/siphash.h>

#include <algorithm>
#include <charconv>
#include <chrono>
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

// Sliding windows as app/rate_limit_table.h has them, in one atomic step and by the server's clock, so that replicas
// agree. KEYS[1]: route and client. ARGV: limit, window in ms. Returns whether the request is admitted, what remains,
// and the ms until some of what was counted no longer is. State: {when the newest segment began, last request and
// number of requests of the oldest segment, of the next ...}. Whatever else stands under the key is overwritten. A key
// that nobody asks for goes away by itself after a window.
constexpr const char* kRedisScript = R"lua(
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local raw = redis.pcall('GET', KEYS[1])
local state = {now}
if type(raw) == 'string' then
  local ok, unpacked = pcall(cmsgpack.unpack, raw)
  if ok and type(unpacked) == 'table' and #unpacked % 2 == 1 then state = unpacked end
end
local kept, total = {math.min(state[1], now)}, 0
for i = 2, #state, 2 do
  local last = math.min(state[i], now)
  if last + window > now then
    kept[#kept + 1] = last
    kept[#kept + 1] = state[i + 1]
    total = total + state[i + 1]
  end
end
local admitted = total < limit
if admitted then
  if #kept > 1 and (now < kept[1] + math.floor(window / 12) or #kept > 28) then
    kept[#kept - 1] = now
    kept[#kept] = kept[#kept] + 1
  else
    kept[1] = now
    kept[#kept + 1] = now
    kept[#kept + 1] = 1
  end
  total = total + 1
  redis.call('SET', KEYS[1], cmsgpack.pack(kept), 'PX', window)
end
return {admitted and 1 or 0, math.max(limit - total, 0), kept[2] and kept[2] + window - now or 0}
)lua";
static_assert(SlidingWindow::kSegmentsPerWindow == 12, "as the script has it");
static_assert(SlidingWindow::kSegmentsMax == 14, "as the script has it");

constexpr std::string_view kRedisKeyPrefix = "transactions-service:limit:";

// "transactions-service:limit:deposits:2001:db8::/64", ":192.0.2.1", "::7" by subject, ":192.0.2.1:7" by both.
class RedisKey {
 public:
  RedisKey(LimitedRoute route, const RateLimitClient& client) {
    LineWriter out(text_);
    out << kRedisKeyPrefix << to_string(route) << ":";
    if (client.network) {
      char address[INET6_ADDRSTRLEN];
      const uint8_t* bytes = client.network->bytes.data();
      if (client.network->is_ipv4()) {
        out << inet_ntop(AF_INET, bytes + 12, address, sizeof address);
      } else {
        out << inet_ntop(AF_INET6, bytes, address, sizeof address) << "/64";
      }
    }
    if (client.subject) out << ":" << *client.subject;
    size_ = out.size();
  }
  std::string_view view() const { return {text_.data(), size_}; }

 private:
  std::array<char, 256> text_;
  size_t size_ = 0;
};

class Decimal {
 public:
  explicit Decimal(int64_t value)
      : size_(static_cast<size_t>(std::to_chars(text_.data(), text_.data() + text_.size(), value).ptr - text_.data())) {
  }
  std::string_view view() const { return {text_.data(), size_}; }

 private:
  std::array<char, 20> text_;
  size_t size_;
};

}  // namespace

RedisOptions rate_limit_redis_options(const RedisAddress& address) {
  return {
      .address = address, .script = kRedisScript, .trial = {std::string(kRedisKeyPrefix) + "trial", "1000000", "1000"}};
}

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
  if (decision.evicted) ++counters_.evictions;
  return decision;
}

Task<RateLimitDecision> RateLimiter::take_shared(LimitedRoute route, RateLimitClient client) {
  RateLimitTable& table = limits_->table(route);
  const uint64_t hash = limits_->hash(client);
  const int64_t asked_ms = now_ms();
  const RateLimitDecision here = table.peek(hash, asked_ms);
  if (!here.admitted) {
    ++counters_.refused;
    co_return here;
  }
  const RedisKey key(route, client);
  const Decimal limit(policy(route).count);
  const Decimal window_ms(std::chrono::milliseconds(policy(route).window).count());
  const std::array<std::string_view, 2> arguments{limit.view(), window_ms.view()};
  const RedisReply reply = co_await redis_->run(key.view(), arguments);
  if (!reply) {
    ++counters_.unshared;
    co_return take(route, client);
  }
  const auto [admitted, remaining, reset_ms] = *reply;
  if (admitted != 0 && table.record(hash, asked_ms).evicted) ++counters_.evictions;
  ++(admitted != 0 ? counters_.admitted : counters_.refused);
  co_return RateLimitDecision{.admitted = admitted != 0, .remaining = remaining, .reset_ms = reset_ms};
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
