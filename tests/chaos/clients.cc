#include "tests/chaos/clients.h"

#include <algorithm>
#include <memory>
#include <utility>

namespace txn::test {

namespace {

// Longer than any answer can take: queue, two attempts, ten seconds of doubt; and a replica may be stopped meanwhile.
constexpr Milliseconds kPatience{60'000};
constexpr Milliseconds kReadPatience{20'000};
constexpr Milliseconds kRetryPause{20};
constexpr int kRetriesAtOnce = 3;
// While told that the first try is still under way: longer than a lane waits for the end of its commit.
constexpr int kRetriesWhileUnderWay = 60;
constexpr Milliseconds kUnderWayPause{100};

using Random = std::mt19937;

uint32_t below(Random& random, uint32_t bound) { return static_cast<uint32_t>(random() % bound); }

Attempt random_attempt(Random& random, const std::vector<int64_t>& accounts) {
  Attempt attempt;
  const auto count = static_cast<uint32_t>(accounts.size());
  const uint32_t from = below(random, count);
  attempt.account = accounts[from];
  attempt.amount = 1 + below(random, 20'000);
  const uint32_t dice = below(random, 100);
  if (dice < 35) {
    attempt.kind = Kind::kDeposit;
  } else if (dice < 55) {
    attempt.kind = Kind::kWithdrawal;
  } else {
    attempt.kind = Kind::kTransfer;
    attempt.payee = accounts[(from + 1 + below(random, count - 1)) % count];
  }
  return attempt;
}

constexpr int kStatusUnderWay = 409;

bool is_definite(int status) { return status == 200 || (status >= 400 && status < 500 && status != kStatusUnderWay); }

Headers key_of(const Record& record) {
  if (!record.has_key) return {};
  return {{"Idempotency-Key", record.told.description}};
}

// A connection to each replica, opened anew when one has come back elsewhere.
class Connections {
 public:
  explicit Connections(const Ports& ports) : ports_(ports), clients_(ports.size()) {}
  ApiClient& to(size_t replica) {
    const uint16_t port = ports_.at(replica);
    auto& client = clients_[replica];
    if (!client || client->port() != port) client = std::make_unique<ApiClient>(port, teller());
    client->set_timeout(kPatience);
    return *client;
  }

 private:
  const Ports& ports_;
  std::vector<std::unique_ptr<ApiClient>> clients_;
};

}  // namespace

std::string said(const Attempt& attempt) {
  return std::to_string(attempt.status) + " " + (attempt.status == 0 ? attempt.error : attempt.body);
}

void Tally::add(const Tally& other) {
  operations += other.operations;
  succeeded += other.succeeded;
  refused += other.refused;
  unavailable += other.unavailable;
  unknown += other.unknown;
  unanswered += other.unanswered;
  found_applied += other.found_applied;
  found_not_applied += other.found_not_applied;
  replays_checked += other.replays_checked;
  reads_checked += other.reads_checked;
  doubts_committed += other.doubts_committed;
  doubts_rolled_back += other.doubts_rolled_back;
}

Clients::Clients(const Ports& ports, std::vector<int64_t> accounts, std::string prefix, int count, uint32_t seed)
    : ports_(ports),
      accounts_(std::move(accounts)),
      prefix_(std::move(prefix)),
      seed_(seed),
      records_(static_cast<size_t>(count)) {
  for (int index = 0; index < count; ++index) threads_.emplace_back([this, index] { client_main(index); });
}

void Clients::complain(const std::string& what) {
  const std::lock_guard lock(hearsay_.mutex);
  hearsay_.complaints.push_back(what);
}

// A 200 is the same whenever it is told.
void Clients::note(const Attempt& attempt) {
  if (attempt.status != 200) return;
  const std::lock_guard lock(hearsay_.mutex);
  const auto [said_before, is_new] = hearsay_.acknowledged.emplace(attempt.description, attempt.body);
  if (!is_new && said_before->second != attempt.body)
    hearsay_.complaints.push_back(attempt.description + ": answered " + said(attempt) + " after 200 " +
                                  said_before->second);
}

std::set<std::string> Clients::acknowledged() {
  const std::lock_guard lock(hearsay_.mutex);
  std::set<std::string> descriptions;
  for (const auto& [description, body] : hearsay_.acknowledged) descriptions.insert(description);
  return descriptions;
}

void Clients::hold_still(const Record& record) {
  if (record.in_doubt) {
    const std::lock_guard lock(hearsay_.mutex);
    hearsay_.left_alone.push_back(record.told);
  }
  while (record.in_doubt && impatient_.load() && !stopping_.load()) std::this_thread::sleep_for(kRetryPause);
}

size_t Clients::ask_about_tries(Milliseconds patience) {
  std::vector<Attempt> tries;
  {
    const std::lock_guard lock(hearsay_.mutex);
    tries = std::exchange(hearsay_.left_alone, {});
  }
  Connections connections(ports_);
  size_t replica = 0;
  for (Attempt& attempt : tries) {
    ApiClient& client = connections.to(replica++ % ports_.size());
    client.set_timeout(patience);
    const std::string key = attempt.description;
    perform(client, attempt, {{"Idempotency-Key", key}});
    if (attempt.status == 0) client.disconnect();
    note(attempt);
  }
  return tries.size();
}

std::vector<std::string> Clients::complaints() {
  const std::lock_guard lock(hearsay_.mutex);
  return hearsay_.complaints;
}

void Clients::client_main(int index) {
  Random random(seed_ * 1'000 + static_cast<uint32_t>(index));
  Connections connections(ports_);
  const auto replicas = static_cast<uint32_t>(ports_.size());
  std::vector<Record>& mine = records_[static_cast<size_t>(index)];
  for (int number = 0; !stopping_.load(); ++number) {
    Record record;
    record.told = random_attempt(random, accounts_);
    record.told.description = prefix_ + "-c" + std::to_string(index) + "-n" + std::to_string(number);
    const bool is_impatient = impatient_.load();
    record.has_key = is_impatient || below(random, 2) == 0;
    const uint32_t replica = below(random, replicas);
    const uint32_t other = (replica + 1 + below(random, std::max(1U, replicas - 1))) % replicas;
    ApiClient& client = connections.to(replica);
    // Now and then the client itself does not wait for the answer.
    const bool hangs_up = record.hung_up = is_impatient || below(random, 50) == 0;
    if (hangs_up) client.set_timeout(Milliseconds(is_impatient ? 50 + below(random, 150) : below(random, 5)));
    record.began = Record::Clock::now();
    perform(client, record.told, key_of(record));
    record.ended = Record::Clock::now();
    note(record.told);
    client.set_timeout(kPatience);
    if (record.told.status == 0) client.disconnect();
    if (!hangs_up && record.told.error == "timeout")
      complain(record.told.description + ": neither an answer nor an end of the connection within a minute");

    record.first_status = record.told.status;
    const bool was_sent = record.told.error != "cannot connect";
    record.in_doubt = record.told.status == 504 || (record.told.status == 0 && was_sent);
    if (is_impatient) hold_still(record);
    if (record.told.status == 200) ++successes_;
    if (is_definite(record.told.status) && record.has_key && below(random, 10) == 0)
      check_replay(record, connections.to(other));
    if (record.told.status == 200 && below(random, 6) == 0) check_read(record, connections.to(other));
    // Half of the doubts are asked about at once, whatever goes on; the others when all is quiet.
    if (record.in_doubt && record.has_key && (is_impatient || below(random, 2) == 0)) {
      int left = kRetriesAtOnce;
      int left_while_under_way = kRetriesWhileUnderWay;
      while (!record.resolved && !stopping_.load() && left > 0 && left_while_under_way > 0) {
        if (ask_again(record, connections.to(below(random, replicas))) == kStatusUnderWay) {
          --left_while_under_way;
          std::this_thread::sleep_for(kUnderWayPause);
        } else {
          --left;
        }
      }
    }
    const bool served = record.told.status != 0 && record.told.status != 503;
    std::this_thread::sleep_for(served ? Milliseconds(below(random, 8)) : kRetryPause);
    mine.push_back(std::move(record));
  }
}

int Clients::ask_again(Record& record, ApiClient& client) {
  Attempt again = record.told;
  perform(client, again, key_of(record));
  note(again);
  ++record.retries;
  if (again.status == 0) client.disconnect();
  const int status = again.status;
  if (!is_definite(status)) return status;
  if (again.error == "IDEMPOTENCY_KEY_REUSED") complain(again.description + ": told that its key is another's");
  record.resolved = true;
  record.told = std::move(again);
  return status;
}

// The same request under the same key once more: the same answer, byte for byte.
void Clients::check_replay(const Record& record, ApiClient& other) {
  Attempt again = record.told;
  perform(other, again, key_of(record));
  if (again.status == 0) other.disconnect();
  if (again.status == 0 || again.status >= 500) return;  // nothing was said
  ++hearsay_.replays_checked;
  if (again.status != record.told.status || again.body != record.told.body)
    complain(record.told.description + ": repeated under its key, answered " + said(again) + " after " +
             said(record.told));
  else if (!again.replayed)
    complain(record.told.description + ": repeated under its key, not marked as a replay: " + said(again));
}

void Clients::check_read(const Record& record, ApiClient& other) {
  other.set_timeout(kReadPatience);
  const HttpResponse read = other.get("/api/v1/transaction-logs/transaction/" + record.told.transaction_id);
  if (read.status == 0) other.disconnect();
  other.set_timeout(kPatience);
  if (read.status == 0 || read.status >= 500) return;
  ++hearsay_.reads_checked;
  if (read.status != 200 || read.body.find(record.told.description) == std::string::npos)
    complain(record.told.description +
             ": acknowledged, and the next read does not see it: " + std::to_string(read.status) + " " + read.body);
}

bool Clients::wait_for_successes(int64_t more, Milliseconds timeout) const {
  const int64_t wanted = successes() + more;
  return wait_until([this, wanted] { return successes() >= wanted; }, timeout);
}

void Clients::stop() {
  stopping_ = true;
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
  for (auto& mine : records_) {
    std::move(mine.begin(), mine.end(), std::back_inserter(all_));
    mine.clear();
  }
}

void Clients::resolve(Milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  Connections connections(ports_);
  Random random(seed_);
  for (Record& record : all_) {
    if (!record.has_key || !record.in_doubt) continue;
    while (!record.resolved && std::chrono::steady_clock::now() < deadline) {
      ask_again(record, connections.to(below(random, static_cast<uint32_t>(ports_.size()))));
      if (!record.resolved) std::this_thread::sleep_for(kRetryPause);
    }
    if (!record.resolved) complain(record.told.description + ": no definite answer under its key any more");
  }
}

Tally Clients::tally() const {
  Tally tally;
  tally.operations = static_cast<int64_t>(all_.size());
  for (const Record& record : all_) {
    const int first = record.first_status;
    tally.succeeded += first == 200;
    tally.refused += first >= 400 && first < 500;
    tally.unavailable += first == 503;
    tally.unknown += first == 504;
    tally.unanswered += first == 0;
    tally.found_applied += record.resolved && record.told.status == 200;
    tally.found_not_applied += record.resolved && record.told.status != 200;
  }
  tally.replays_checked = hearsay_.replays_checked;
  tally.reads_checked = hearsay_.reads_checked;
  return tally;
}

}  // namespace txn::test
