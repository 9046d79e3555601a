// The faults. Each begins at a random moment, lasts, and ends; between begin() and end() another may be going on.
#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>

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
};

struct FaultKind {
  Fault fault;
  const char* name;  // on the command line and in reports
  const char* what;
  bool is_about_lines = false;  // of the service and its lines rather than of PostgreSQL
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
};

const FaultKind& kind_of(Fault fault);

// One occurrence.
class FaultInstance {
 public:
  FaultInstance(Fault fault, Session& session, uint32_t seed);
  void begin();
  void last();  // as long as this one takes
  void end();
  // Whether what was meant to happen did: a replica was stopped in mid-batch, the disk was found full.
  bool has_hit() const { return has_hit_; }

  // "" when it can be done here, otherwise why not.
  static std::string obstacle(Fault fault, const Cluster& cluster);

 private:
  Milliseconds between(int least, int most);
  void pause(Milliseconds time) const;
  bool is_disk_noticed() const;
  template <class Do>
  void for_lines(Do&& action);

  const Fault fault_;
  Session& session_;
  std::mt19937 random_;
  size_t replica_ = 0;
  bool all_lines_ = false;
  bool has_hit_ = true;
  size_t log_before_ = 0;
  Milliseconds length_{0};
};

}  // namespace txn::test
