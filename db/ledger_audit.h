// The continuous audit: walks all accounts in order of their numbers, a little at a time, for as long as the service
// runs, and compares each with its log. verify-ledger (db/verify.h) does that thoroughly and all at once; this finds
// within minutes what nobody would have looked for, at a cost that does not depend on how long the log is.
//
// One statement a step, so an account's balance and its rows are of one snapshot and movements under way do not matter;
// it takes no locks. Of each account, every time:
//
//   balance and log_seq are those of its newest row, or the opening balance and 0
//   the newest kAuditRowsMax rows: seq without holes, each balance_after follows from the row before it
//   of accounts with more rows, one earlier piece of that length, another one each round, until all have had their turn
//   of every transfer among these, the other leg: same amount and mode, the other way round
//   no log rows between two accounts' numbers
//   no NaN in the account's row and in those rows
//
// Rows are read on one worker's read connections. A step reads at most kAuditStepRowsMax rows; the pause after it is
// kAuditPauseFactor times as long as it took. Several replicas audit the same books each on their own.
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "core/loop.h"
#include "core/metrics.h"
#include "core/pause.h"
#include "core/task.h"
#include "db/reader.h"
#include "db/unreadable_rows.h"

namespace txn {

inline constexpr int64_t kAuditAccountsMax = 128;  // in a step
inline constexpr int64_t kAuditRowsMax = 256;      // of an account's newest, and of the earlier piece
inline constexpr int64_t kAuditStepRowsMax = 1024;
inline constexpr int64_t kAuditPauseFactor = 50;
// Differences remembered from round to round, so that each is logged once; beyond it only counted.
inline constexpr size_t kAuditKnownMax = 1000;
static_assert(kAuditStepRowsMax >= 2 * kAuditRowsMax, "a step has room for any account");

struct LedgerAuditCounters {
  // The database's clock when the last complete round began, microseconds since 1970-01-01 UTC: what was committed
  // before has been looked at. 0: no round is complete yet.
  Gauge verified_through_us;
  Gauge round_completed_us;  // our clock when it ended
  Gauge imbalance;           // differences in the last complete round, or in this one when there are more already
  Counter rounds;
  Counter accounts;
  Counter rows;
  Counter failures;  // steps that the database did not answer, or not so that it could be read
};

class LedgerAudit {
 public:
  LedgerAudit(Loop& loop, Reader& reader, UnreadableRows& unreadable)
      : loop_(loop), pause_(loop), reader_(reader), unreadable_(unreadable) {}

  void start(Scope& scope) { scope.spawn(run()); }
  void stop() { pause_.end(); }
  const LedgerAuditCounters& counters() const { return counters_; }

 private:
  Task<void> run();
  // False, and nothing taken: not an answer that the statement can give.
  bool take_step(const PgResult& step);
  void end_round();
  void report(int64_t account_number, std::string_view text);

  Loop& loop_;
  Pause pause_;
  Reader& reader_;
  UnreadableRows& unreadable_;
  LedgerAuditCounters counters_;

  // The round under way.
  int64_t round_ = 0;           // decides which earlier pieces have their turn
  int64_t account_number_ = 0;  // the last one looked at; 0: the round begins
  int64_t began_us_ = 0;
  uint64_t differences_ = 0;
  std::set<std::string> known_;  // differences of this round and of the one before
  std::set<std::string> known_before_;
};

}  // namespace txn
