// drill [--short | --minutes M] [--accounts N] [--seed N] [--report FOLDER]
//
// The disaster drill. Clients move money; backups are made meanwhile, by backup.sh and by pgBackRest; then the
// database's machine is gone, processes and disk. Three rescues follow, each with its timeline: from the dump into a
// new cluster, from pgBackRest up to the end of the archive, and from pgBackRest to a moment. Each ends with the audit
// of the books, with every client's answers held against them, and with the service serving again: what is lost is
// listed and sent again, what is not is recognised by its Idempotency-Key.
//
// Times are printed and decide nothing.
//
// Exit status: 0 all is as promised, 1 something is not, 2 the drill could not be held, 77 the programs for it are not
// there.

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <stdexcept>

#include "tests/drill/judgement.h"
#include "tests/drill/pgbackrest.h"
#include "tests/drill/timeline.h"
#include "tests/drill/wal_positions.h"

namespace txn::test {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kExitSkipped = 77;
constexpr const char* kOpening = "1000.00";
constexpr size_t kAccounts = 12;
constexpr int kPhases = 6;
constexpr size_t kAskedAgainMax = 60;  // of the lost and of the kept
constexpr int64_t kServedAgain = 100;  // successes after a rescue
constexpr Milliseconds kProgressTimeout{60'000};
constexpr Milliseconds kScriptTimeout{600'000};

struct Options {
  bool is_short = false;
  double minutes = 2;  // of load in all
  int clients = 16;
  int accounts = 100'000;  // that only lie there
  uint32_t seed = 1;
  std::string report_directory;
};

[[noreturn]] void usage() {
  std::fprintf(stderr, "usage: drill [--short | --minutes M] [--accounts N] [--seed N] [--report FOLDER]\n");
  std::exit(2);
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--short") {
      options = {.is_short = true, .minutes = 0.05, .clients = 8, .accounts = 1'000};
      continue;
    }
    if (i + 1 == argc) usage();
    const std::string value = argv[++i];
    if (flag == "--minutes") {
      options.minutes = std::strtod(value.c_str(), nullptr);
    } else if (flag == "--accounts") {
      options.accounts = static_cast<int>(std::strtol(value.c_str(), nullptr, 10));
    } else if (flag == "--seed") {
      options.seed = static_cast<uint32_t>(std::strtoul(value.c_str(), nullptr, 10));
    } else if (flag == "--report") {
      options.report_directory = value;
    } else {
      usage();
    }
  }
  return options;
}

// A script of deploy/backup on a database, by the client programs of the cluster's version.
RunResult run_script(const PrivatePostgres& cluster, const std::vector<std::string>& command,
                     const Settings& settings) {
  SpawnOptions options;
  options.argv = command;
  options.argv.front() = TXN_SOURCE_DIR "/deploy/backup/" + command.front();
  options.env = {"PATH=" + cluster.binaries() + ":/usr/bin:/bin", "TMPDIR=" + run_directory()};
  for (const auto& [name, value] : settings) options.env.push_back(name + "=" + value);
  return run_program(options, kScriptTimeout);
}

std::string last_line(std::string text) {
  while (text.ends_with('\n')) text.pop_back();
  return text.substr(text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1);
}

class Drill {
 public:
  explicit Drill(Options options) : options_(std::move(options)) {}

  int64_t run();

 private:
  using Moment = Clock::time_point;

  struct Rescue {
    std::string name;
    std::string lost_file;
    double rto = 0;  // seconds from its begin to the first deposit that was acknowledged again
    Judgement judgement;
  };

  void set_up();
  void load_and_back_up();
  void wait_for_archive_of_moment();
  void load(const char* what);
  void destroy();
  void rescue_from_dump();
  void rescue_by_recovery(const std::string& name, const std::string& lost_file,
                          const std::vector<std::string>& arguments, const Owed& owed);
  void serve_again(PrivatePostgres& cluster, const Database& database, Timeline& timeline, Rescue rescue,
                   const Owed& owed);
  void ask_again(const Judgement& judgement, uint16_t port, Timeline& timeline);
  void compare_with_log(PrivatePostgres& cluster, const Database& database, const Judgement& judgement,
                        Timeline& timeline);
  void fault(const std::string& what) {
    std::printf("           FAULT: %s\n", what.c_str());
    std::fflush(stdout);
    ++faults_;
    report_ += "FAULT: " + what + "\n";
  }
  void must(const RunResult& result, const std::string& what) const {
    if (!result.ok()) throw std::runtime_error(what + ": " + result.out + result.err);
  }
  void must(const std::string& complaint) const {
    if (!complaint.empty()) throw std::runtime_error(complaint);
  }
  void write_report(const std::string& name, const std::string& content) const;

  const Options options_;
  int64_t faults_ = 0;
  std::string report_;
  TempDirectory directory_;  // backups and the service's log: not on the machine that goes
  PgBackRest pgbackrest_;
  std::unique_ptr<PrivatePostgres> original_;
  std::unique_ptr<Bank> bank_;
  Ports ports_{1};
  std::unique_ptr<Clients> clients_;
  std::unique_ptr<WalPositions> positions_;
  std::unique_ptr<Timeline> before_;
  std::string dump_;
  Moment dump_began_;
  Moment dump_ended_;
  std::string moment_;  // for recovery_target_time
  Moment moment_began_;
  Moment moment_ended_;
  Moment disaster_;
  std::vector<Rescue> rescues_;
};

void Drill::set_up() {
  before_ = std::make_unique<Timeline>("Before the disaster");
  original_ = std::make_unique<PrivatePostgres>(PrivatePostgres::Options{
      .settings = PgBackRest::server_settings(options_.is_short ? 2 : 60), .env = pgbackrest_.server_environment()});
  must(pgbackrest_.adopt(*original_));
  bank_ = std::make_unique<Bank>(original_->create_database("drill"), Settings{{"LOG_DIR", directory_.path() + "/log"},
                                                                               {"LOG_MAX_BYTES", "1GiB"},
                                                                               {"DATABASE_COMMAND_TIMEOUT", "1"},
                                                                               {"DATABASE_POOL_MIN", "2"},
                                                                               {"DATABASE_POOL_MAX", "6"}});
  bank_->database().query("UPDATE transfer_limits SET daily_limit = 9999999999.99, transaction_limit = 1000000");
  const std::vector<int64_t> accounts =
      bank_->open_accounts(std::vector<AccountSpec>(kAccounts, {.balance = kOpening}));
  bank_->open_accounts(std::vector<AccountSpec>(static_cast<size_t>(options_.accounts)));
  ports_.set(0, bank_->service().port());
  before_->note("the service serves " + std::to_string(options_.accounts) + " accounts, the log goes to the archive");
  positions_ = std::make_unique<WalPositions>(bank_->database());
  clients_ = std::make_unique<Clients>(ports_, accounts, "drill", options_.clients, options_.seed);
}

void Drill::load(const char* what) {
  if (!clients_->wait_for_successes(1, kProgressTimeout)) throw std::runtime_error("the clients make no progress");
  std::this_thread::sleep_for(Milliseconds(static_cast<int64_t>(options_.minutes * 60'000 / kPhases)));
  before_->note(std::string(what) + ", " + std::to_string(clients_->successes()) + " operations acknowledged so far");
}

void Drill::load_and_back_up() {
  load("load");
  must(pgbackrest_.run({"backup", "--type=full"}));
  before_->note("pgBackRest: full backup, under load");
  load("more load");

  dump_began_ = Clock::now();
  const RunResult made =
      run_script(*original_, {"backup.sh"},
                 {{"DATABASE_URL", bank_->database().conninfo()}, {"BACKUP_DIR", directory_.path() + "/backups"}});
  dump_ended_ = Clock::now();
  must(made, "backup.sh");
  for (const auto& entry : std::filesystem::directory_iterator(directory_.path() + "/backups"))
    if (entry.path().extension() == ".dump") dump_ = entry.path();
  before_->note("backup.sh: " + std::to_string(std::filesystem::file_size(dump_)) + " bytes, under load");
  load("more load");

  must(pgbackrest_.run({"backup", "--type=diff"}));
  before_->note("pgBackRest: differential backup, under load");
  load("more load");

  moment_began_ = Clock::now();
  moment_ = bank_->database().value("SELECT clock_timestamp()");
  moment_ended_ = Clock::now();
  before_->note("the moment to go back to: " + moment_);
  load("more load");
  wait_for_archive_of_moment();
}

// PostgreSQL does not come up at a moment that the archive does not reach, and with little load a segment takes its
// time.
void Drill::wait_for_archive_of_moment() {
  const std::string reached = bank_->database().value("SELECT pg_walfile_name(pg_switch_wal())");
  const auto there = [&] { return pgbackrest_.last_segment() >= reached; };
  if (!wait_until(there, kScriptTimeout)) throw std::runtime_error(reached + " does not get into the archive");
  before_->note("the archive holds that moment: " + reached);
  load("more load");
}

void Drill::destroy() {
  disaster_ = Clock::now();
  original_->kill_all();
  original_->lose_data();
  before_->note("DISASTER: the cluster is killed and its data removed");
  bank_->service().send_signal(SIGTERM);
  clients_->stop();
  bank_->service().terminate();
  positions_->stop();
  report_ += before_->text();
}

void Drill::rescue_from_dump() {
  std::printf("\n");
  Timeline timeline("Rescue from the dump");
  PrivatePostgres cluster;
  timeline.note("a new cluster is up");
  // That does not exist there; restore.sh makes it.
  const Database database("gdb_transactions", cluster.socket_directory(), cluster.port());
  const RunResult restored = run_script(cluster, {"restore.sh", "--service", service_binary(), dump_},
                                        {{"DATABASE_URL", database.conninfo()}});
  must(restored, "restore.sh");
  timeline.note(last_line(restored.out));
  serve_again(cluster, database, timeline, {.name = "dump", .lost_file = "lost-dump.csv"},
              {.all_until = dump_began_, .none_after = dump_ended_});
}

void Drill::rescue_by_recovery(const std::string& name, const std::string& lost_file,
                               const std::vector<std::string>& arguments, const Owed& owed) {
  std::printf("\n");
  Timeline timeline("Rescue by pgBackRest, " + name);
  if (original_->running()) {
    original_->stop(PrivatePostgres::StopMode::kFast);
    original_->lose_data();
  }
  std::vector<std::string> command{"restore"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  must(pgbackrest_.run(command));
  timeline.note("pgbackrest restore: the files are back");
  original_->start();
  const Database& database = bank_->database();
  if (!wait_until([&] { return database.value("SELECT pg_is_in_recovery()") == "f"; }, kScriptTimeout))
    throw std::runtime_error("the recovery does not end: " + original_->log());
  timeline.note("the log is replayed, the server takes writes");
  const RunResult checked = run_script(*original_, {"restore.sh", "--service", service_binary(), "--recovered"},
                                       {{"DATABASE_URL", database.conninfo()}});
  must(checked, "restore.sh --recovered");
  timeline.note(last_line(checked.out));
  serve_again(*original_, database, timeline, {.name = name, .lost_file = lost_file}, owed);
}

void Drill::serve_again(PrivatePostgres& cluster, const Database& database, Timeline& timeline, Rescue rescue,
                        const Owed& owed) {
  // Before anything new is written.
  rescue.judgement = judge(database, *clients_, kOpening, owed, disaster_);
  for (const std::string& found : rescue.judgement.faults) fault(found);
  if (rescue.judgement.owed == 0) fault("nothing was acknowledged in time, so nothing was shown");

  Settings settings = bank_->settings_with({{"DATABASE_URL", database.conninfo()}});
  settings.erase("LOG_DIR");
  ServiceProcess service(settings);
  ApiClient client(service.port(), teller());
  const int64_t account = clients_->accounts().front();
  const HttpResponse first = client.post(kDeposits, deposit_body(account, "1.00"));
  if (first.status != 200) fault("the first deposit is answered " + std::to_string(first.status) + " " + first.body);
  rescue.rto = timeline.seconds();
  timeline.note("the service has acknowledged the first deposit");
  timeline.note(rescue.judgement.text());

  compare_with_log(cluster, database, rescue.judgement, timeline);
  ask_again(rescue.judgement, service.port(), timeline);

  Ports ports(1);
  ports.set(0, service.port());
  Bank again(database, settings);
  Clients more(ports, clients_->accounts(), "after-" + std::to_string(rescues_.size()), options_.clients,
               options_.seed + 1);
  if (!more.wait_for_successes(kServedAgain, kProgressTimeout)) fault("no progress after the rescue");
  more.stop();
  for (const std::string& complaint : more.complaints()) fault(complaint);
  const auto verified = again.ledger_verifies();
  if (!verified) fault(verified.message());
  timeline.note("clients are served again, " + std::to_string(more.successes()) + " operations, and the books balance");
  service.terminate();
  write_report(rescue.lost_file, rescue.judgement.lost_csv());
  report_ += "\n" + timeline.text();
  rescues_.push_back(std::move(rescue));
}

// The service's log on another machine says the same as the clients: what was acknowledged and is not there.
void Drill::compare_with_log(PrivatePostgres& cluster, const Database& database, const Judgement& judgement,
                             Timeline& timeline) {
  const RunResult found = run_script(cluster, {"find-lost.sh", directory_.path() + "/log/app.json.log"},
                                     {{"DATABASE_URL", database.conninfo()}});
  if (found.timed_out || found.status.code > 1) throw std::runtime_error("find-lost.sh: " + found.err);
  std::set<std::string> listed;
  std::istringstream lines(found.out);
  std::string line;
  std::getline(lines, line);  // names of the columns
  while (std::getline(lines, line)) {
    const size_t begin = line.find(',') + 1;
    listed.insert(line.substr(begin, line.find(',', begin) - begin));
  }
  for (const Record* record : judgement.lost) {
    if (!listed.contains(record->told.transaction_id))
      fault("find-lost.sh does not list transaction " + record->told.transaction_id + ", which is lost");
  }
  for (const Record* record : judgement.kept) {
    if (listed.contains(record->told.transaction_id))
      fault("find-lost.sh lists transaction " + record->told.transaction_id + ", which is there");
  }
  timeline.note(last_line(found.err));
}

// Lost deposits are sent again under their keys and are carried out, under ids that nobody was told before. What is in
// the books is recognised by its key and answered as before.
void Drill::ask_again(const Judgement& judgement, uint16_t port, Timeline& timeline) {
  ApiClient client(port, teller());
  std::set<std::string> told_before;
  for (const Record& record : clients_->records()) told_before.insert(record.told.transaction_id);
  size_t sent = 0;
  for (const Record* record : judgement.lost) {
    if (!record->has_key || record->told.kind != Kind::kDeposit || sent == kAskedAgainMax) continue;
    ++sent;
    Attempt again = record->told;
    perform(client, again, {{"Idempotency-Key", again.description}});
    if (again.status != 200 || again.replayed) fault(again.description + ": sent again, answered " + said(again));
    if (told_before.contains(again.transaction_id))
      fault(again.description + ": has got the id of another, " + again.transaction_id);
  }
  size_t recognised = 0;
  for (auto kept = judgement.kept.rbegin(); kept != judgement.kept.rend() && recognised < kAskedAgainMax; ++kept) {
    if (!(*kept)->has_key) continue;
    ++recognised;
    Attempt again = (*kept)->told;
    perform(client, again, {{"Idempotency-Key", again.description}});
    if (again.status != 200 || !again.replayed || again.body != (*kept)->told.body)
      fault(again.description + ": asked again, answered " + said(again) + " after " + said((*kept)->told));
  }
  timeline.note(std::to_string(sent) + " lost deposits sent again under their keys: carried out once; " +
                std::to_string(recognised) + " that are there: recognised");
}

void Drill::write_report(const std::string& name, const std::string& content) const {
  if (options_.report_directory.empty()) return;
  std::filesystem::create_directories(options_.report_directory);
  std::ofstream file(options_.report_directory + "/" + name, std::ios::binary);
  file << content;
  file.close();
  if (!file) throw std::runtime_error("cannot write " + options_.report_directory + "/" + name);
}

int64_t Drill::run() {
  set_up();
  load_and_back_up();
  destroy();

  rescue_from_dump();

  const uint64_t end = pgbackrest_.archived_end();
  std::printf("\nThe last segment in the archive is %s\n", pgbackrest_.last_segment().c_str());
  const auto archived = positions_->surely_before(end);
  if (!archived) throw std::runtime_error("nothing was archived while clients wrote");
  rescue_by_recovery("to the end of the archive", "lost-archive.csv", {},
                     {.all_until = *archived, .none_after = positions_->surely_behind(end)});
  // The log has forked since; the moment is on the first branch.
  rescue_by_recovery("to a moment", "lost-moment.csv",
                     {"--type=time", "--target=" + moment_, "--target-action=promote", "--target-timeline=current"},
                     {.all_until = moment_began_, .none_after = moment_ended_});

  std::string summary = "\nRescue                        RPO, s   lost   RTO, s\n";
  for (const Rescue& rescue : rescues_) {
    char line[160];
    std::snprintf(line, sizeof line, "%-28s %7.2f %6zu %8.2f\n", rescue.name.c_str(),
                  rescue.judgement.last_seconds_lost, rescue.judgement.lost.size(), rescue.rto);
    summary += line;
  }
  summary += faults_ == 0 ? "all as promised\n" : std::to_string(faults_) + " FAULTS\n";
  std::printf("%s", summary.c_str());
  report_ += summary;
  write_report("drill.txt", report_);
  return faults_;
}

int drill(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::string obstacle = PgBackRest::obstacle();
  if (obstacle.empty()) {
    const PrivatePostgres cluster;
    if (::access((cluster.binaries() + "/pg_dump").c_str(), X_OK) != 0)
      obstacle = "this PostgreSQL comes without its client programs: " + cluster.binaries();
  }
  if (!obstacle.empty()) {
    std::printf("the drill is not held: %s\n", obstacle.c_str());
    return kExitSkipped;
  }
  Drill held(options);
  return held.run() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace txn::test

int main(int argc, char** argv) {
  try {
    return txn::test::drill(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "drill: %s\n", error.what());
    return 2;
  }
}
