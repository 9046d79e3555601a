// The faults. Each begins at a random moment, lasts, and ends; between begin() and end() another may be going on.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <string_view>

#include "tests/chaos/audit.h"
#include "tests/chaos/session.h"

namespace txn::test {

enum class Fault : uint8_t {
  kPostmasterKilled,
  kPostgresAway,
  kBackendsTerminated,
  kBackendKilled,
  kPostgresFrozen,
  kDiskFull,
  kMidnight,
  kClockBack,
  kReplicaKilled,
  kReplicaFrozen,
  kConnectionsReset,
  kConnectionsDelayed,
  kHalfOpen,
  kRowLocked,
  kSettingsChanged,
  kStandbyStalled,
  kStandbyPromoted,
  kPoolerRestarted,
  kPrimaryReturned,
  kPoolerOfTransactions,
  kIdsGivenAgain,
};

// What has to stand below the replicas.
enum class Layout : uint8_t {
  kAlone,    // one PostgreSQL
  kStandby,  // with a synchronous standby
  kPooled,   // behind a PgBouncer
  kPooledInTransactions,
};

struct FaultKind {
  Fault fault;
  const char* name;  // on the command line and in reports
  const char* what;
  bool is_about_lines = false;  // of the service and its lines rather than of PostgreSQL
  Layout layout = Layout::kAlone;
  bool is_extra = false;  // done when named only
};

inline constexpr std::array kFaultKinds{
    FaultKind{Fault::kPostmasterKilled, "postmaster-killed", "kill -9 of PostgreSQL's postmaster, started again"},
    FaultKind{Fault::kPostgresAway, "postgres-away",
              "kill -9 of all of PostgreSQL at one instant, and away for longer than a commit may be in doubt"},
    FaultKind{Fault::kBackendsTerminated, "backends-terminated", "pg_terminate_backend of about half the connections"},
    FaultKind{Fault::kBackendKilled, "backend-killed", "kill -9 of one backend; PostgreSQL then restarts all"},
    FaultKind{Fault::kPostgresFrozen, "postgres-frozen", "SIGSTOP of all of PostgreSQL for longer than the time-outs"},
    FaultKind{Fault::kDiskFull, "disk-full", "PostgreSQL's disk full to the last block"},
    FaultKind{Fault::kMidnight, "midnight", "PostgreSQL's clock set forward and run over midnight UTC"},
    FaultKind{Fault::kClockBack, "clock-back", "over midnight, and then set back to before it"},
    FaultKind{Fault::kReplicaKilled, "replica-killed", "kill -9 of a replica, started again", true},
    FaultKind{Fault::kReplicaFrozen, "replica-frozen", "SIGSTOP of a replica in mid-batch, the others go on", true},
    FaultKind{Fault::kConnectionsReset, "connections-reset", "RST of a replica's database connections, again and again",
              true},
    FaultKind{Fault::kConnectionsDelayed, "connections-delayed",
              "delays between replica and database, short ones or beyond the time-outs", true},
    FaultKind{Fault::kHalfOpen, "half-open", "connections that swallow requests, answers or both", true},
    FaultKind{Fault::kRowLocked, "row-locked", "one account's row locked by an operator's open transaction"},
    FaultKind{Fault::kSettingsChanged, "settings-changed",
              "settings of server, database or role and tables changed under the service, and back"},
    FaultKind{Fault::kStandbyStalled, "standby-stalled", "the synchronous standby gets no WAL for a while", false,
              Layout::kStandby},
    FaultKind{Fault::kStandbyPromoted, "standby-promoted",
              "kill -9 of the primary, the standby promoted, the old primary made its standby", false,
              Layout::kStandby},
    FaultKind{Fault::kPoolerRestarted, "pooler-restarted", "kill -9, SIGTERM or SIGHUP of PgBouncer, started again",
              true, Layout::kPooled},
    FaultKind{Fault::kPrimaryReturned, "primary-returned",
              "after a promotion the old primary comes back as it was and is one again", false, Layout::kStandby, true},
    FaultKind{Fault::kPoolerOfTransactions, "pooler-of-transactions",
              "PgBouncer in transaction mode, which the service has to refuse", true, Layout::kPooledInTransactions,
              true},
    FaultKind{Fault::kIdsGivenAgain, "ids-given-again",
              "PostgreSQL killed over a cut-off commit, after which the sequence gives its ids to somebody else", false,
              Layout::kAlone, true},
};

const FaultKind& kind_of(Fault fault);

// One occurrence.
class FaultInstance {
 public:
  // `is_alone`: nothing else goes on, so that how soon the service serves can be judged.
  FaultInstance(Fault fault, Session& session, Clients& clients, bool is_alone, uint32_t seed);
  void begin();
  void last();  // as long as this one takes
  void end();
  // Whether what was meant to happen did: a replica was stopped in mid-batch, the disk was found full.
  bool has_hit() const { return has_hit_; }

  // What it has shown by itself, besides what the audit will find. After end(), with the clients stopped; has_hit() is
  // final from then on.
  Findings judge();

  // "" when it can be done here, otherwise why not.
  static std::string obstacle(Fault fault, const Cluster& cluster);

 private:
  Milliseconds between(int least, int most);
  void pause(Milliseconds time) const;
  bool is_disk_noticed() const;
  template <class Do>
  void for_lines(Do&& action);
  void lock_row();
  void connect_operator();
  void alter(std::string statement);
  void operate(const std::string& statement);
  void change_settings();
  void expect_progress(const std::string& when);
  Findings judge_row_locked();
  Findings judge_refusal();
  void stall_standby();
  void end_waits_for_standby();
  void compare_with_standby();
  void continue_standby();
  void close_doors(size_t server);
  void open_doors(size_t server);
  void rejoin();
  void return_primary();
  void restart_pooler();
  void cut_off_first_commit();
  void give_ids_again();
  std::string last_block() const;

  const Fault fault_;
  Session& session_;
  Clients& clients_;
  const bool is_alone_;
  std::unique_ptr<DatabaseSession> operator_;
  int64_t locked_account_ = 0;
  Record::Clock::time_point locked_from_{};
  Record::Clock::time_point locked_until_{};
  pid_t stopped_receiver_ = 0;
  bool is_pooler_away_ = true;
  std::string block_before_;  // last value of the sequence when PostgreSQL was killed
  Findings findings_;
  std::mt19937 random_;
  size_t replica_ = 0;
  bool all_lines_ = false;
  bool has_hit_ = true;
  size_t log_before_ = 0;
  Milliseconds length_{0};
};

}  // namespace txn::test
