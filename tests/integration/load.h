// Concurrent clients that move money and remember every answer, and the audit that holds the answers against the books.
//
// Every operation carries a description of its own, so that it can be found in the log whatever became of its answer.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/bank.h"

namespace txn::test {

enum class Kind { kDeposit, kWithdrawal, kTransfer };

// One request and what came of it.
struct Attempt {
  Kind kind = Kind::kDeposit;
  int64_t account = 0;  // the payer of a transfer
  int64_t payee = 0;
  int64_t amount = 0;
  std::string description = {};

  int status = 0;          // 0: no answer
  std::string error = {};  // why not, or the error_code
  std::string transaction_id = {};
  std::string new_balance = {};
  std::string body = {};
  bool replayed = false;   // told so by Idempotency-Replayed
  std::string where = {};  // the whole answer, for messages
};

// A transfer, deposit or withdrawal sent over `client`; fills in the second half of `attempt`.
void perform(ApiClient& client, Attempt& attempt, const Headers& headers = {});

// Holds one attempt against its rows in the log; "" when all is well. `may_be_either`: without an answer that says
// which, it may have been applied or not.
std::string fault_of(const Attempt& attempt, const std::vector<LogEntry>& rows, bool may_be_either);

struct LoadOptions {
  std::vector<uint16_t> ports = {};  // of the services; clients are dealt out among them
  std::vector<int64_t> accounts = {};
  int clients = 16;
  int operations = 0;             // a client; 0: until stop()
  Milliseconds patience{60'000};  // for one answer
  uint32_t seed = 1;
};

// Starts at construction; `accounts` must belong to this load alone.
class Load {
 public:
  explicit Load(LoadOptions options);
  Load(const Load&) = delete;
  ~Load() { finish(); }

  int64_t successes() const { return successes_.load(); }
  int64_t answers_with(int status) const;
  // Waits until so many more have succeeded.
  bool wait_for_successes(int64_t more, Milliseconds timeout);

  // Ends the clients after the operation in hand (with `operations`: after the last) and returns what they remember.
  std::vector<Attempt> stop();
  std::vector<Attempt> finish();

 private:
  void client_main(int index);

  LoadOptions options_;
  std::atomic<bool> stopping_ = false;
  std::atomic<int64_t> successes_ = 0;
  std::atomic<int64_t> unavailable_ = 0;
  std::atomic<int64_t> unknown_ = 0;
  std::vector<std::vector<Attempt>> attempts_;  // by client; read only after joining
  std::vector<std::thread> threads_;
};

struct AuditOptions {
  // Whether an answer may have been lost in transit: then an attempt without one may stand in the books or not.
  bool answers_may_be_lost = true;
};

// What is wrong, a line each: an acknowledged operation that is not in the log exactly once with the balance that was
// told, a refused or unavailable one that is, rows that nobody has asked for, a log that does not add up.
// `openings`: accounts and their opening balances. Reads the logs through the service at `port`.
std::vector<std::string> audit(Bank& bank, uint16_t port, const std::map<int64_t, std::string>& openings,
                               const std::vector<Attempt>& attempts, const AuditOptions& options = {});

}  // namespace txn::test
