#include "db/pooling.h"

#include <optional>

#include "core/clock.h"
#include "core/concat.h"

namespace txn {
namespace {

// Of one question, and of the second connection.
constexpr int64_t kQuestionNs = 1 * kNanosPerSecond;
constexpr int64_t kConnectNs = 2 * kNanosPerSecond;
// A busy pooler may hand out the same session by chance, and less so each time.
constexpr int kRounds = 6;

// Process ids are used again, on another server at the same time as well; with the start they are not.
struct Backend {
  int32_t pid = 0;
  int64_t start_us = 0;
  bool operator==(const Backend&) const = default;
};

class Client {
 public:
  Client(const PgDial& dial, PGconn* connection) : dial_(dial), connection_(connection) {}

  std::expected<PgResult, PgFailure> run(const char* sql) const {
    return dial_.ask(connection_, sql, PgDial::now_ns() + kQuestionNs);
  }
  std::optional<Backend> backend() const {
    const auto row = run("SELECT pg_backend_pid(), backend_start FROM pg_stat_get_activity(pg_backend_pid())");
    if (!row) return std::nullopt;
    PgRow says(*row, 0);
    const Backend backend{says.int4(0), says.timestamptz(1)};
    return says.ok() ? std::optional(backend) : std::nullopt;
  }

 private:
  const PgDial& dial_;
  PGconn* connection_;
};

}  // namespace

Pooling probe_pooling(const PgDial& dial, PGconn* first, const PgTarget& target) {
  const auto second = dial.connect(target, PgDial::now_ns() + kConnectNs);
  if (!second) return Pooling::kCannotTell;
  const Client a(dial, first);
  const Client b(dial, second->get());
  const auto home = a.backend();
  if (!home) return Pooling::kCannotTell;
  for (int round = 0; round < kRounds; ++round) {
    if (const auto begun = b.run("BEGIN"); !begun) {
      // PgBouncer ends a client that begins a transaction where there are none.
      if (begun.error().error.message.find("statement pooling") != std::string::npos) return Pooling::kStatement;
      // It may wait for the only session there is. When `a`, who asks later, is served before it, that session is a's.
      const bool waits = begun.error().error.kind == ErrorKind::kTimeout;
      return waits && a.backend() == home ? Pooling::kSession : Pooling::kCannotTell;
    }
    // While both are connected no session may be that of both; and while `b` is in a transaction of its own, `a` would
    // be put elsewhere if it were put anywhere.
    const auto other = b.backend();
    if (!other) return Pooling::kCannotTell;
    if (*other == *home) return Pooling::kTransaction;
    const auto again = a.backend();
    if (!again) return Pooling::kCannotTell;
    if (*again != *home) return Pooling::kTransaction;
    if (!b.run("ROLLBACK")) return Pooling::kCannotTell;
  }
  return Pooling::kSession;
}

Pooling probe_pooling(const std::string& conninfo) {
  const auto listed = list_targets(conninfo);
  if (!listed) return Pooling::kCannotTell;
  const PgDial dial;
  for (const PgTarget& target : listed->targets) {
    const auto first = dial.connect(target, PgDial::now_ns() + kConnectNs);
    if (first) return probe_pooling(dial, first->get(), target);
  }
  return Pooling::kCannotTell;
}

std::string pooling_refusal(Pooling pooling) {
  return concat(
      pooling == Pooling::kStatement ? "statement pooling" : "transaction pooling",
      ": a connection pooler hands sessions from one client to another between transactions; set pool_mode=session for "
      "this service, or have it connect to PostgreSQL directly");
}

}  // namespace txn
