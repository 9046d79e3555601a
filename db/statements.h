// Every statement that the service runs on its workers: name, text, and who uses it. They are prepared once a
// connection; the text is all the SQL there is on the hot path.
#pragma once

#include <span>

namespace txn {

struct Statement {
  const char* name;
  const char* sql;
};

namespace sql {

// Lanes (db/lane.cc), in the order in which a batch runs them.
extern const Statement kBegin;
extern const Statement kClaimKeys;  // $1 bigint[] caller, $2 text[] route, $3 text[] key, as the next
extern const Statement kFindKeys;
extern const Statement kLockAccounts;      // $1 bigint[]
extern const Statement kLockFreeAccounts;  // $1 bigint[]: the same, without those that somebody has locked
extern const Statement kFindAccounts;      // $1 bigint[]: which exist, and whether an outsider has them locked
extern const Statement kEnterLanes;        // once a session: makes itself known as a lane's
extern const Statement kWaitLonger;        // in a transaction: for the locks that follow
extern const Statement kReadClock;         // after the locks: one clock for every replica
extern const Statement kReserveIds;        // next block of transaction ids, and the newest row's id
extern const Statement kReserveFirstIds;
extern const Statement kReadLimits;      // transfer_limits
extern const Statement kUpdateBalances;  // $1 bigint[], $2 numeric[] balance, $3 bigint[] log_seq
extern const Statement kUpdateAccounts;  // the same, and $4 date[], $5 numeric[], $6 int[]: usage
extern const Statement kUpdatePins;      // $1 bigint[], $2 int[] failures, $3 timestamptz[] locked until
extern const Statement kInsertLogs;      // see statements.cc
extern const Statement kInsertKeys;  // as kClaimKeys, $4 bytea[] fingerprint, $5 int[] status, $6 text[] body, $7 time,
                                     // $8 bytea[] request_digest
extern const Statement kCommit;
extern const Statement kRollback;
extern const Statement kEndBackend;       // $1 int, $2 timestamptz: is the backend of then still there? end it
extern const Statement kConfirm;          // a commit for nothing, to wait for the standbys with
extern const Statement kFindKey;          // caller, route, key, body, time: $1 bigint, $2, $3, $4 text, $5 timestamptz
extern const Statement kFindTransaction;  // id, account, seq, time, amount, balance: $1 to $3 bigint, …, $5, $6 numeric
extern const Statement kSeeStandbys;

// Readers (db/reader.cc).
extern const Statement kPing;
extern const Statement kSelectAccount;  // $1 bigint
extern const Statement kSelectLimit;    // $1 text
extern const Statement kSelectLimits;
extern const Statement kSelectLogs;         // $1 account, $2 below this seq, $3 skip, $4 limit, all bigint
extern const Statement kSelectLogsBetween;  // the same, and $5, $6 timestamptz: first and last time
extern const Statement kExpireKeys;         // removes some of what has expired
// Ledger audit: $1 bigint the last account looked at, $2 bigint round, $3, $4, $5 bigint: accounts, rows of an account
// and its earlier piece, rows altogether, at most. See statements.cc.
extern const Statement kAuditAccounts;
extern const Statement kSelectTransaction;  // $1 bigint: transaction id

std::span<const Statement* const> lane_statements();
std::span<const Statement* const> reader_statements();

}  // namespace sql
}  // namespace txn
