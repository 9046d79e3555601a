// Rows of the database that the service could not have written, as one worker comes upon them: NaN for a balance, a
// privilege that nobody knows. Each time counts; the log says it once a minute for each account, so that a client who
// asks all day makes no flood. Values are never logged: a hash of a PIN may be among them. Belongs to the worker's
// thread.
#pragma once

#include <cstdint>
#include <map>
#include <string_view>
#include <utility>

#include "core/clock.h"
#include "core/metrics.h"

namespace txn {

class UnreadableRows {
 public:
  static constexpr int64_t kLogEveryNs = 60 * kNanosPerSecond;
  // Rows remembered for that; of further ones the log says nothing until a minute is over for one of these.
  static constexpr size_t kRememberedMax = 256;

  // `clock` must outlive it.
  explicit UnreadableRows(const Clock& clock) : clock_(clock) {}

  // `table` is a literal. `column`: the first that could not be read, "" for a row that is not there.
  // `account_number`: what the row is about, 0 when that is no account.
  void note(std::string_view table, std::string_view column, int64_t account_number);

  const Counter& count() const { return count_; }

 private:
  using Row = std::pair<std::string_view, int64_t>;

  const Clock& clock_;
  std::map<Row, int64_t> logged_ns_;
  Counter count_;
};

}  // namespace txn
