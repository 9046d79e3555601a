#include "db/key_expiry.h"

#include "db/statements.h"

namespace txn {
namespace {

constexpr int64_t kEveryNs = 60 * kNanosPerSecond;
// While there is more than one bite of it.
constexpr int64_t kBetweenBitesNs = 100 * kNanosPerMilli;

}  // namespace

Task<void> KeyExpiry::run() {
  PgParameters none;
  while (!pause_.ended()) {
    const auto removed = co_await reader_.query(sql::kExpireKeys, none);
    const bool any = removed.has_value() && removed->command_tag() != "DELETE 0";
    co_await pause_.wait(any ? kBetweenBitesNs : kEveryNs);
  }
}

}  // namespace txn
