// What a server may say, and in what pieces: every exchange of lanes and readers against a scripted PostgreSQL that
// puts an error, a notice, a parameter's status, an early ReadyForQuery or its end at every place of its answer. What
// the connection makes of it is held against a second, plain reading of the same bytes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "db/connector.h"
#include "db/pg_connection.h"
#include "db/pg_lane_store.h"
#include "db/statements.h"
#include "tests/support/sanitized.h"
#include "tests/support/scripted_postgres.h"

namespace txn {
namespace {

using test::ScriptedPostgres;
namespace pg = test::pg;

constexpr int64_t kTimeout = 5 * kNanosPerSecond;

const pg::Report kError{};
const pg::Report kFatal{.severity = "FATAL", .sqlstate = "57P01"};
const pg::Report kNotSynchronous{.severity = "WARNING", .sqlstate = "01000", .source_function = "SyncRepWaitForLSN"};
const pg::Report kOfATrigger{.severity = "WARNING", .sqlstate = "01000", .source_function = "exec_stmt_raise"};
const pg::Report kOfNobody{.severity = "WARNING", .sqlstate = "01000", .source_function = ""};
const pg::Report kInformation{.severity = "INFO", .sqlstate = "00000", .source_function = ""};

// --- Exchanges -------------------------------------------------------------------------------------------------------

struct Answer {
  const Statement* statement = nullptr;
  std::string tag;
  std::vector<std::string> rows = {};     // of one column
  std::vector<std::string> columns = {};  // of one row
  bool has_columns = false;               // even without rows
};

struct Exchange {
  std::string name;
  std::vector<Answer> answers;
};

Answer command(const Statement& statement, const std::string& tag) { return {.statement = &statement, .tag = tag}; }
Answer rows(const Statement& statement, const std::vector<std::string>& values) {
  return {
      .statement = &statement, .tag = "SELECT " + std::to_string(values.size()), .rows = values, .has_columns = true};
}

Answer row(const Statement& statement, const std::vector<std::string>& columns) {
  return {.statement = &statement, .tag = "SELECT 1", .columns = columns, .has_columns = true};
}

// Messages of the server: those that belong to one statement, and a whole answer.
std::vector<std::string> messages_for(const Answer& answer) {
  std::vector<std::string> out{pg::bind_complete()};
  out.push_back(answer.has_columns ? pg::row_description(std::max<size_t>(answer.columns.size(), 1)) : pg::no_data());
  if (!answer.columns.empty()) out.push_back(pg::data_row(answer.columns));
  for (const std::string& value : answer.rows) out.push_back(pg::data_row({value}));
  out.push_back(pg::command_complete(answer.tag));
  return out;
}

std::vector<std::string> messages_of(const std::vector<Answer>& answers) {
  std::vector<std::string> out;
  for (const Answer& answer : answers) {
    for (std::string& message : messages_for(answer)) out.push_back(std::move(message));
  }
  out.push_back(pg::ready_for_query('T'));
  return out;
}

std::string join(const std::vector<std::string>& messages, size_t first = 0, size_t last = SIZE_MAX) {
  std::string out;
  for (size_t i = first; i < std::min(last, messages.size()); ++i) out += messages[i];
  return out;
}

std::vector<Exchange> exchanges() {
  const std::vector<Answer> writes{command(sql::kUpdatePins, "UPDATE 1"), command(sql::kUpdateAccounts, "UPDATE 2"),
                                   command(sql::kInsertLogs, "INSERT 0 2"), command(sql::kInsertKeys, "INSERT 0 1")};
  std::vector<Exchange> all{
      {"lock",
       {command(sql::kBegin, "BEGIN"), rows(sql::kLockAccounts, {"a", "b"}), rows(sql::kReadClock, {"c"}),
        rows(sql::kReserveIds, {"d"}), rows(sql::kReadLimits, {"e", "f"})}},
      {"claim", {command(sql::kBegin, "BEGIN"), rows(sql::kClaimKeys, {"a", "b"}), rows(sql::kFindKeys, {"c"})}},
      {"lock after a claim", {rows(sql::kLockAccounts, {"a"}), rows(sql::kReadClock, {"b"})}},
      {"rollback", {command(sql::kRollback, "ROLLBACK")}},
      {"lock without waiting",
       {rows(sql::kLockFreeAccounts, {"a"}), row(sql::kFindAccounts, {"b", "t"}), row(sql::kReadClock, {"c", "d"})}},
      {"lock with patience",
       {command(sql::kWaitLonger, "SET"), rows(sql::kLockAccounts, {}), row(sql::kReadClock, {"b", "c"})}},
      {"confirm", {command(sql::kRollback, "ROLLBACK"), rows(sql::kConfirm, {"0"})}},
      {"probe",
       {command(sql::kBegin, "BEGIN"), rows(sql::kLockAccounts, {}), row(sql::kReadClock, {"a", "b"}),
        command(sql::kUpdateBalances, "UPDATE 0"), command(sql::kInsertLogs, "INSERT 0 0"),
        command(sql::kInsertKeys, "INSERT 0 0"), command(sql::kRollback, "ROLLBACK"), rows(sql::kSeeStandbys, {"t"})}},
      {"end_backend", {rows(sql::kEndBackend, {"t"})}},
      {"find", {rows(sql::kFindTransaction, {"1"}), rows(sql::kConfirm, {"0"})}},
      {"reads",
       {rows(sql::kSelectAccount, {"a"}), rows(sql::kSelectLimit, {}), rows(sql::kSelectLogs, {"b", "c"}),
        command(sql::kExpireKeys, "DELETE 3")}},
  };
  for (size_t count = 1; count <= writes.size(); ++count) {
    Exchange write{"write of " + std::to_string(count), {writes.begin(), writes.begin() + static_cast<int>(count)}};
    write.answers.push_back(command(sql::kCommit, "COMMIT"));
    all.push_back(std::move(write));
  }
  return all;
}

// --- The plain reading -----------------------------------------------------------------------------------------------

// What there is to know about an exchange.
struct Verdict {
  struct Outcome {
    bool is_complete = false;
    std::string tag;
    int rows = 0;
    bool operator==(const Outcome&) const = default;
  };
  bool hangs = false;
  ExchangeStatus status = ExchangeStatus::kLost;
  std::vector<Outcome> outcomes;
  std::string sqlstate;     // kFailed only
  size_t failed_index = 0;  // kFailed only
  bool is_doubted = false;
  bool operator==(const Verdict&) const = default;
};

void PrintTo(const Verdict& verdict, std::ostream* out) {
  static constexpr const char* kNames[] = {"ok", "failed", "lost"};
  *out << (verdict.hangs ? "hangs, " : "") << kNames[static_cast<size_t>(verdict.status)];
  for (const Verdict::Outcome& outcome : verdict.outcomes)
    *out << " [" << (outcome.is_complete ? outcome.tag + ": " + std::to_string(outcome.rows) : "-") << "]";
  if (verdict.status == ExchangeStatus::kFailed) *out << " " << verdict.sqlstate << " at " << verdict.failed_index;
  if (verdict.is_doubted) *out << " doubted";
}

// What a message says under a field's code; "" when it has no such field.
std::string report_field(std::string_view body, char code) {
  while (!body.empty() && body.front() != '\0') {
    const size_t end = body.find('\0');
    if (body.front() == code) return std::string(body.substr(1, end - 1));
    body.remove_prefix(end + 1);
  }
  return "";
}

// The rules of the extended query protocol and nothing else: what is answered in order, that an error skips everything
// up to ReadyForQuery, and that there is one ReadyForQuery for the one Sync. Anything else makes the connection
// useless, as does its end. Sets `used` to how many of the bytes belong to the exchange.
Verdict read_plainly(std::string_view bytes, size_t statements, size_t& used) {
  Verdict verdict{.outcomes = std::vector<Verdict::Outcome>(statements)};
  size_t done = 0;
  int row_count = 0;
  bool is_described = false;
  bool skips = false;
  used = 0;
  while (bytes.size() - used >= 5) {
    size_t length = 0;
    for (size_t i = 1; i < 5; ++i) length = length << 8 | static_cast<uint8_t>(bytes[used + i]);
    if (bytes.size() - used < 1 + length) break;
    const char type = bytes[used];
    const std::string_view body = bytes.substr(used + 5, length - 4);
    used += 1 + length;
    switch (type) {
      case 'N':
        if (report_field(body, 'V') == "WARNING") {
          const std::string source = report_field(body, 'R');
          verdict.is_doubted = verdict.is_doubted || source.empty() || source == "SyncRepWaitForLSN";
        }
        break;
      case 'E':
        if (!skips) {
          skips = true;
          verdict.sqlstate = report_field(body, 'C');
          verdict.failed_index = done;
        }
        break;
      case 'T':
        is_described = true;
        break;
      case 'D':
        if (!is_described) return verdict;
        ++row_count;
        break;
      case 'C':
        if (skips || done == statements) return verdict;
        verdict.outcomes[done] = {
            .is_complete = true, .tag = std::string(body.substr(0, body.size() - 1)), .rows = row_count};
        row_count = 0;
        is_described = false;
        ++done;
        break;
      case 'Z':
        if (!skips && done < statements) return verdict;
        verdict.status = skips ? ExchangeStatus::kFailed : ExchangeStatus::kOk;
        return verdict;
      default:
        break;
    }
  }
  return verdict;
}

// Only what means anything.
Verdict tidied(Verdict verdict) {
  if (verdict.status != ExchangeStatus::kFailed) {
    verdict.sqlstate.clear();
    verdict.failed_index = 0;
  }
  return verdict;
}

// --- The connection --------------------------------------------------------------------------------------------------

// A connection whose server is in the hands of the test, on one thread: bytes are sent between two turns of the loop.
class Wire final : private PgConnection::Owner {
 public:
  Wire() { connect(); }
  ~Wire() { close(); }

  // What the connection makes of `bytes` as the answer to `statements`: sent whole, or in two pieces when `cut` lies
  // within. With `is_last` the server is gone behind them.
  Verdict exchange(const std::vector<Answer>& answers, std::string_view bytes, size_t cut, bool is_last) {
    if (!connection_.is_open()) reconnect();
    Verdict verdict;
    ended_ = false;
    scope_.spawn(ask(answers, verdict));
    std::vector<std::string> asked;
    for (const auto& one : server_.read_to_sync()) asked.push_back(one.statement);
    for (size_t i = 0; i < answers.size(); ++i) EXPECT_EQ(asked.at(i), answers[i].statement->name);
    if (cut > 0 && cut < bytes.size()) {
      server_.send(bytes.substr(0, cut));
      turn_until_read();
      bytes.remove_prefix(cut);
    }
    server_.send(bytes);
    if (is_last) {
      server_.hang_up();
    } else {
      turn_until_read();
    }
    for (int i = 0; i < kTurnsToSettle && !ended_; ++i) turn();
    verdict.hangs = !ended_;
    if (!ended_) clock_.advance_ns(2 * kTimeout);
    while (!ended_) turn();
    return verdict;
  }

  void reconnect() {
    close();
    connect();
  }

 private:
  static constexpr int kTurnsToSettle = 8;

  void on_idle_connection_lost() override {}

  void turn() {
    loop_.keep_turning();
    loop_.turn();
  }

  void turn_until_read() {
    do {
      turn();
    } while (!server_.is_read() && connection_.is_open());
  }

  // Both ends by turns: each step of the client's is one message.
  void connect() {
    PgHandle handle(PQconnectStart(server_.conninfo().c_str()));
    server_.accept();
    PostgresPollingStatusType polling = PGRES_POLLING_WRITING;
    bool is_in = false;
    while (polling != PGRES_POLLING_OK && polling != PGRES_POLLING_FAILED) {
      polling = PQconnectPoll(handle.get());
      if (polling == PGRES_POLLING_READING && !is_in) {
        server_.let_in();
        is_in = true;
      }
    }
    const bool is_ready =
        polling == PGRES_POLLING_OK && PQsetnonblocking(handle.get(), 1) == 0 && PQenterPipelineMode(handle.get()) == 1;
    if (!is_ready) test::fatal(PQerrorMessage(handle.get()));
    connection_.adopt({.handle = std::move(handle), .backend_pid = 1, .backend_start_us = 1});
  }

  void close() {
    ended_ = false;
    scope_.spawn([](PgConnection& connection, bool& ended) -> Task<void> {
      co_await connection.close();
      ended = true;
    }(connection_, ended_));
    while (!ended_) turn();
  }

  Task<void> ask(const std::vector<Answer>& answers, Verdict& verdict) {
    for (const Answer& answer : answers) connection_.push(*answer.statement);
    verdict.status = co_await connection_.sync(kTimeout);
    for (size_t i = 0; i < answers.size(); ++i) {
      const PgResult& result = connection_.result(i);
      verdict.outcomes.push_back(
          result.ok()
              ? Verdict::Outcome{.is_complete = true, .tag = std::string(result.command_tag()), .rows = result.rows()}
              : Verdict::Outcome{});
    }
    verdict.sqlstate = connection_.error_sqlstate();
    verdict.failed_index = connection_.failed_index();
    verdict.is_doubted = connection_.doubts_standbys();
    ended_ = true;
  }

  ManualClock clock_;
  Loop loop_{std::move(*Ring::create({})), clock_};
  ScriptedPostgres server_;
  DatabaseCounters counters_;
  PgConnection connection_{loop_, *this, counters_};
  Scope scope_;
  bool ended_ = true;  // what was spawned last
};

// Whether an answer is cut at each byte, or only where something is that does not belong there.
enum class Cuts : uint8_t { kEverywhere, kThere };

// An answer with something in it that does not belong there.
struct Twist {
  std::string bytes;
  size_t first = 0;  // where that begins, and where it ends
  size_t last = 0;

  // Where to cut; 0: not at all.
  std::vector<size_t> cuts(Cuts wanted) const {
    std::vector<size_t> out;
    for (size_t cut = 0; cut < bytes.size(); ++cut) {
      if (wanted == Cuts::kEverywhere || cut == 0 || (cut >= first && cut <= last)) out.push_back(cut);
    }
    return out;
  }
};

using Inject = std::function<std::string(const std::vector<std::string>& messages, size_t at)>;

// Every place between two messages, before the first and behind the last.
std::vector<Twist> twists(const std::vector<std::string>& messages, const std::string& extra, const Inject& rest) {
  std::vector<Twist> out;
  for (size_t at = 0; at <= messages.size(); ++at) {
    Twist twist{.bytes = join(messages, 0, at)};
    twist.first = twist.bytes.size();
    twist.bytes += extra;
    twist.last = twist.bytes.size();
    twist.bytes += rest(messages, at);
    out.push_back(std::move(twist));
  }
  return out;
}

std::string rest_of_it(const std::vector<std::string>& messages, size_t at) { return join(messages, at); }
std::string ready_only(const std::vector<std::string>& messages, size_t at) {
  return at < messages.size() ? messages.back() : "";
}
std::string nothing(const std::vector<std::string>&, size_t) { return ""; }

class PgProtocol : public testing::Test {
 protected:
  // Sends every twist of every exchange in one piece and cut in two, and compares.
  void expect_the_plain_reading(const std::string& extra, const Inject& rest, Cuts cuts, bool is_last = false) {
    for (const Exchange& exchange : exchanges()) {
      for (const Twist& twist : twists(messages_of(exchange.answers), extra, rest)) {
        for (const size_t cut : twist.cuts(cuts)) {
          if (!agrees(exchange, twist.bytes, cut, is_last)) return;
        }
      }
    }
  }

  bool agrees(const Exchange& exchange, const std::string& bytes, size_t cut, bool is_last) {
    ++compared_;
    size_t used = 0;
    Verdict expected = tidied(read_plainly(bytes, exchange.answers.size(), used));
    Verdict verdict = tidied(wire_.exchange(exchange.answers, bytes, cut, is_last));
    // A notice right behind the end may still have been seen. It belongs to no exchange.
    if (used < bytes.size()) expected.is_doubted = verdict.is_doubted = false;
    EXPECT_EQ(verdict, expected) << exchange.name << ", cut at " << cut << " of " << bytes.size();
    // What the server said beyond the exchange belongs to none.
    if (used < bytes.size() || is_last) wire_.reconnect();
    return verdict == expected || ++disagreed_ < kDisagreementsShown;
  }

  void TearDown() override { RecordProperty("compared", compared_); }

  static constexpr int kDisagreementsShown = 12;
  Wire wire_;
  int compared_ = 0;
  int disagreed_ = 0;
};

TEST_F(PgProtocol, AnAnswerCutAtEachByte) {
  for (const Exchange& exchange : exchanges()) {
    const std::string bytes = join(messages_of(exchange.answers));
    for (size_t cut = 0; cut < bytes.size(); ++cut) agrees(exchange, bytes, cut, false);
  }
}

TEST_F(PgProtocol, AnErrorSkipsToTheEnd) {
  expect_the_plain_reading(pg::error_response(kError), ready_only, Cuts::kEverywhere);
}

TEST_F(PgProtocol, TwoErrors) {
  expect_the_plain_reading(pg::error_response(kError) + pg::error_response({.sqlstate = "25P02"}), ready_only,
                           Cuts::kThere);
}

TEST_F(PgProtocol, AnErrorThatSkipsNothing) {
  expect_the_plain_reading(pg::error_response(kError), rest_of_it, Cuts::kThere);
}

TEST_F(PgProtocol, AnErrorAndThenTheEnd) {
  for (const Exchange& exchange : exchanges()) {
    for (const Twist& twist : twists(messages_of(exchange.answers), pg::error_response(kError), ready_only))
      agrees(exchange, twist.bytes, 0, true);
  }
}

TEST_F(PgProtocol, AFatalErrorAndTheEnd) {
  expect_the_plain_reading(pg::error_response(kFatal), nothing, Cuts::kThere, true);
}

TEST_F(PgProtocol, TheEndAtEachByte) {
  for (const Exchange& exchange : exchanges()) {
    const std::string bytes = join(messages_of(exchange.answers));
    for (size_t count = 0; count <= bytes.size(); ++count) {
      agrees(exchange, bytes.substr(0, count), 0, true);
      agrees(exchange, bytes.substr(0, count), count / 2, true);
    }
  }
}

TEST_F(PgProtocol, Notices) {
  expect_the_plain_reading(pg::notice_response(kNotSynchronous), rest_of_it, Cuts::kEverywhere);
  for (const pg::Report& report : {kOfATrigger, kOfNobody, kInformation})
    expect_the_plain_reading(pg::notice_response(report), rest_of_it, Cuts::kThere);
}

TEST_F(PgProtocol, AParametersStatus) {
  expect_the_plain_reading(pg::parameter_status("TimeZone", "UTC"), rest_of_it, Cuts::kEverywhere);
}

TEST_F(PgProtocol, AnEarlyReadyForQuery) {
  if (test::kAddressSanitized) GTEST_SKIP() << "libpq does not free a result that ReadyForQuery comes in the middle of";
  expect_the_plain_reading(pg::ready_for_query('I'), rest_of_it, Cuts::kThere);
}

TEST_F(PgProtocol, OneResultTooMany) {
  expect_the_plain_reading(pg::command_complete("UPDATE 7"), rest_of_it, Cuts::kThere);
}

// --- The lane's store ------------------------------------------------------------------------------------------------

std::string big_endian(int64_t value, int size) {
  std::string out;
  for (int shift = 8 * (size - 1); shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xFF);
  return out;
}

// A lane's store whose server is in the hands of the test. The connector's thread has a part in opening it, and in
// nothing else.
class StoreWire {
 public:
  using Step = std::function<Task<StoreStatus>(LaneStore&)>;

  ~StoreWire() { close(); }

  bool is_open() const { return store_.is_open(); }
  const LaneStore& store() const { return store_; }

  // Carries out `what`, to which the server answers `bytes`: whole, or in two pieces when `cut` lies within. With
  // `is_last` the server is gone behind them. Nothing when the step hangs until its deadline.
  std::optional<StoreStatus> step(const Step& what, std::string_view bytes, size_t cut = 0, bool is_last = false) {
    if (!store_.is_open()) open();
    start(what);
    first_asked_ = server_.read_to_sync().front().statement;
    if (cut > 0 && cut < bytes.size()) {
      server_.send(bytes.substr(0, cut));
      while (!server_.is_read() && !ended_) turn();
      bytes.remove_prefix(cut);
    }
    server_.send(bytes);
    if (is_last) server_.hang_up();
    for (int i = 0; i < kTurnsToSettle && !ended_; ++i) turn();
    if (ended_) return status_;
    clock_.advance_ns(10 * kTimeout);
    while (!ended_) turn();
    return std::nullopt;
  }

  // Locks for the next batch, which has to be the first step of a transaction.
  void begin() {
    if (!store_.is_open()) open();
    const std::string answer = join(messages_of({command(sql::kBegin, "BEGIN"), rows(sql::kLockAccounts, {}),
                                                 row(sql::kReadClock, {big_endian(0, 8), token_})}));
    const Step lock = [](LaneStore& store) -> Task<StoreStatus> {
      const LockRequest request;
      Locked locked;
      co_return co_await store.lock(request, locked);
    };
    const auto status = step(lock, answer);
    EXPECT_EQ(status, StoreStatus::kOk);
    EXPECT_EQ(first_asked_, sql::kBegin.name) << "the transaction before has not been taken for ended";
  }

  void close() {
    start([](LaneStore& store) -> Task<StoreStatus> {
      co_await store.close();
      co_return StoreStatus::kOk;
    });
    while (!ended_) turn();
  }

 private:
  static constexpr int kTurnsToSettle = 16;

  void turn() {
    loop_.keep_turning();
    loop_.turn();
  }

  void start(const Step& what) {
    ended_ = false;
    scope_.spawn(run(what));
  }

  Task<void> run(Step what) {
    status_ = co_await what(store_);
    ended_ = true;
  }

  void open() {
    close();  // here, because it takes turns of the loop
    start([](LaneStore& store) -> Task<StoreStatus> {
      int64_t id_block = 0;
      const Result<void> opened = co_await store.open(id_block);
      co_return opened&& id_block == 9 ? StoreStatus::kOk : StoreStatus::kLost;
    });
    server_.accept();
    server_.let_in();
    // What it is: no standby, UTF8, and nothing else that the role may ask.
    const std::string no(1, '\0');
    server_.read_to_sync();
    server_.send(answer_row({no, "UTF8", no, no}) + pg::ready_for_query('I'));
    // Whether it shares its sessions: it has only one.
    server_.turn_away();
    // Its settings, who serves it, and then what it prepares.
    std::string answer;
    for (const auto& asked : server_.read_to_sync()) {
      answer += pg::parse_complete();
      if (!asked.is_run) continue;
      if (!asked.values.empty()) token_ = asked.values.back();
      const std::string row =
          asked.values.empty() ? answer_row({big_endian(7, 4), big_endian(0, 8)}) : answer_row({"set"});
      answer += row.substr(pg::parse_complete().size());
    }
    server_.send(answer + pg::ready_for_query('I'));
    // The first ids, which the lane asks for by itself; the loop has to turn for that.
    while (!server_.has_input()) loop_.turn();
    server_.read_to_sync();
    server_.send(join(messages_of({command(sql::kBegin, "BEGIN"), row(sql::kEnterLanes, {"", "40ms"}),
                                   row(sql::kReserveFirstIds, {big_endian(9, 8), big_endian(0, 8), "local", "0"}),
                                   command(sql::kCommit, "COMMIT")})));
    while (!ended_) loop_.turn();
    EXPECT_EQ(status_, StoreStatus::kOk);
  }

  // To one unnamed statement.
  static std::string answer_row(const std::vector<std::string>& values) {
    return pg::parse_complete() + pg::bind_complete() + pg::row_description(values.size()) + pg::data_row(values) +
           pg::command_complete("SELECT 1");
  }

  ManualClock clock_;
  Loop loop_{std::move(*Ring::create({})), clock_};
  ScriptedPostgres server_;
  Connector connector_{{.conninfo = server_.conninfo()}};
  DatabaseCounters counters_;
  UnreadableRows unreadable_{loop_.clock()};
  PgLaneStore store_{loop_, connector_, counters_, unreadable_, kTimeout, [] {}};
  Scope scope_;
  bool ended_ = true;
  StoreStatus status_ = StoreStatus::kLost;
  std::string first_asked_;
  std::string token_;
};

// A batch whose write takes `statements` and COMMIT.
struct Batch {
  explicit Batch(size_t statements) {
    account.pin_changed = statements != 2;
    account.changed = statements >= 2;
    if (statements >= 2) {
      log.push_back({.transaction_id = 1, .account_number = 1, .seq = 1, .description = "scripted"});
      answers.push_back(command(sql::kUpdateBalances, "UPDATE 1"));
      answers.push_back(command(sql::kInsertLogs, "INSERT 0 1"));
    }
    if (statements != 2) answers.push_back(command(sql::kUpdatePins, "UPDATE 1"));
    if (statements == 4) {
      keys.push_back(&key);
      answers.push_back(command(sql::kInsertKeys, "INSERT 0 1"));
    }
    answers.push_back(command(sql::kCommit, "COMMIT"));
  }

  WriteRequest request() { return {.accounts = {&account, 1}, .log = log, .answers = keys}; }

  AccountState account{.account_number = 1};
  std::vector<LogRow> log;
  IdempotentRequest key{.caller_id = 1, .key = "k"};
  std::vector<IdempotentRequest*> keys;
  std::vector<Answer> answers;  // of the server, when all is well
};

// What a write has come to by the bytes alone: COMMIT's own tag decides, and only where there is none the exchange.
StoreStatus verdict_on_write(std::string_view bytes, size_t statements, size_t& used) {
  const Verdict verdict = read_plainly(bytes, statements, used);
  const Verdict::Outcome& commit = verdict.outcomes.back();
  if (commit.is_complete && commit.tag == "COMMIT")
    return verdict.is_doubted ? StoreStatus::kUnconfirmed : StoreStatus::kOk;
  if (verdict.status == ExchangeStatus::kFailed) return StoreStatus::kFailed;
  if (verdict.status == ExchangeStatus::kOk && commit.tag == "ROLLBACK") return StoreStatus::kFailed;
  return StoreStatus::kLost;
}

class LaneStoreProtocol : public testing::Test {
 protected:
  // Whether the write of `batch` that is answered so comes to what the bytes say, and the store can go on after it.
  void expect_the_plain_verdict(Batch& batch, const std::string& bytes, size_t cut, bool is_last = false) {
    wire_.begin();
    size_t used = 0;
    StoreStatus expected = verdict_on_write(bytes, batch.answers.size(), used);
    const StoreWire::Step write = [&](LaneStore& store) -> Task<StoreStatus> {
      const WriteRequest request = batch.request();
      co_return co_await store.write(request);
    };
    const auto status = wire_.step(write, bytes, cut, is_last);
    seen_.insert(expected);
    // A warning right behind the end may still have been seen, and then it counts.
    if (used < bytes.size() && expected == StoreStatus::kOk && status == StoreStatus::kUnconfirmed)
      expected = StoreStatus::kUnconfirmed;
    EXPECT_EQ(status, expected) << "a write of " << batch.answers.size() << ", cut at " << cut << " of " << bytes.size()
                                << ": " << wire_.store().error_text();
    if (expected == StoreStatus::kFailed && wire_.is_open()) {
      const std::string answer = join(messages_of({command(sql::kRollback, "ROLLBACK")}));
      const auto rolled_back = wire_.step([](LaneStore& store) { return store.rollback(); }, answer);
      EXPECT_EQ(rolled_back, StoreStatus::kOk);
    }
    // What the server said beyond the exchange belongs to none.
    if (status != expected || expected == StoreStatus::kLost || used < bytes.size() || is_last) wire_.close();
  }

  void expect_the_plain_verdicts(const std::string& extra, const Inject& rest, Cuts cuts, bool is_last = false) {
    for (size_t statements = 1; statements <= 4; ++statements) {
      Batch batch(statements);
      for (const Twist& twist : twists(messages_of(batch.answers), extra, rest)) {
        for (const size_t cut : twist.cuts(cuts)) {
          if (!HasFailure()) expect_the_plain_verdict(batch, twist.bytes, cut, is_last);
        }
      }
    }
  }

  StoreWire wire_;
  std::set<StoreStatus> seen_;
};

TEST_F(LaneStoreProtocol, AnErrorBehindCommitIsACommit) {
  expect_the_plain_verdicts(pg::error_response(kError), ready_only, Cuts::kEverywhere);
  EXPECT_EQ(seen_, (std::set{StoreStatus::kOk, StoreStatus::kFailed}));
}

TEST_F(LaneStoreProtocol, AnErrorThatSkipsNothing) {
  expect_the_plain_verdicts(pg::error_response(kError), rest_of_it, Cuts::kThere);
}

TEST_F(LaneStoreProtocol, TheEndBehindCommitIsACommit) {
  for (size_t statements = 1; statements <= 4; ++statements) {
    Batch batch(statements);
    const std::string bytes = join(messages_of(batch.answers));
    for (size_t count = 0; count <= bytes.size(); ++count) {
      expect_the_plain_verdict(batch, bytes.substr(0, count), 0, true);
      expect_the_plain_verdict(batch, bytes.substr(0, count), count / 2, true);
    }
  }
  expect_the_plain_verdicts(pg::error_response(kFatal), nothing, Cuts::kThere, true);
  EXPECT_EQ(seen_, (std::set{StoreStatus::kOk, StoreStatus::kLost}));
}

TEST_F(LaneStoreProtocol, AnEarlyReadyForQuery) {
  for (size_t statements = 1; statements <= 4; ++statements) {
    Batch batch(statements);
    for (const Twist& twist : twists(messages_of(batch.answers), pg::ready_for_query('I'), rest_of_it))
      expect_the_plain_verdict(batch, twist.bytes, 0);
  }
  EXPECT_EQ(seen_, (std::set{StoreStatus::kOk, StoreStatus::kLost}));
}

TEST_F(LaneStoreProtocol, OtherTagsThanCommit) {
  Batch batch(2);
  batch.answers.back().tag = "ROLLBACK";
  expect_the_plain_verdict(batch, join(messages_of(batch.answers)), 0);
  EXPECT_EQ(seen_, (std::set{StoreStatus::kFailed}));
  EXPECT_EQ(wire_.store().error_sqlstate(), "");
  batch.answers.back().tag = "INSERT 0 1";
  expect_the_plain_verdict(batch, join(messages_of(batch.answers)), 0);
  EXPECT_EQ(seen_, (std::set{StoreStatus::kFailed, StoreStatus::kLost}));
}

TEST_F(LaneStoreProtocol, OnlyWhatMayBeTheStandbysWarningIsDoubt) {
  for (const pg::Report& report : {kNotSynchronous, kOfNobody}) {
    seen_.clear();
    expect_the_plain_verdicts(pg::notice_response(report), rest_of_it, Cuts::kThere);
    EXPECT_EQ(seen_, (std::set{StoreStatus::kUnconfirmed, StoreStatus::kOk})) << "behind the end it says nothing";
  }
  for (const pg::Report& report : {kOfATrigger, kInformation}) {
    seen_.clear();
    expect_the_plain_verdicts(pg::notice_response(report), rest_of_it, Cuts::kThere);
    EXPECT_EQ(seen_, (std::set{StoreStatus::kOk}));
  }
}

TEST_F(LaneStoreProtocol, FindingACommitInDoubt) {
  const std::vector<Answer> answers{rows(sql::kFindTransaction, {"1"}), rows(sql::kConfirm, {"0"})};
  const std::vector<std::string> messages = messages_of(answers);
  bool found = false;
  const StoreWire::Step find = [&](LaneStore& store) -> Task<StoreStatus> {
    const LogRow log_row{.transaction_id = 1, .account_number = 1, .seq = 1};
    const Marker marker{.log_row = &log_row, .now_us = 1};
    co_return co_await store.find(marker, found);
  };
  EXPECT_EQ(wire_.step(find, join(messages)), StoreStatus::kOk);
  EXPECT_TRUE(found);
  const std::string none = join(messages_of({rows(sql::kFindTransaction, {}), rows(sql::kConfirm, {"0"})}));
  EXPECT_EQ(wire_.step(find, none), StoreStatus::kOk);
  EXPECT_FALSE(found);
  for (const Twist& twist : twists(messages, pg::error_response(kError), ready_only)) {
    if (twist.last == twist.bytes.size()) continue;  // behind the end
    EXPECT_EQ(wire_.step(find, twist.bytes), StoreStatus::kFailed);
    EXPECT_FALSE(found);
  }
  for (const auto& [report, expected] :
       {std::pair{kNotSynchronous, StoreStatus::kUnconfirmed}, std::pair{kOfNobody, StoreStatus::kUnconfirmed},
        std::pair{kOfATrigger, StoreStatus::kOk}}) {
    for (const Twist& twist : twists(messages, pg::notice_response(report), rest_of_it)) {
      if (twist.last == twist.bytes.size()) continue;
      EXPECT_EQ(wire_.step(find, twist.bytes), expected);
      EXPECT_TRUE(found);
    }
  }
}

}  // namespace
}  // namespace txn
