// Rate limits: so many requests of a client to a route in any interval of a given length.
//
// Counted before authentication, by address, so that guessing tokens is limited as well. Where RATE_LIMIT_KEY counts by
// subject, which is known only from a verified token, requests without one count by address, and an address that has
// used up its share so is refused before its next token is looked at.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "app/rate_limit_table.h"
#include "core/clock.h"
#include "core/config.h"
#include "core/metrics.h"
#include "core/task.h"
#include "db/redis_client.h"
#include "db/redis_connector.h"
#include "net/client_address.h"

namespace txn {

// Which limit a route has; also the name of the policy in header fields.
enum class LimitedRoute : uint8_t { kNone, kDeposits, kWithdrawals, kTransfers };
inline constexpr size_t kLimitedRoutes = 3;
std::string_view to_string(LimitedRoute route);  // "deposits"; REQUIRES: not kNone

// Whom a request is counted for.
struct RateLimitClient {
  std::optional<IpAddress> network;  // IpAddress::network()
  std::optional<int64_t> subject;
};

// The counts of the process. Any thread.
class RateLimits {
 public:
  explicit RateLimits(const Settings& settings);

  // REQUIRES: not kNone.
  RateLimitTable& table(LimitedRoute route) { return tables_[static_cast<size_t>(route) - 1]; }
  // Under a secret of the process, so that nobody outside can choose what shares a bucket.
  uint64_t hash(const RateLimitClient& client) const;

 private:
  std::array<RateLimitTable, kLimitedRoutes> tables_;
  std::array<uint64_t, 2> secret_;
};

struct RateLimitCounters {
  Counter admitted;
  Counter refused;    // answered 429
  Counter evictions;  // clients that counted, forgotten because there was no room
  Counter unshared;   // should have been counted in Redis, and were in memory
};

// What runs in Redis, and a run of it that shows whether it can.
RedisOptions rate_limit_redis_options(const RedisAddress& address);

// A worker's way to them. Belongs to its thread.
class RateLimiter {
 public:
  // `limits`: nullptr when there are none to hold to. All of these must outlive the limiter.
  // `redis`: nullptr when the counts are the process's own.
  RateLimiter(const Settings& settings, const Clock& clock, RateLimits* limits, RedisClient* redis = nullptr)
      : settings_(settings), clock_(clock), limits_(limits), redis_(redis) {}

  bool is_enabled() const { return limits_ != nullptr; }
  // REQUIRES of the rest: is_enabled(), route is not kNone.

  // Whether a request counts for the subject of its token.
  bool wants_subject() const { return settings_.rate_limit_key != RateLimitKey::kIp; }
  // Whom a request from `address` counts for; `subject` is of a verified token, or nothing.
  RateLimitClient client(const IpAddress& address, std::optional<int64_t> subject) const;

  // What take() would say, without counting.
  RateLimitDecision peek(LimitedRoute route, const RateLimitClient& client);
  // Admits and counts a request, or neither, in the memory of the process.
  RateLimitDecision take(LimitedRoute route, const RateLimitClient& client);

  // Whether counts are shared with other replicas; then a request is held to them by take_shared().
  bool is_shared() const { return redis_ != nullptr; }
  // Admits and counts a request, or neither, in Redis; in memory while Redis is of no use. What Redis admits is also
  // counted in memory: a client that is at its limit here is refused without asking, and neither a Redis that goes away
  // nor one that comes back empty gives anybody more than the limit at this replica.
  Task<RateLimitDecision> take_shared(LimitedRoute route, RateLimitClient client);

  const RateLimitPolicy& policy(LimitedRoute route) const { return limits_->table(route).policy(); }
  const RateLimitCounters& counters() const { return counters_; }

 private:
  int64_t now_ms() const { return clock_.now_ns() / kNanosPerMilli; }

  const Settings& settings_;
  const Clock& clock_;
  RateLimits* const limits_;
  RedisClient* const redis_;
  RateLimitCounters counters_;
};

// The fields that every answer of a limited route carries: RateLimit-Policy and RateLimit
// (draft-ietf-httpapi-ratelimit-headers-11), and X-RateLimit-Limit, -Remaining, -Reset as they are found in the wild
// (Reset: Unix time in seconds).
class RateLimitFields {
 public:
  RateLimitFields(LimitedRoute route, const RateLimitPolicy& policy, const RateLimitDecision& decision,
                  int64_t wall_us);

  std::string_view lines() const { return {lines_.data(), size_}; }  // "Name: value\r\n" each
  // Seconds, at least 1.
  std::string_view retry_after() const { return {retry_after_.data(), retry_after_size_}; }

 private:
  std::array<char, 256> lines_;
  size_t size_ = 0;
  std::array<char, 20> retry_after_;
  size_t retry_after_size_ = 0;
};

}  // namespace txn
