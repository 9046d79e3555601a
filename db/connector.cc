#include "db/connector.h"

#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <set>
#include <string_view>

#include "core/check.h"
#include "core/concat.h"
#include "core/log.h"
#include "core/partition.h"
#include "db/pooling.h"

namespace txn {
namespace {

// What every session of the service needs. A frozen replica's locks end with idle_in_transaction_session_timeout; plans
// are made once and by index, because statistics of an empty database would choose sequential scans that a connection
// then keeps when there are a million rows. With remote_write a standby's power failure may lose what was answered.
constexpr const char* kSessionSettings =
    "SELECT set_config('statement_timeout', $1, false), set_config('lock_timeout', $1, false), "
    "set_config('idle_in_transaction_session_timeout', '5s', false), "
    "set_config('default_transaction_isolation', 'read committed', false), "
    "set_config('default_transaction_read_only', 'off', false), "
    "set_config('default_transaction_deferrable', 'off', false), "
    "set_config('client_connection_check_interval', '1s', false), "
    "set_config('synchronous_commit', CASE WHEN current_setting('synchronous_commit') = 'remote_apply' "
    "THEN 'remote_apply' ELSE 'on' END, false), "
    "set_config('plan_cache_mode', 'force_generic_plan', false), set_config('jit', 'off', false), "
    "set_config('enable_seqscan', 'off', false), set_config('enable_bitmapscan', 'off', false), "
    "set_config('enable_hashjoin', 'off', false), set_config('enable_mergejoin', 'off', false), "
    "set_config('TimeZone', 'UTC', false), set_config('client_encoding', 'UTF8', false), "
    "set_config('client_min_messages', 'warning', false), set_config('transactions_service.session', $2, false)";

constexpr const char* kWhoAmI = "SELECT pg_backend_pid(), backend_start FROM pg_stat_get_activity(pg_backend_pid())";

// Everybody may call these three, unless somebody has revoked it.
constexpr const char* kWhatAreYou =
    "SELECT pg_is_in_recovery(), current_setting('server_encoding'), "
    "has_function_privilege('pg_current_wal_lsn()', 'EXECUTE') AND "
    "has_function_privilege('pg_walfile_name(pg_lsn)', 'EXECUTE'), "
    "has_function_privilege('pg_control_system()', 'EXECUTE')";
constexpr const char* kSystemId = "SELECT system_identifier FROM pg_control_system()";
// The timeline is the first eight hexadecimal digits of the name of the segment that is being written. It is the new
// one from the first write after a promotion on, where the control file waits for a checkpoint.
constexpr const char* kSegment = "SELECT pg_walfile_name(pg_current_wal_lsn())";

// For how long a lane counts as waiting after an attempt that failed: longer than its pause before the next.
constexpr int64_t kLaneRetriesWithinNs = 3 * kNanosPerSecond;

std::string random_token() {
  std::array<uint8_t, 16> bytes;
  // Of up to 256 bytes getrandom() gives all or, before the kernel has gathered its first entropy, waits.
  CHECK(getrandom(bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()), "the kernel has random bytes");
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string token;
  for (const uint8_t byte : bytes) {
    token += kDigits[byte >> 4];
    token += kDigits[byte & 15];
  }
  return token;
}

// 0 for what is no name of a segment.
uint32_t timeline_of(std::string_view segment) {
  uint32_t timeline = 0;
  const std::string_view digits = segment.substr(0, 8);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), timeline, 16);
  return error == std::errc() && digits.size() == 8 && end == digits.data() + digits.size() ? timeline : 0;
}

std::unexpected<PgFailure> unavailable(std::string text, std::string sqlstate = "") {
  return std::unexpected(PgFailure{{ErrorKind::kUnavailable, std::move(text)}, std::move(sqlstate)});
}

}  // namespace

Connector::Connector(ConnectorOptions options)
    : options_(std::move(options)), stop_descriptor_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), dial_(stop_descriptor_) {
  CHECK(stop_descriptor_ >= 0, "eventfd for the connector");
}

Connector::~Connector() {
  stop();
  thread_.join();
  close(stop_descriptor_);
}

void Connector::stop() {
  thread_.stop();
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(stop_descriptor_, &one, sizeof one);
}

int Connector::lanes_waiting() const {
  const bool will_ask_again = PgDial::now_ns() < lanes_unserved_until_ns_.load();
  return lanes_opening_.load() + (will_ask_again ? lanes_unserved_.load() : 0);
}

// Which lane asks is not known, so one that lost its connection may be taken for one that was refused before. That one
// is counted again when it is refused again.
void Connector::note_lane_asks() {
  lanes_opening_.fetch_add(1);
  int unserved = lanes_unserved_.load();
  while (unserved > 0 && !lanes_unserved_.compare_exchange_weak(unserved, unserved - 1)) {
  }
}

void Connector::note_lane_answered(bool has_connection) {
  if (!has_connection) {
    lanes_unserved_until_ns_.store(PgDial::now_ns() + kLaneRetriesWithinNs);
    lanes_unserved_.fetch_add(1);
  }
  lanes_opening_.fetch_sub(1);
}

Result<OpenedConnection> Connector::connect(ConnectionPurpose purpose, std::span<const Statement* const> statements) {
  auto opened = connect_to_any(statements);
  if (purpose == ConnectionPurpose::kLane) {
    if (!opened && is_about_room(opened.error())) reader_must_yield_.store(true);
    note_lane_answered(opened.has_value());
  }
  if (!opened) return std::unexpected(opened.error().error);
  return std::move(*opened);
}

Connector::Opened Connector::connect_to_any(std::span<const Statement* const> statements) {
  const Result<std::string> conninfo = options_.read_conninfo ? options_.read_conninfo() : options_.conninfo;
  if (!conninfo) return std::unexpected(PgFailure{conninfo.error(), ""});
  auto listed = list_targets(*conninfo);
  if (!listed) return std::unexpected(PgFailure{listed.error(), ""});
  std::vector<PgTarget>& targets = listed->targets;
  int64_t timeout_ns = options_.connect_timeout_ns;
  if (targets.size() > 1) timeout_ns = std::min(timeout_ns, kConnectTimeoutOfSeveralNs);
  if (listed->connect_timeout_seconds) timeout_ns = *listed->connect_timeout_seconds * kNanosPerSecond;

  if (const uint32_t suspicions = suspicions_.load(); suspicions != suspicions_seen_) {
    suspicions_seen_ = suspicions;
    for (auto& [name, server] : servers_) server.sessions = Server::Sessions::kSuspected;
  }
  if (last_good_.empty()) {
    if (targets.size() > 1) look_at_all(targets, timeout_ns);
  } else {
    partition_in_order(targets, [this](const PgTarget& target) { return target.name == last_good_; });
  }

  std::string problems;
  std::string sqlstate;
  const auto add_problem = [&](const std::string& text) { problems += concat(problems.empty() ? "" : "; ", text); };
  for (const PgTarget& target : targets) {
    auto opened = connect_to(target, timeout_ns, statements);
    if (opened) {
      last_good_ = target.name;
      return opened;
    }
    add_problem(opened.error().error.message);
    if (sqlstate.empty() || is_about_room(opened.error())) sqlstate = opened.error().sqlstate;
  }
  for (const std::string& problem : listed->problems) add_problem(problem);
  return unavailable(problems.empty() ? "no address to connect to" : problems, sqlstate);
}

// Before the first connection of the process: an old primary may have come back and stand first in the list, and which
// one is the newest is only known when all have been seen. Those that did not answer then come last.
void Connector::look_at_all(std::vector<PgTarget>& targets, int64_t timeout_ns) {
  std::set<std::string> good;
  for (const PgTarget& target : targets) {
    const int64_t deadline_ns = PgDial::now_ns() + timeout_ns;
    const auto handle = dial_.connect(target, deadline_ns);
    if (!handle) continue;
    const auto facts = examine(handle->get(), deadline_ns);
    if (!facts || facts->in_recovery) continue;
    note(*facts, target);
    good.insert(target.name);
  }
  partition_in_order(targets, [&](const PgTarget& target) { return good.contains(target.name); });
}

Connector::Opened Connector::connect_to(const PgTarget& target, int64_t timeout_ns,
                                        std::span<const Statement* const> statements) {
  Server& server = servers_[target.name];
  if (PgDial::now_ns() < server.refused_until_ns) {
    ++counters_.refused_pooled;
    return unavailable(concat(target.name, ": ", server.refusal));
  }
  auto handle = dial_.connect(target, PgDial::now_ns() + timeout_ns);
  if (!handle) return std::unexpected(std::move(handle.error()));
  PGconn* const connection = handle->get();
  const int64_t deadline_ns = PgDial::now_ns() + options_.connect_timeout_ns;
  const auto about = [&target](const Error& error) {
    return std::unexpected(PgFailure{{error.kind, concat(target.name, ": ", error.message)}, ""});
  };

  const auto facts = examine(connection, deadline_ns);
  if (!facts) return about(facts.error().error);
  if (facts->in_recovery) return about({ErrorKind::kUnavailable, "the database is a standby that takes no writes"});
  if (const std::string why = objection_to(*facts); !why.empty()) return refuse(target, why);
  if (const std::string why = prove_sessions(connection, target, server); !why.empty()) {
    ++counters_.refused_pooled;
    server.refused_until_ns = PgDial::now_ns() + options_.probe_again_ns;
    return refuse(target, why);
  }
  note(*facts, target);
  if (system_id_ == 0) system_id_ = facts->system_id;

  OpenedConnection opened{.handle = std::move(*handle), .session_token = random_token(), .timeline = facts->timeline};
  if (PQenterPipelineMode(connection) != 1) return about({ErrorKind::kSystem, connection_error(connection)});
  if (auto ready = prepare_session(connection, statements, PgDial::now_ns() + options_.connect_timeout_ns, opened);
      !ready)
    return about(ready.error());
  server.refusal.clear();
  return opened;
}

std::expected<Connector::Facts, PgFailure> Connector::examine(PGconn* connection, int64_t deadline_ns) const {
  const auto row = dial_.ask(connection, kWhatAreYou, deadline_ns);
  if (!row) return std::unexpected(row.error());
  if (row->rows() != 1) return unavailable("the server does not say what it is");
  PgRow says(*row, 0);
  Facts facts{.in_recovery = says.boolean(0), .encoding = std::string(says.bytes(1))};
  const bool may_ask_segment = says.boolean(2);
  const bool may_ask_system_id = says.boolean(3);
  if (!says.ok()) return unavailable("the server does not say what it is");
  if (may_ask_segment && !facts.in_recovery) {
    const auto segment = dial_.ask(connection, kSegment, deadline_ns);
    if (!segment) return std::unexpected(segment.error());
    if (segment->rows() == 1) facts.timeline = timeline_of(segment->bytes(0, 0));
  }
  if (may_ask_system_id) {
    const auto id = dial_.ask(connection, kSystemId, deadline_ns);
    if (!id) return std::unexpected(id.error());
    facts.system_id = id->int8(0, 0).value_or(0);
  }
  return facts;
}

// A server's timeline counts once it is known that it is one of this cluster.
void Connector::note(const Facts& facts, const PgTarget& target) {
  const bool is_other_cluster = system_id_ != 0 && facts.system_id != 0 && facts.system_id != system_id_;
  const uint32_t newest = newest_timeline_.load();
  if (is_other_cluster || facts.in_recovery || facts.timeline <= newest) return;
  if (newest != 0)
    LOG(kWarning, "db.connector", "A newer primary has been found; those before it are not used any more")
        .field("server", target.name)
        .field("timeline", facts.timeline);
  newest_timeline_.store(facts.timeline);
}

// Why a server that takes writes must not be used, "" when it may be.
std::string Connector::objection_to(const Facts& facts) {
  if (facts.encoding != "UTF8")
    return concat("the database's encoding is ", facts.encoding, ", the service needs one with UTF8");
  if (system_id_ != 0 && facts.system_id != 0 && facts.system_id != system_id_) {
    ++counters_.refused_other_cluster;
    return concat("another database cluster (system identifier ", static_cast<uint64_t>(facts.system_id),
                  ") than the one that this process began with (", static_cast<uint64_t>(system_id_),
                  "); restart the service if it is the right one");
  }
  if (is_superseded(facts.timeline)) {
    ++counters_.refused_superseded;
    return concat("a primary that has been replaced: it is on timeline ", facts.timeline, ", and timeline ",
                  newest_timeline_.load(), " has been seen");
  }
  return "";
}

// Why sessions of this server cannot be relied upon, "" when they can.
std::string Connector::prove_sessions(PGconn* connection, const PgTarget& target, Server& server) {
  if (server.sessions == Server::Sessions::kHold) return "";
  const Pooling pooling = probe_pooling(dial_, connection, target);
  switch (pooling) {
    case Pooling::kSession:
      server.sessions = Server::Sessions::kHold;
      return "";
    case Pooling::kTransaction:
    case Pooling::kStatement:
      server.sessions = Server::Sessions::kSuspected;
      return pooling_refusal(pooling);
    case Pooling::kCannotTell:
      break;
  }
  if (server.sessions == Server::Sessions::kSuspected)
    return "a connection has been given the session of another, and whether a pooler shares them cannot be told now";
  // Nothing speaks against it. Lanes look at each transaction whether their session is still theirs.
  if (PQtransactionStatus(connection) != PQTRANS_IDLE) return "it stopped answering while its sessions were looked at";
  return "";
}

// Logged once for as long as the server is refused for the same reason.
Connector::Opened Connector::refuse(const PgTarget& target, const std::string& why) {
  Server& server = servers_[target.name];
  if (server.refusal != why) {
    server.refusal = why;
    LOG(kError, "db.connector", "A database server is not used").field("server", target.name).field("exception", why);
  }
  return unavailable(concat(target.name, ": ", why));
}

Result<void> Connector::prepare_session(PGconn* connection, std::span<const Statement* const> statements,
                                        int64_t deadline_ns, OpenedConnection& opened) const {
  const std::string timeout = std::to_string(options_.statement_timeout_ms);
  const char* const settings[] = {timeout.c_str(), opened.session_token.c_str()};
  bool sent = PQsendQueryParams(connection, kSessionSettings, 2, nullptr, settings, nullptr, nullptr, 1) == 1 &&
              PQsendQueryParams(connection, kWhoAmI, 0, nullptr, nullptr, nullptr, nullptr, 1) == 1;
  for (const Statement* statement : statements)
    sent = sent && PQsendPrepare(connection, statement->name, statement->sql, 0, nullptr) == 1;
  if (!sent || PQpipelineSync(connection) != 1) return fail(ErrorKind::kUnavailable, connection_error(connection));

  int finished = 0;
  while (true) {
    auto result = dial_.next_result(connection, deadline_ns);
    if (!result) return std::unexpected(result.error());
    if (!*result) {  // the end of one statement's results, or of everything on a dead connection
      if (PQstatus(connection) == CONNECTION_BAD) return fail(ErrorKind::kUnavailable, connection_error(connection));
      ++finished;
      continue;
    }
    if (result->status() == PGRES_PIPELINE_SYNC) return {};
    if (!result->ok()) return fail(ErrorKind::kDatabase, "preparing the session: " + std::string(result->message()));
    if (finished == 1) {
      PgRow row(*result, 0);
      opened.backend_pid = row.int4(0);
      opened.backend_start_us = row.timestamptz(1);
      if (!row.ok()) return fail(ErrorKind::kDatabase, "the database does not say which backend serves the session");
    }
  }
}

}  // namespace txn
