// What one worker counts of requests, transactions and errors. All label sets are closed lists, so that no client can
// make the metrics grow: methods, the patterns of the table of routes, the statuses and errors that this service has.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "app/problem.h"
#include "core/metrics.h"
#include "core/money.h"
#include "db/ledger_rows.h"
#include "net/exchange.h"
#include "net/http_request.h"

namespace txn {

// Nanoseconds. From 0.1 s up these are the bounds that the bank's dashboards expect.
inline constexpr HistogramBounds<18> kRequestTimeBounds{
    100'000,     250'000,       500'000,       1'000'000,     2'500'000,     5'000'000,
    10'000'000,  25'000'000,    50'000'000,    100'000'000,   250'000'000,   500'000'000,
    750'000'000, 1'000'000'000, 2'500'000'000, 5'000'000'000, 7'500'000'000, 10'000'000'000};

// Cents: 100, 500, 1000 ... 100000.
inline constexpr HistogramBounds<7> kAmountBounds{10'000, 50'000, 100'000, 500'000, 1'000'000, 5'000'000, 10'000'000};

// Every status that this service answers with; another one would be counted as "other", behind the last.
inline constexpr std::array<uint16_t, 24> kStatuses{200, 204, 304, 400, 401, 403, 404, 405, 406, 408, 409, 412,
                                                    413, 415, 417, 422, 423, 429, 431, 500, 501, 503, 504, 505};

// Where `status` is in kStatuses, or their number.
constexpr size_t index_of_status(int status) {
  size_t index = 0;
  while (index < kStatuses.size() && kStatuses[index] != status) ++index;
  return index;
}

inline constexpr size_t kOperationTypeCount = 3;

// The path of an exchange that no route has.
inline constexpr uint16_t kUnmatchedEndpoint = Exchange::kNoEndpoint;

class ServiceCounters {
 public:
  // Requests of one method to one endpoint.
  struct Requests {
    std::array<Counter, kStatuses.size() + 1> by_status;
    Histogram<kRequestTimeBounds> duration_ns;
  };
  // What became of requests to move money of one type.
  struct Transactions {
    Counter successes;
    Counter errors;
    Counter replays;                        // answered again under an Idempotency-Key
    Histogram<kAmountBounds> amount_cents;  // of the successes
  };

  // For endpoints 0 to `endpoints` - 1, and kUnmatchedEndpoint.
  explicit ServiceCounters(size_t endpoints) : requests_((endpoints + 1) * kMethodCount) {}

  Requests& requests(uint16_t endpoint, Method method) { return requests_[index_of(endpoint, method)]; }
  const Requests& requests(uint16_t endpoint, Method method) const { return requests_[index_of(endpoint, method)]; }
  Transactions& transactions(OperationType type) { return transactions_[static_cast<size_t>(type)]; }
  const Transactions& transactions(OperationType type) const { return transactions_[static_cast<size_t>(type)]; }
  Counter& errors(Problem problem) { return errors_[static_cast<size_t>(problem)]; }
  const Counter& errors(Problem problem) const { return errors_[static_cast<size_t>(problem)]; }

 private:
  size_t index_of(uint16_t endpoint, Method method) const {
    const size_t unmatched = requests_.size() / kMethodCount - 1;
    return (endpoint < unmatched ? endpoint : unmatched) * kMethodCount + static_cast<size_t>(method);
  }

  std::vector<Requests> requests_;
  std::array<Transactions, kOperationTypeCount> transactions_;
  std::array<Counter, kProblemCount> errors_;
};

}  // namespace txn
