#include "db/unreadable_rows.h"

#include "core/log.h"

namespace txn {

void UnreadableRows::note(std::string_view table, std::string_view column, int64_t account_number) {
  ++count_;
  const int64_t now_ns = clock_.now_ns();
  const Row row(table, account_number);
  const auto known = logged_ns_.find(row);
  if (known != logged_ns_.end() && now_ns - known->second < kLogEveryNs) return;
  if (known == logged_ns_.end() && logged_ns_.size() >= kRememberedMax) {
    std::erase_if(logged_ns_, [&](const auto& item) { return now_ns - item.second >= kLogEveryNs; });
    if (logged_ns_.size() >= kRememberedMax) return;
  }
  logged_ns_[row] = now_ns;
  LogLine line(LogLevel::kError, "db.rows", "A row in the database is not one that the service could have written");
  line.field("table", table).field("column", column);
  if (account_number != 0) line.field("account_number", account_number);
}

}  // namespace txn
