#include "tests/chaos/faults.h"

#include <algorithm>
#include <cctype>
#include <csignal>
#include <set>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <utility>

namespace txn::test {

namespace {

constexpr Milliseconds kBackTimeout{60'000};
constexpr Milliseconds kJustBefore{700};
constexpr Milliseconds kNoticeTimeout{5'000};
constexpr int kMidBatchTries = 200;

// row-locked: of the requests about other accounts, if there were enough, so many in a hundred may be 503 or 504: the
// machine may be busy with other things.
constexpr int64_t kUnservedPercent = 10;
constexpr int64_t kEnoughRequests = 20;

// settings-changed: money moves again within this, and so often.
constexpr Milliseconds kServingWithin{10'000};
constexpr int64_t kServing = 20;

constexpr int kSettingsAtOnce = 3;

// standby-stalled: so long before it clients become impatient, so that those who find commits waiting are.
constexpr Milliseconds kImpatience{200};
constexpr Milliseconds kProbePatience{100};
// What of the database's log goes with an error.
constexpr size_t kLogTail = 3'000;
// For a server to come back that another fault has taken away.
constexpr Milliseconds kOperatorsPatience{60'000};

// ids-given-again: what is sent arrives so much later at most, so that a batch can be met before its COMMIT.
constexpr Milliseconds kSlowLine{200};

// One thing that an operator changes. In `change` and `back` a % stands for the database's name. Sessions are ended in
// between, so that new ones get it; half of them, so that both kinds are at work. Doing any of it twice is as good as
// once.
struct SettingChange {
  const char* name;
  const char* change;
  const char* back;
  bool must_serve = false;  // while it lasts: the service has to overrule it
  bool then_kill = false;   // kill -9 of all of PostgreSQL while it lasts: shows what was not durable
};

constexpr std::array kSettingChanges{
    SettingChange{"default_transaction_read_only", "ALTER SYSTEM SET default_transaction_read_only = on",
                  "ALTER SYSTEM RESET default_transaction_read_only", true},
    SettingChange{"default_transaction_read_only of the database",
                  "ALTER DATABASE % SET default_transaction_read_only = on",
                  "ALTER DATABASE % RESET default_transaction_read_only", true},
    SettingChange{"default_transaction_isolation", "ALTER SYSTEM SET default_transaction_isolation = serializable",
                  "ALTER SYSTEM RESET default_transaction_isolation", true},
    SettingChange{"default_transaction_isolation of the role",
                  "ALTER ROLE txn_superuser SET default_transaction_isolation = 'repeatable read'",
                  "ALTER ROLE txn_superuser RESET default_transaction_isolation", true},
    SettingChange{"statement_timeout", "ALTER SYSTEM SET statement_timeout = '2ms'",
                  "ALTER SYSTEM RESET statement_timeout", true},
    SettingChange{"lock_timeout", "ALTER DATABASE % SET lock_timeout = '1ms'", "ALTER DATABASE % RESET lock_timeout",
                  true},
    SettingChange{"idle_in_transaction_session_timeout", "ALTER SYSTEM SET idle_in_transaction_session_timeout = '1ms'",
                  "ALTER SYSTEM RESET idle_in_transaction_session_timeout", true},
    SettingChange{"synchronous_commit off", "ALTER SYSTEM SET synchronous_commit = off",
                  "ALTER SYSTEM RESET synchronous_commit", false, true},
    SettingChange{"synchronous_commit local of the role", "ALTER ROLE txn_superuser SET synchronous_commit = local",
                  "ALTER ROLE txn_superuser RESET synchronous_commit", true},
    SettingChange{"synchronous_commit off of the database", "ALTER DATABASE % SET synchronous_commit = off",
                  "ALTER DATABASE % RESET synchronous_commit", false, true},
    SettingChange{"the type of accounts.log_seq", "ALTER TABLE accounts ALTER COLUMN log_seq TYPE numeric",
                  "ALTER TABLE accounts ALTER COLUMN log_seq TYPE bigint"},
    SettingChange{"the type of transfer_limits.transaction_limit",
                  "ALTER TABLE transfer_limits ALTER COLUMN transaction_limit TYPE bigint",
                  "ALTER TABLE transfer_limits ALTER COLUMN transaction_limit TYPE integer"},
    SettingChange{"the type of idempotency_keys.body", "ALTER TABLE idempotency_keys ALTER COLUMN body TYPE varchar",
                  "ALTER TABLE idempotency_keys ALTER COLUMN body TYPE text"},
    SettingChange{"a column of accounts",
                  "ALTER TABLE accounts ADD COLUMN IF NOT EXISTS branch text NOT NULL DEFAULT 'main'",
                  "ALTER TABLE accounts DROP COLUMN IF EXISTS branch", true},
    SettingChange{"a column of transaction_logs", "ALTER TABLE transaction_logs ADD COLUMN IF NOT EXISTS remark text",
                  "ALTER TABLE transaction_logs DROP COLUMN IF EXISTS remark", true},
};

// Whatever is being changed does not hold for the operator.
constexpr const char* kOperatorSettings =
    "SET default_transaction_read_only = off; SET default_transaction_isolation = 'read committed'; "
    "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; "
    "SET synchronous_commit = on";

}  // namespace

const FaultKind& kind_of(Fault fault) {
  return *std::ranges::find_if(kFaultKinds, [fault](const FaultKind& kind) { return kind.fault == fault; });
}

std::string FaultInstance::obstacle(Fault fault, const Cluster& cluster) {
  if (fault == Fault::kDiskFull) return cluster.no_disk_reason();
  if (fault == Fault::kMidnight || fault == Fault::kClockBack) return cluster.no_clock_reason();
  const Layout layout = kind_of(fault).layout;
  if (layout == Layout::kPooled || layout == Layout::kPooledInTransactions) return Pooler::obstacle();
  return "";
}

FaultInstance::FaultInstance(Fault fault, Session& session, Clients& clients, bool is_alone, uint32_t seed)
    : fault_(fault), session_(session), clients_(clients), is_alone_(is_alone), random_(seed) {
  replica_ = random_() % session.replicas();
  all_lines_ = random_() % 3 == 0;
}

Milliseconds FaultInstance::between(int least, int most) {
  return Milliseconds(least + static_cast<int>(random_() % static_cast<uint32_t>(most - least + 1)));
}

void FaultInstance::pause(Milliseconds time) const { std::this_thread::sleep_for(time); }

template <class Do>
void FaultInstance::for_lines(Do&& action) {
  for (size_t i = 0; i < session_.replicas(); ++i) {
    if (all_lines_ || i == replica_) session_.for_lines_of(i, action);
  }
}

bool FaultInstance::is_disk_noticed() const {
  return session_.postgres().log().find("No space left", log_before_) != std::string::npos;
}

void FaultInstance::lock_row() {
  locked_account_ = clients_.accounts()[random_() % clients_.accounts().size()];
  const std::string number = std::to_string(locked_account_);
  operator_ = std::make_unique<DatabaseSession>(session_.bank().database());
  operator_->query("BEGIN");
  operator_->query(random_() % 2 == 0 ? "UPDATE accounts SET owner_id = owner_id WHERE account_number = " + number
                                      : "SELECT 1 FROM accounts WHERE account_number = " + number + " FOR UPDATE");
  locked_from_ = Record::Clock::now();
}

void FaultInstance::expect_progress(const std::string& when) {
  if (clients_.wait_for_successes(kServing, kServingWithin) || !is_alone_) return;
  findings_.add_books({std::string(kind_of(fault_).name) + ", " + when + ": not " + std::to_string(kServing) +
                       " successes within " + std::to_string(kServingWithin.count() / 1000) + " s"});
}

void FaultInstance::connect_operator() {
  operator_.reset();
  operator_ = std::make_unique<DatabaseSession>(session_.bank().database());
  operator_->query(kOperatorSettings);
}

// Another fault may take the server away from under the operator as well, who connects again and does it again.
void FaultInstance::operate(const std::string& statement) {
  const auto deadline = Record::Clock::now() + kOperatorsPatience;
  while (true) {
    try {
      if (operator_ == nullptr || operator_->is_lost()) connect_operator();
      operator_->query(statement);
      return;
    } catch (const std::runtime_error& error) {
      const bool was_reached = operator_ != nullptr && !operator_->is_lost();
      if (was_reached || Record::Clock::now() >= deadline) {
        const std::string log = session_.postgres().log();
        throw std::runtime_error(std::string(error.what()) + "\nPostgreSQL's log ends with\n" +
                                 log.substr(log.size() - std::min(log.size(), kLogTail)));
      }
      std::this_thread::sleep_for(Milliseconds(100));
    }
  }
}

void FaultInstance::alter(std::string statement) {
  const std::string name = session_.bank().database().name();
  if (const size_t at = statement.find('%'); at != std::string::npos) statement.replace(at, 1, name);
  operate(statement);
  if (statement.starts_with("ALTER SYSTEM")) operate("SELECT pg_reload_conf()");
  if (statement.starts_with("ALTER TABLE")) return;  // who is connected already has to cope with it
  operate(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'replica-%' AND random() < "
      "0.5");
}

// Some of them, one after the other.
void FaultInstance::change_settings() {
  connect_operator();
  size_t next = random_();
  for (int i = 0; i < kSettingsAtOnce; ++i) {
    const SettingChange& setting = kSettingChanges[next++ % kSettingChanges.size()];
    alter(setting.change);
    pause(between(200, 700));
    if (setting.must_serve) expect_progress(std::string("while changed: ") + setting.name);
    if (setting.then_kill) {
      session_.postgres().kill_all();
      session_.postgres().start();
      connect_operator();
    }
    alter(setting.back);
    expect_progress(std::string("changed back: ") + setting.name);
  }
  operator_.reset();
}

void FaultInstance::stall_standby() {
  clients_.be_impatient(true);
  pause(kImpatience);
  if (random_() % 2 == 0) {
    session_.cluster().replication_line().fall_silent(Proxy::Silence::kAnswers);
    return;
  }
  const PrivatePostgres& standby = session_.cluster().standby_server();
  const Rows rows =
      Database("postgres", standby.socket_directory(), standby.port()).query("SELECT pid FROM pg_stat_wal_receiver");
  has_hit_ = !rows.empty();
  if (!has_hit_) return;
  stopped_receiver_ = static_cast<pid_t>(std::stol(rows[0][0]));
  ::kill(stopped_receiver_, SIGSTOP);
}

// What an operator may do who sees commits hang. They are then done here, with a warning or an error, and not there.
void FaultInstance::end_waits_for_standby() {
  const char* const how[] = {"", "pg_cancel_backend", "pg_terminate_backend"};
  const std::string chosen = how[random_() % 3];
  if (chosen.empty()) return;
  session_.bank().database().query("SELECT " + chosen +
                                   "(pid) FROM pg_stat_activity WHERE application_name LIKE 'replica-%' AND "
                                   "wait_event = 'SyncRep'");
}

// While no WAL arrives: what has been answered 200 by now is there, or would be lost if the primary went away.
void FaultInstance::compare_with_standby() {
  std::set<std::string> missing = clients_.acknowledged();
  const PrivatePostgres& standby = session_.cluster().standby_server();
  const Database database(session_.bank().database().name(), standby.socket_directory(), standby.port());
  wait_until([&] { return database.value("SELECT pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn()") == "t"; },
             kNoticeTimeout);
  for (const Row& row : database.query("SELECT DISTINCT description FROM transaction_logs")) missing.erase(row[0]);
  if (missing.empty()) return;
  findings_.lost += static_cast<int64_t>(missing.size());
  findings_.texts.push_back(std::to_string(missing.size()) +
                            " operations were answered 200 while the synchronous standby had not got them, such as " +
                            *missing.begin());
}

void FaultInstance::continue_standby() {
  clients_.be_impatient(false);
  if (stopped_receiver_ != 0) ::kill(stopped_receiver_, SIGCONT);
  stopped_receiver_ = 0;
  session_.cluster().replication_line().cut_silent();
}

void FaultInstance::close_doors(size_t server) {
  for (size_t i = 0; i < session_.replicas(); ++i) session_.line_of(i, server).close_door();
}

void FaultInstance::open_doors(size_t server) {
  for (size_t i = 0; i < session_.replicas(); ++i) session_.line_of(i, server).open_door();
}

// What was the primary becomes the standby, and may be connected to again.
void FaultInstance::rejoin() {
  const size_t old = session_.cluster().standby();
  session_.cluster().rebuild_standby();
  open_doors(old);
}

// The standby is promoted and serves; then the old primary is there again as it was when it was killed. Neither has a
// standby to wait for.
void FaultInstance::return_primary() {
  constexpr const char* kNoStandby = "ALTER SYSTEM SET synchronous_standby_names = ''";
  Cluster& cluster = session_.cluster();
  cluster.promote_standby();
  const auto wait_for_none = [](PrivatePostgres& server) {
    const Database admin("postgres", server.socket_directory(), server.port());
    admin.query(kNoStandby);
    admin.query("SELECT pg_reload_conf()");
  };
  wait_for_none(cluster.postgres());
  expect_progress("after the promotion");
  cluster.standby_server().start();
  wait_for_none(cluster.standby_server());
  open_doors(cluster.standby());
  // Whoever connects again from here on finds two that take writes.
  session_.bank().database().query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'replica-%'");
  pause(length_);
  close_doors(cluster.standby());
}

void FaultInstance::restart_pooler() {
  Pooler& pooler = session_.pooler();
  switch (random_() % 4) {
    case 0:
      pooler.reload();  // and nothing else: nobody may notice
      is_pooler_away_ = false;
      break;
    case 1:
      pooler.terminate();
      break;
    default:
      pooler.kill();
      break;
  }
}

std::string FaultInstance::last_block() const {
  return session_.bank().database().value("SELECT last_value FROM transaction_id_blocks");
}

// A replica that has just started takes a block of ids for its first batch, and its COMMIT never gets to PostgreSQL.
// That the block is taken is in the WAL, for it was the first after a checkpoint, and not on disk, for nobody else
// commits: the others are cut off before. Then PostgreSQL is killed.
void FaultInstance::cut_off_first_commit() {
  const auto cut_off = [](Proxy& line) {
    line.close_door();
    line.fall_silent(Proxy::Silence::kRequests);
  };
  session_.kill_replica(replica_);
  for (size_t i = 0; i < session_.replicas(); ++i) {
    if (i != replica_) session_.for_lines_of(i, cut_off);
  }
  session_.bank().database().query("CHECKPOINT");
  session_.for_lines_of(replica_, [](Proxy& line) { line.delay_up_to(kSlowLine); });
  session_.restart_replica(replica_);
  wait_until([this] { return session_.is_in_mid_batch(replica_); }, kNoticeTimeout);
  session_.for_lines_of(replica_, cut_off);
  pause(2 * kSlowLine);
  block_before_ = last_block();
  session_.postgres().kill_all();
}

// Another replica, fresh as well, works with the ids first; then the one that is in doubt may ask.
void FaultInstance::give_ids_again() {
  session_.postgres().start();
  has_hit_ = std::stoll(last_block()) < std::stoll(block_before_);
  const size_t other = (replica_ + 1) % session_.replicas();
  const auto mend = [](Proxy& line) {
    line.delay_up_to(Milliseconds(0));
    line.cut_silent();
    line.open_door();
  };
  session_.kill_replica(other);
  session_.for_lines_of(other, mend);
  session_.restart_replica(other);
  expect_progress("with the ids given again");
  for (size_t i = 0; i < session_.replicas(); ++i) session_.for_lines_of(i, mend);
}

void FaultInstance::begin() {
  PrivatePostgres& postgres = session_.postgres();
  switch (fault_) {
    case Fault::kPostmasterKilled:
      length_ = between(0, 300);
      postgres.kill_postmaster();
      break;
    case Fault::kPostgresAway:
      length_ = between(11'000, 12'500);
      postgres.kill_all();
      break;
    case Fault::kBackendsTerminated:
      length_ = between(0, 100);
      session_.bank().database().query(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'replica-%' AND "
          "random() < 0.5");
      break;
    case Fault::kBackendKilled: {
      length_ = between(0, 100);
      const Rows rows = session_.bank().database().query(
          "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'replica-%' ORDER BY state = 'idle', random() "
          "LIMIT 1");
      has_hit_ = !rows.empty();
      if (has_hit_) ::kill(static_cast<pid_t>(std::stol(rows[0][0])), SIGKILL);
      break;
    }
    case Fault::kPostgresFrozen:
      length_ = between(4'000, 5'000);
      postgres.freeze();
      break;
    case Fault::kDiskFull:
      length_ = between(500, 1'500);
      log_before_ = postgres.log().size();
      session_.cluster().fill_disk();
      break;
    case Fault::kMidnight:
    case Fault::kClockBack:
      length_ = between(1'000, 1'500);
      session_.cluster().set_clock_before_midnight(kJustBefore);
      break;
    case Fault::kReplicaKilled:
      length_ = between(0, 500);
      session_.kill_replica(replica_);
      break;
    case Fault::kReplicaFrozen:
      length_ = between(6'000, 7'000);
      session_.stop_replica(replica_);
      // Asking takes longer than a batch; a transaction that is open now stays open.
      has_hit_ = postgres.running() && session_.is_in_mid_batch(replica_);
      for (int i = 0; i < kMidBatchTries && !has_hit_ && postgres.running(); ++i) {
        session_.continue_replica(replica_);
        pause(between(1, 20));
        session_.stop_replica(replica_);
        has_hit_ = session_.is_in_mid_batch(replica_);
      }
      break;
    case Fault::kConnectionsReset:
      length_ = between(300, 1'000);
      break;
    case Fault::kConnectionsDelayed: {
      const bool beyond = random_() % 3 == 0;
      length_ = beyond ? between(4'000, 5'000) : between(1'000, 2'000);
      const Milliseconds most = beyond ? Milliseconds(5'000) : between(20, 300);
      for_lines([most](Proxy& line) { line.delay_up_to(most); });
      break;
    }
    case Fault::kHalfOpen: {
      length_ = between(3'500, 4'500);
      const auto silence = static_cast<Proxy::Silence>(random_() % 3);
      for_lines([silence](Proxy& line) { line.fall_silent(silence); });
      break;
    }
    case Fault::kRowLocked:
      length_ = between(3'000, 4'000);
      lock_row();
      break;
    case Fault::kSettingsChanged:
      change_settings();
      break;
    case Fault::kStandbyStalled:
      length_ = between(3'500, 4'500);  // lanes give up after 3 s
      stall_standby();
      break;
    case Fault::kStandbyPromoted:
      length_ = between(0, 800);
      // Half of the time commits wait for the standby when the primary goes, and it will never have them.
      if (random_() % 2 == 0) {
        clients_.be_impatient(true);
        pause(kImpatience);
        session_.cluster().replication_line().fall_silent(Proxy::Silence::kAnswers);
        pause(between(4'500, 5'000));  // lanes give up after 3 s
        clients_.ask_about_tries(kProbePatience);
        clients_.be_impatient(false);
      }
      session_.postgres().kill_all();
      close_doors(session_.cluster().primary());
      break;
    case Fault::kPrimaryReturned:
      length_ = between(2'000, 3'000);
      session_.postgres().kill_all();
      close_doors(session_.cluster().primary());
      break;
    case Fault::kPoolerRestarted:
      length_ = between(0, 300);
      restart_pooler();
      break;
    case Fault::kPoolerOfTransactions:
      length_ = between(8'000, 10'000);
      break;
    case Fault::kIdsGivenAgain:
      cut_off_first_commit();
      break;
  }
}

void FaultInstance::last() {
  if (fault_ == Fault::kConnectionsReset) {
    for (Milliseconds left = length_; left > Milliseconds(0);) {
      for_lines([](Proxy& line) { line.reset_all(); });
      const Milliseconds step = between(20, 200);
      pause(step);
      left -= step;
    }
    return;
  }
  if (fault_ == Fault::kStandbyStalled) {
    pause(between(500, 1'500));
    end_waits_for_standby();
  }
  pause(length_);
  if (fault_ == Fault::kDiskFull) wait_until([this] { return is_disk_noticed(); }, kNoticeTimeout);
  if (fault_ == Fault::kClockBack) {
    session_.cluster().set_clock_before_midnight(kJustBefore);
    pause(between(300, 1'500));
  }
  if (fault_ == Fault::kStandbyStalled) {
    has_hit_ = clients_.ask_about_tries(kProbePatience) > 0 && has_hit_;
    compare_with_standby();
  }
  if (fault_ == Fault::kPrimaryReturned) return_primary();
}

void FaultInstance::end() {
  PrivatePostgres& postgres = session_.postgres();
  switch (fault_) {
    case Fault::kPostmasterKilled:
    case Fault::kPostgresAway:
      postgres.start();
      break;
    case Fault::kPostgresFrozen:
      postgres.thaw();
      break;
    case Fault::kDiskFull:
      session_.cluster().empty_disk();
      has_hit_ = is_disk_noticed();
      pause(Milliseconds(100));
      if (!postgres.running()) postgres.start();  // it ends when there is no room for its log even after a restart
      break;
    case Fault::kReplicaKilled:
      session_.restart_replica(replica_);
      break;
    case Fault::kReplicaFrozen:
      session_.continue_replica(replica_);
      break;
    case Fault::kConnectionsDelayed:
      for_lines([](Proxy& line) { line.delay_up_to(Milliseconds(0)); });
      break;
    case Fault::kHalfOpen:
      for_lines([](Proxy& line) { line.cut_silent(); });
      break;
    case Fault::kRowLocked:
      try {
        operator_->query(random_() % 2 == 0 ? "COMMIT" : "ROLLBACK");
      } catch (const std::runtime_error&) {
        if (!operator_->is_lost()) throw;  // otherwise its lock has gone with it
      }
      locked_until_ = Record::Clock::now();
      operator_.reset();
      break;
    case Fault::kStandbyStalled:
      continue_standby();
      break;
    case Fault::kStandbyPromoted:
      session_.cluster().promote_standby();
      rejoin();
      break;
    case Fault::kPrimaryReturned:
      session_.cluster().standby_server().kill_all();
      rejoin();
      break;
    case Fault::kPoolerRestarted:
      if (is_pooler_away_) session_.pooler().start();
      break;
    case Fault::kIdsGivenAgain:
      give_ids_again();
      break;
    case Fault::kPoolerOfTransactions:
    case Fault::kSettingsChanged:
    case Fault::kBackendsTerminated:
    case Fault::kBackendKilled:
    case Fault::kMidnight:
    case Fault::kClockBack:
    case Fault::kConnectionsReset:
      break;
  }
  const auto is_back = [this] {
    try {
      return session_.bank().database().value("SELECT NOT pg_is_in_recovery()") == "t";
    } catch (const std::exception&) {
      return false;
    }
  };
  if (!wait_until(is_back, kBackTimeout)) fatal("PostgreSQL does not come back:\n" + postgres.log());
}

// Requests that were begun and about other accounts while one was locked.
Findings FaultInstance::judge_row_locked() {
  int64_t others = 0;
  int64_t unserved = 0;
  has_hit_ = false;
  for (const Record& record : clients_.records()) {
    if (record.hung_up || record.began < locked_from_ || record.began >= locked_until_) continue;
    if (record.touches(locked_account_)) {
      has_hit_ = true;
      continue;
    }
    ++others;
    unserved += record.first_status == 503 || record.first_status == 504 || record.first_status == 0;
  }
  has_hit_ = has_hit_ && others >= kEnoughRequests;
  Findings found;
  // How quickly they were is not for a test to say: the machine may have been busy with others.
  if (is_alone_ && others >= kEnoughRequests && unserved * 100 > others * kUnservedPercent)
    found.add_books({"row-locked: of " + std::to_string(others) + " requests about other accounts " +
                     std::to_string(unserved) + " were not served"});
  return found;
}

// One line of its log has to say what is wrong.
Findings FaultInstance::judge_refusal() {
  Findings found;
  for (size_t i = 0; i < session_.replicas(); ++i) {
    const std::string name = "pooler-of-transactions, replica " + std::to_string(i);
    if (session_.is_ready(i)) found.add_books({name + ": ready, behind a pooler in transaction mode"});
    std::istringstream log(session_.log_of(i));
    bool is_named = false;
    for (std::string line; std::getline(log, line) && !is_named;) {
      std::ranges::transform(line, line.begin(), [](unsigned char c) { return std::tolower(c); });
      is_named = line.find("transaction pooling") != std::string::npos ||
                 line.find("transaction mode") != std::string::npos || line.find("pool_mode") != std::string::npos;
    }
    if (!is_named) found.add_books({name + ": no line of its log names transaction pooling"});
  }
  if (clients_.successes() > 0)
    found.add_books({"pooler-of-transactions: " + std::to_string(clients_.successes()) + " movements were made"});
  return found;
}

Findings FaultInstance::judge() {
  Findings found = std::exchange(findings_, {});
  if (fault_ == Fault::kRowLocked) found.add(judge_row_locked());
  if (fault_ == Fault::kPoolerOfTransactions) found.add(judge_refusal());
  return found;
}

}  // namespace txn::test
