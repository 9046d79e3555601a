#include "tests/chaos/session.h"

#include <algorithm>
#include <sstream>

namespace txn::test {

namespace {

constexpr Milliseconds kDrainTimeout{35'000};
constexpr Milliseconds kDropTimeout{60'000};

// The line of `text` that `position` is in.
std::string line_around(const std::string& text, size_t position) {
  const size_t newline = text.rfind('\n', position);
  const size_t begin = newline == std::string::npos ? 0 : newline + 1;
  return text.substr(begin, text.find('\n', position) - begin);
}

}  // namespace

Session::Session(Cluster& cluster, size_t replicas, uint32_t seed, std::optional<Pooler::Mode> pooling)
    : cluster_(cluster), waits_for_readiness_(pooling != Pooler::Mode::kTransaction), ports_(replicas) {
  std::vector<std::string> sockets;
  for (PrivatePostgres* server : cluster.servers()) {
    log_seen_.push_back(server->log().size());
    sockets.push_back(server->socket_path());
  }
  const Database database = cluster.follow_primary(postgres().create_database("chaos"));
  if (pooling) {
    pooler_ = std::make_unique<Pooler>(postgres(), *pooling);
    sockets = {pooler_->socket_path()};
  }
  // Short time-outs, so that whoever waits for one need not wait long; few connections, so that restarts are quick.
  bank_ = std::make_unique<Bank>(
      database, Settings{{"DATABASE_COMMAND_TIMEOUT", "1"}, {"DATABASE_POOL_MIN", "2"}, {"DATABASE_POOL_MAX", "6"}});
  database.query(
      "UPDATE transfer_limits SET daily_limit = 9999999999.99, transaction_limit = 1000000;"
      "UPDATE transfer_limits SET daily_limit = " +
      from_minor(kSilverAmount) + ", transaction_limit = " + std::to_string(kSilverCount) +
      " WHERE privilege = 'SILVER'");
  for (size_t i = 0; i < replicas; ++i) {
    Replica replica;
    std::string hosts;
    std::string ports;
    for (const std::string& socket : sockets) {
      replica.lines.push_back(std::make_unique<Proxy>(socket, seed + static_cast<uint32_t>(i)));
      if (!hosts.empty()) {
        hosts += ',';
        ports += ',';
      }
      hosts += "127.0.0.1";
      ports += std::to_string(replica.lines.back()->port());
    }
    // Of two values in one conninfo string the later holds.
    std::ostringstream conninfo;
    conninfo << database.conninfo() << " host=" << hosts << " port=" << ports
             << (sockets.size() > 1 ? " target_session_attrs=read-write" : "")
             << " sslmode=disable application_name=" << name_of(i);
    replica.settings = bank_->settings_with({{"DATABASE_URL", conninfo.str()}});
    replicas_.push_back(std::move(replica));
    restart_replica(i);
  }
}

void Session::kill_replica(size_t replica) { replicas_[replica].process->kill9(); }

void Session::restart_replica(size_t replica) {
  auto& process = replicas_[replica].process;
  if (process) read_log(replicas_[replica]);
  replicas_[replica].log_seen = 0;
  process = std::make_unique<ServiceProcess>(replicas_[replica].settings,
                                             ServiceProcess::Options{.wait_for_readiness = waits_for_readiness_});
  ports_.set(replica, process->port());
}

void Session::stop_replica(size_t replica) { replicas_[replica].process->send_signal(SIGSTOP); }
void Session::continue_replica(size_t replica) { replicas_[replica].process->send_signal(SIGCONT); }

bool Session::is_in_mid_batch(size_t replica) {
  return bank_->database().value(
             "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND "
             "application_name = '" +
             name_of(replica) + "'") != "0";
}

std::vector<int64_t> Session::open_accounts() {
  std::vector<AccountSpec> specs(6, {.balance = kOpeningBalance});
  specs[0].privilege = specs[1].privilege = "SILVER";
  return bank_->open_accounts(specs);
}

bool Session::wait_until_well(Milliseconds timeout) {
  const auto all_ready = [this] {
    for (Replica& replica : replicas_) {
      if (replica.process->running() && !replica.process->ready()) return false;
    }
    return true;  // one that has ended will not become ready; forbidden_events() tells
  };
  return wait_until(all_ready, timeout);
}

std::vector<std::string> Session::forbidden_events() {
  std::vector<std::string> found;
  for (size_t i = 0; i < replicas_.size(); ++i) {
    const std::string text = replicas_[i].process->log_text();
    const size_t broken = text.find("Invariant broken");
    if (broken != std::string::npos) found.push_back(name_of(i) + ": " + line_around(text, broken));
    if (replicas_[i].process->running()) continue;
    found.push_back(name_of(i) +
                    " has ended by itself: " + text.substr(text.size() - std::min<size_t>(text.size(), 600)));
    restart_replica(i);
  }
  // A constraint that had to say no: the service would have written what is wrong.
  for (size_t server = 0; server < log_seen_.size(); ++server) {
    const std::string log = cluster_.servers()[server]->log();
    for (const char* word : {"deadlock", "violates"}) {
      size_t count = 0;
      size_t first = std::string::npos;
      for (size_t at = log.find(word, log_seen_[server]); at != std::string::npos; at = log.find(word, at + 1)) {
        if (count++ == 0) first = at;
      }
      if (count > 0) found.push_back(std::to_string(count) + " times in PostgreSQL's log: " + line_around(log, first));
    }
    log_seen_[server] = log.size();
  }
  return found;
}

void Session::read_log(Replica& replica) {
  const std::string text = replica.process->log_text();
  const size_t end = text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n');
  for (size_t at = text.find("Commit in doubt resolved", replica.log_seen); at < end;
       at = text.find("Commit in doubt resolved", at + 1)) {
    const bool committed = line_around(text, at).find("\"committed\":true") != std::string::npos;
    ++(committed ? doubts_.first : doubts_.second);
  }
  replica.log_seen = std::max(replica.log_seen, end);
}

std::pair<int64_t, int64_t> Session::take_doubts() {
  for (Replica& replica : replicas_) read_log(replica);
  return std::exchange(doubts_, {});
}

std::vector<std::string> Session::end() {
  std::vector<std::string> found;
  for (size_t i = 0; i < replicas_.size(); ++i) {
    const auto status = replicas_[i].process->terminate(kDrainTimeout);
    if (status == ExitStatus{}) continue;
    std::ostringstream why;
    why << name_of(i) << " on SIGTERM: ";
    if (status) {
      why << *status;
    } else {
      why << "does not end";
    }
    found.push_back(why.str());
  }
  replicas_.clear();
  const std::string name = bank_->database().name();
  bank_.reset();
  pooler_.reset();
  // A backend that the faults have left busy may take longer to go than FORCE waits for it.
  const Database admin("postgres", postgres().socket_directory(), postgres().port());
  const auto is_dropped = [&] {
    try {
      admin.query("DROP DATABASE IF EXISTS " + name + " WITH (FORCE)");
      return true;
    } catch (const std::runtime_error&) {
      return false;
    }
  };
  if (!wait_until(is_dropped, kDropTimeout)) found.push_back("the session's database cannot be dropped");
  return found;
}

}  // namespace txn::test
