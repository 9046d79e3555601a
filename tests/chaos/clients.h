// Clients that never stop asking: deposits, withdrawals and transfers on few accounts, half of them with an
// Idempotency-Key, over all replicas at once. Every answer is remembered, and those that leave a doubt are asked again
// under their key.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/load.h"

namespace txn::test {

// Where the replicas listen at the moment. They come back on other ports.
class Ports {
 public:
  explicit Ports(size_t replicas) : ports_(replicas) {}
  size_t size() const { return ports_.size(); }
  uint16_t at(size_t replica) const { return ports_[replica].load(); }
  void set(size_t replica, uint16_t port) { ports_[replica] = port; }

 private:
  std::vector<std::atomic<uint16_t>> ports_;
};

// One operation and all that was said about it.
struct Record {
  using Clock = std::chrono::steady_clock;
  Attempt told;          // the last definite word, which the audit holds against the books
  int first_status = 0;  // what came of the first try
  bool has_key = false;
  bool in_doubt = false;  // the first try was answered 504 or not at all
  bool resolved = false;  // and under its key a later one had a definite answer
  int retries = 0;
  bool hung_up = false;       // the client did not wait for the first answer
  Clock::time_point began{};  // the first try
  Clock::time_point ended{};
  bool touches(int64_t account) const { return told.account == account || told.payee == account; }
};

// Status and body of its answer, in one line.
std::string said(const Attempt& attempt);

struct Tally {
  int64_t operations = 0;
  int64_t succeeded = 0;
  int64_t refused = 0;
  int64_t unavailable = 0;        // 503
  int64_t unknown = 0;            // 504
  int64_t unanswered = 0;         // connection lost, or nobody there
  int64_t found_applied = 0;      // of those in doubt with a key: resolved to one ...
  int64_t found_not_applied = 0;  // ... or the other
  int64_t replays_checked = 0;
  int64_t reads_checked = 0;
  int64_t doubts_committed = 0;    // commits in doubt that the service found done ...
  int64_t doubts_rolled_back = 0;  // ... or not done
  void add(const Tally& other);
};

// What was said that cannot be true, as it was heard: an acknowledged write that the next read does not see, a repeat
// that is answered otherwise.
struct Hearsay {
  std::mutex mutex;
  std::vector<std::string> complaints;
  std::map<std::string, std::string> acknowledged;  // what was answered 200, the first time or later, by description
  std::vector<Attempt> left_alone;                  // with keys, by clients that were impatient
  std::atomic<int64_t> replays_checked = 0;
  std::atomic<int64_t> reads_checked = 0;
};

class Clients {
 public:
  Clients(const Ports& ports, std::vector<int64_t> accounts, std::string prefix, int count, uint32_t seed);
  Clients(const Clients&) = delete;
  ~Clients() { stop(); }

  int64_t successes() const { return successes_.load(); }
  bool wait_for_successes(int64_t more, Milliseconds timeout) const;
  // From now on each client makes one more try, with a key, does not wait for its answer, and then holds still until it
  // is told to be patient again. So whatever commits slowly is left to itself, and can be asked about.
  void be_impatient(bool impatient) { impatient_ = impatient; }
  // Asks about those tries under their keys, one after the other, from this thread, and returns how many there were.
  // What it hears counts as said.
  size_t ask_about_tries(Milliseconds patience);
  // Ends after the operation in hand.
  void stop();
  // After stop(), with all replicas well: asks again under its key whatever is still in doubt, until the answer is
  // definite. What stays open becomes a complaint.
  void resolve(Milliseconds timeout);

  const std::vector<int64_t>& accounts() const { return accounts_; }
  // What has been answered 200 so far, replays too, by description.
  std::set<std::string> acknowledged();
  const std::vector<Record>& records() const { return all_; }
  std::vector<std::string> complaints();
  Tally tally() const;

 private:
  void client_main(int index);
  int ask_again(Record& record, ApiClient& client);  // the status it got
  void check_replay(const Record& record, ApiClient& other);
  void check_read(const Record& record, ApiClient& other);
  void complain(const std::string& what);
  void note(const Attempt& attempt);
  void hold_still(const Record& record);

  const Ports& ports_;
  const std::vector<int64_t> accounts_;
  const std::string prefix_;
  const uint32_t seed_;
  std::atomic<bool> stopping_ = false;
  std::atomic<bool> impatient_ = false;
  std::atomic<int64_t> successes_ = 0;
  Hearsay hearsay_;
  std::vector<std::vector<Record>> records_;  // by client; read only after joining
  std::vector<Record> all_;
  std::vector<std::thread> threads_;
};

}  // namespace txn::test
