// The scripts of deploy/backup on a real database, by PostgreSQL's own client programs of the server's version: what
// they make and bring back, and what they do when something is wrong.

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/integration/answers.h"
#include "tests/integration/bank.h"

namespace txn::test {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr Milliseconds kTimeout{120'000};
constexpr const char* kPassword = "p@ss:w/or'd \\100%";
constexpr const char* kPasswordInUri = "p%40ss%3Aw%2For%27d%20%5C100%25";

std::string script(const std::string& name) { return TXN_SOURCE_DIR "/deploy/backup/" + name; }

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// One line that begins with the script's name and says what is wrong.
::testing::AssertionResult fails_in_one_line(const RunResult& result, const std::string& with, int code = 1) {
  const bool is_one_line = result.err.find('\n') == result.err.size() - 1;
  if (result.status == ExitStatus{.code = code} && is_one_line && result.err.find(with) != std::string::npos)
    return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "expected one line with \"" << with << "\": " << result;
}

class Backup : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    bank_ = std::make_unique<Bank>("backup");
    // Enough to be more than a table of contents.
    const std::vector<int64_t> accounts = bank_->open_accounts(std::vector<AccountSpec>(3'000));
    account_ = accounts.front();
    ApiClient client(bank_->service().port(), teller());
    for (int i = 0; i < 20; ++i) {
      ASSERT_TRUE(is_json(client.post(kDeposits, deposit_body(accounts[i], "1.25"))));
      ASSERT_TRUE(is_json(client.post(kTransfers, transfer_body(accounts[i], accounts[i + 1], "0.50"))));
    }
    bank_->stop_service();
    // Once: BackupUnderWay is set up by this as well.
    static const bool made = [] {
      postgres().create_role_with_password("bank_backup", "p@ss:w/or''d \\100%");
      return true;
    }();
    ASSERT_TRUE(made);
  }
  static void TearDownTestSuite() { bank_.reset(); }

  void SetUp() override {
    if (::access((postgres().binaries() + "/pg_dump").c_str(), X_OK) != 0)
      GTEST_SKIP() << "this PostgreSQL comes without its client programs: " << postgres().binaries();
    settings_ = {{"DATABASE_URL", database().conninfo()}, {"BACKUP_DIR", directory_.path() + "/backups"}};
  }

  static Bank& bank() { return *bank_; }
  static const Database& database() { return bank_->database(); }
  static int64_t account() { return account_; }
  static Database elsewhere(const std::string& name) {
    return Database(name, postgres().socket_directory(), postgres().port());
  }
  // A name that no database has yet.
  static std::string fresh_name() {
    static int number = 0;
    return "restored_" + std::to_string(++number);
  }

  static SpawnOptions spawn(const std::vector<std::string>& command, const Settings& settings) {
    SpawnOptions options;
    options.argv = command;
    options.argv.front() = script(command.front());
    options.env = {"PATH=" + postgres().binaries() + ":/usr/bin:/bin:/usr/sbin:/sbin"};
    for (const auto& [name, value] : settings) options.env.push_back(name + "=" + value);
    return options;
  }
  RunResult back_up(const Settings& changes = {}) const {
    Settings settings = settings_;
    for (const auto& [name, value] : changes) settings[name] = value;
    return run_program(spawn({"backup.sh"}, settings), kTimeout);
  }
  static RunResult restore(const Database& target, std::vector<std::string> arguments, const Settings& changes = {}) {
    std::vector<std::string> command{"restore.sh", "--service", service_binary()};
    command.insert(command.end(), arguments.begin(), arguments.end());
    Settings settings{{"DATABASE_URL", target.conninfo()}};
    for (const auto& [name, value] : changes) settings[name] = value;
    return run_program(spawn(command, settings), kTimeout);
  }
  static bool exists(const std::string& name) {
    return elsewhere("postgres").value("SELECT count(*) FROM pg_database WHERE datname = '" + name + "'") == "1";
  }
  // What a restore has to bring back.
  static std::string fingerprint(const Database& books) {
    return books.value(
        "SELECT md5((SELECT string_agg(a::text, ',' ORDER BY account_number) FROM accounts a) || "
        "(SELECT string_agg(l::text, ',' ORDER BY id) FROM transaction_logs l) || "
        "(SELECT string_agg(t::text, ',' ORDER BY privilege) FROM transfer_limits t) || "
        "(SELECT string_agg(m::text, ',' ORDER BY version) FROM schema_migrations m))");
  }

  std::string folder() const { return settings_.at("BACKUP_DIR"); }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    if (!fs::exists(folder())) return names;
    for (const auto& entry : fs::directory_iterator(folder())) {
      if (entry.path().filename() != ".lock") names.push_back(entry.path().filename());
    }
    std::ranges::sort(names);
    return names;
  }
  // Makes a good backup, the only one there is.
  std::string good_backup() const {
    const RunResult made = back_up();
    EXPECT_TRUE(made.ok()) << made;
    const std::vector<std::string> names = files();
    EXPECT_THAT(names, SizeIs(2));
    return folder() + "/" + names.at(0);
  }

  TempDirectory directory_;
  Settings settings_;

 private:
  static inline std::unique_ptr<Bank> bank_;
  static inline int64_t account_ = 0;
};

TEST_F(Backup, IsCompleteCheckedPrivateAndReported) {
  const RunResult made = back_up({{"BACKUP_METRICS_DIR", directory_.path()}});
  ASSERT_TRUE(made.ok()) << made;
  EXPECT_THAT(made.out,
              MatchesRegex("backup\\.sh: .*/backup_[0-9]{8}_[0-9]{6}\\.dump, [0-9]+ bytes, in [0-9]+ s; 0 older "
                           "than 30 days removed\n"));
  EXPECT_EQ(made.err, "");
  ASSERT_THAT(files(), ElementsAre(MatchesRegex("backup_[0-9]{8}_[0-9]{6}\\.dump"), EndsWith(".dump.sha256")));
  const std::string dump = folder() + "/" + files()[0];
  for (const std::string& name : {dump, dump + ".sha256"}) {
    struct stat status{};
    ASSERT_EQ(::stat(name.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0600U) << name;
  }
  SpawnOptions check;
  check.argv = {"/usr/bin/sha256sum", "--check", dump + ".sha256"};
  check.directory = folder();
  EXPECT_TRUE(run_program(check, kTimeout).ok());

  const std::string metrics = content_of(directory_.path() + "/transactions_backup.prom");
  EXPECT_THAT(metrics,
              AllOf(HasSubstr("\ntransactions_backup_last_success_timestamp_seconds 1"),
                    HasSubstr("\ntransactions_backup_size_bytes " + std::to_string(fs::file_size(dump)) + "\n"),
                    HasSubstr("\ntransactions_backup_duration_seconds ")));
}

TEST_F(Backup, ComesBackIntoADatabaseThatIsMadeForIt) {
  const std::string dump = good_backup();
  elsewhere("postgres").query("CREATE ROLE serves_it LOGIN");
  const Database target = elsewhere(fresh_name());
  const RunResult restored = restore(target, {"--grant-to", "serves_it", dump});
  ASSERT_TRUE(restored.ok()) << restored;
  EXPECT_THAT(restored.out,
              AllOf(HasSubstr("differences   0\n"), HasSubstr("\nrestore.sh: " + target.name() + " restored "),
                    HasSubstr(": 60 log rows up to id "), HasSubstr(", books balance; ")));
  EXPECT_EQ(fingerprint(target), fingerprint(database()));

  // The service's role is given its privileges again, and ids go on beyond any that the lost ones may have had.
  Settings settings = bank().settings();
  settings["DATABASE_URL"] = target.conninfo() + " user=serves_it";
  ServiceProcess service(settings);
  ApiClient client(service.port(), teller());
  const HttpResponse answer = client.post(kDeposits, deposit_body(account(), "1.00"));
  ASSERT_TRUE(is_json(answer));
  EXPECT_GT(answer.json()["transaction_id"].integer(), 10'000'000'000);

  // What is not empty is not written over, and not put aside while somebody uses it.
  EXPECT_TRUE(fails_in_one_line(restore(target, {dump}), "is not empty; --force"));
  EXPECT_TRUE(fails_in_one_line(restore(target, {"--force", dump}), "stop the service first"));
  EXPECT_EQ(service.terminate(), ExitStatus{});

  const std::string changed = fingerprint(target);
  const RunResult again = restore(target, {"--force", "--keep-ids", dump});
  ASSERT_TRUE(again.ok()) << again;
  EXPECT_EQ(fingerprint(target), fingerprint(database()));
  const size_t at = again.out.find(target.name() + "_before_");
  ASSERT_NE(at, std::string::npos) << again;
  EXPECT_EQ(fingerprint(elsewhere(again.out.substr(at, again.out.find(':', at) - at))), changed);
}

TEST_F(Backup, ComesBackIntoAnEmptyDatabase) {
  const Database target = postgres().create_database("empty");
  const RunResult restored = restore(target, {good_backup()});
  ASSERT_TRUE(restored.ok()) << restored;
  EXPECT_EQ(fingerprint(target), fingerprint(database()));
}

// Every way to name a database and a password; nobody else gets to see that one.
TEST_F(Backup, TakesTheServicesSettings) {
  const std::string file = directory_.write("password", std::string(kPassword) + "\n");
  const std::string socket = postgres().socket_directory();
  std::string socket_in_uri;
  for (const char c : socket) socket_in_uri += c == '/' ? "%2F" : std::string(1, c);
  const std::string config = directory_.write(
      "backup.conf", "# ours\nLOG_LEVEL=INFO\n DATABASE_HOST = \"" + socket + "\"\nDATABASE_NAME=" + database().name() +
                         "\nDATABASE_USER=bank_backup\nDATABASE_PASSWORD_FILE='" + file + "'\nBACKUP_DIR=" + folder());
  const std::vector<Settings> ways = {
      {{"DATABASE_HOST", socket},
       {"DATABASE_NAME", database().name()},
       {"DATABASE_USER", "bank_backup"},
       {"DATABASE_PASSWORD", kPassword}},
      {{"DATABASE_HOST", socket},
       {"DATABASE_NAME", database().name()},
       {"DATABASE_USER", "bank_backup"},
       {"DATABASE_PASSWORD_FILE", file}},
      {{"DATABASE_URL", std::string("postgresql://bank_backup:") + kPasswordInUri + "@" + socket_in_uri + ":5432/" +
                            database().name() + "?connect_timeout=5"}},
      {{"DATABASE_URL", std::string("postgres:///") + database().name() + "?host=" + socket_in_uri +
                            "&user=bank_backup&password=" + kPasswordInUri}},
      {{"DATABASE_URL",
        "host=" + socket + " user = bank_backup password='p@ss:w/or\\'d \\\\100%' dbname=" + database().name()}}};
  for (size_t i = 0; i < ways.size(); ++i) {
    Settings settings = ways[i];
    settings["BACKUP_DIR"] = folder();
    const RunResult made = run_program(spawn({"backup.sh"}, settings), kTimeout);
    EXPECT_TRUE(made.ok()) << "way " << i << ": " << made;
    EXPECT_THAT(made.out + made.err, Not(HasSubstr("p@ss")));
  }
  const RunResult made = run_program(spawn({"backup.sh", "--config", config}, {}), kTimeout);
  EXPECT_TRUE(made.ok()) << made;
  EXPECT_THAT(files(), SizeIs(2 * (ways.size() + 1)));
}

TEST_F(Backup, RefusesInOneLineAndLeavesNothing) {
  const std::string good = good_backup();
  const std::string url = database().conninfo();
  const std::string before = content_of(good);
  const auto refuses = [&](const Settings& changes, const std::string& with, int code = 1) {
    const RunResult result = back_up(changes);
    EXPECT_TRUE(fails_in_one_line(result, with, code));
    EXPECT_THAT(result.out + result.err, Not(HasSubstr("wrong-one")));
    EXPECT_THAT(files(), SizeIs(2)) << with;
  };
  refuses({{"DATABASE_URL", url + " user=bank_backup password=wrong-one"}}, "password authentication failed");
  refuses({{"DATABASE_URL",
            "postgresql://bank_backup:wrong-one@/" + database().name() + "?host=" + postgres().socket_directory()}},
          "password authentication failed");
  refuses({{"DATABASE_URL", url + " user=bank_backup"}}, "no password supplied");
  refuses({{"DATABASE_URL", url + " dbname=there_is_none"}}, "database \"there_is_none\" does not exist");
  refuses({{"DATABASE_URL", url + " host=/nowhere"}}, "no backup: pg_dump: error: connection to server");
  refuses({{"DATABASE_URL", postgres().create_database("no_tables").conninfo()}}, "has not the service's tables");
  refuses({{"DATABASE_URL", "mysql://bank:wrong-one@db"}}, "is not a URI of PostgreSQL", 2);
  refuses({{"DATABASE_URL", "bank-wrong-one"}}, "neither a URI nor", 2);
  refuses({{"DATABASE_URL", url + " sslpassword=wrong-one"}}, "sslpassword", 2);
  refuses({{"DATABASE_URL", ""}, {"DATABASE_PORT", "tcp://10.0.0.1:5432"}}, "enableServiceLinks: false", 2);
  refuses({{"DATABASE_URL", ""}, {"DATABASE_PASSWORD_FILE", "/nowhere"}}, "/nowhere cannot be read", 2);
  refuses({{"BACKUP_DIR", "/dev/null/backups"}}, "cannot be made");
  refuses({{"BACKUP_METRICS_DIR", "/nowhere"}}, "BACKUP_METRICS_DIR", 2);
  for (const char* days : {"0", "-1", "thirty", "1.5", "99999"})
    refuses({{"BACKUP_RETENTION_DAYS", days}}, "BACKUP_RETENTION_DAYS", 2);
  // A role that may not read everything.
  elsewhere("postgres").query("CREATE ROLE reads_little LOGIN");
  refuses({{"DATABASE_URL", url + " user=reads_little"}}, "permission denied");
  EXPECT_EQ(content_of(good), before);
}

TEST_F(Backup, NeedsAFolderThatItMayWrite) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become somebody who may not";
  fs::create_directory(folder());
  fs::permissions(folder(), fs::perms::owner_all);
  fs::permissions(directory_.path(), fs::perms::owner_all | fs::perms::others_exec);
  SpawnOptions options = spawn({"backup.sh"}, settings_);
  options.user = postgres().user();
  options.argv.insert(options.argv.begin(), "/bin/bash");
  // The checkout may be closed to that user as well.
  const TempDirectory copy;
  fs::permissions(copy.path(), fs::perms::owner_all | fs::perms::others_exec | fs::perms::others_read);
  for (const char* name : {"backup.sh", "database.sh"}) fs::copy(script(name), copy.path() + "/" + name);
  options.argv[1] = copy.path() + "/backup.sh";
  options.directory = "/";
  EXPECT_TRUE(fails_in_one_line(run_program(options, kTimeout), "cannot be written"));
  EXPECT_THAT(files(), IsEmpty());
}

TEST_F(Backup, OfAFullDiskLeavesTheOldOnes) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can mount a small disk";
  // In a name space of its own, so that the disk is gone with it however this ends.
  const std::string size = std::to_string(fs::file_size(good_backup()) + 40'000);
  const std::string disk = directory_.path() + "/disk";
  fs::create_directory(disk);
  SpawnOptions options = spawn({"backup.sh"}, settings_);
  options.argv = {"/usr/bin/unshare", "--mount", "/bin/bash", "-c",
                  "mount -t tmpfs -o size=" + size + " tmpfs " + disk + " || exit 77\nexport BACKUP_DIR=" + disk +
                      "\n" + script("backup.sh") + " >/dev/null || exit 78\nls " + disk + " >" + directory_.path() +
                      "/first\n" + script("backup.sh") + "\nstatus=$?\nls -A " + disk + " | grep -v '^.lock$' >" +
                      directory_.path() + "/second\n(cd " + disk + " && sha256sum --quiet -c *.sha256) || exit 79\n" +
                      "exit $status"};
  const RunResult result = run_program(options, kTimeout);
  if (result.status == ExitStatus{.code = 77} || result.err.find("unshare failed") != std::string::npos)
    GTEST_SKIP() << "mounting is refused here: " << result.err;
  // Said by pg_dump, or found by reading back: pg_dump can miss that its last piece was not written.
  EXPECT_TRUE(fails_in_one_line(result, "backup.sh: no backup"));
  EXPECT_EQ(content_of(directory_.path() + "/first"), content_of(directory_.path() + "/second"));
  EXPECT_THAT(content_of(directory_.path() + "/first"), StartsWith("backup_"));
}

// Held up in the middle by a lock on a table, as a migration holds one.
class BackupUnderWay : public Backup {
 protected:
  void hold_up() {
    holder_.emplace(database());
    holder_->query("BEGIN; LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE");
    Settings settings = settings_;
    settings["DATABASE_URL"] += std::string(" user=bank_backup password='p@ss:w/or\\'d \\\\100%'");
    running_ = std::make_unique<ChildProcess>(spawn({"backup.sh"}, settings));
    const auto waits = [] { return database().value("SELECT count(*) FROM pg_locks WHERE NOT granted") != "0"; };
    ASSERT_TRUE(wait_until(waits, kTimeout));
  }
  void let_go() { holder_->query("COMMIT"); }
  static std::string all_arguments() {
    std::string text;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator("/proc", ignored))
      text += content_of(entry.path() / "cmdline") + "\n";
    return text;
  }

  std::optional<DatabaseSession> holder_;
  std::unique_ptr<ChildProcess> running_;
};

TEST_F(BackupUnderWay, RefusesASecondAndShowsNoPassword) {
  hold_up();
  const std::string arguments = all_arguments();
  EXPECT_THAT(arguments, HasSubstr("pg_dump"));
  EXPECT_THAT(arguments, Not(HasSubstr("p@ss")));
  EXPECT_TRUE(fails_in_one_line(back_up(), "is under way"));
  let_go();
  EXPECT_EQ(running_->wait_for(kTimeout), ExitStatus{});
  EXPECT_THAT(files(), SizeIs(2));
}

TEST_F(BackupUnderWay, KilledLeavesNothingThatLooksLikeABackup) {
  hold_up();
  running_->kill_and_wait();
  // Its pg_dump is still there, and is counted.
  EXPECT_TRUE(fails_in_one_line(back_up(), "is under way"));
  EXPECT_THAT(files(), ElementsAre(StartsWith(".backup_")));
  let_go();
  // Until that one has ended.
  RunResult made;
  ASSERT_TRUE(wait_until(
      [&] {
        made = back_up();
        return made.err.find("is under way") == std::string::npos;
      },
      kTimeout));
  EXPECT_TRUE(made.ok()) << made;
  EXPECT_THAT(files(), ElementsAre(MatchesRegex("backup_.*\\.dump"), EndsWith(".sha256")));
}

TEST_F(Backup, RemovesOldOnesAfterANewGoodOneAlone) {
  fs::create_directory(folder());
  const auto put = [&](const std::string& name) { std::ofstream(folder() + "/" + name) << "old"; };
  put("backup_20200101_020000.dump");
  put("backup_20200101_020000.dump.sha256");
  put("backup_20200102_020000.dump");
  put("backup_20990102_020000.dump");       // young
  put("backup_20200101_020000.dump.keep");  // not ours
  put("backup_of_the_boss.dump");
  const Settings broken{{"DATABASE_URL", database().conninfo() + " dbname=there_is_none"}};
  EXPECT_TRUE(fails_in_one_line(back_up(broken), "does not exist"));
  EXPECT_THAT(files(), SizeIs(6));

  const RunResult made = back_up();
  ASSERT_TRUE(made.ok()) << made;
  EXPECT_THAT(made.out, HasSubstr("; 2 older than 30 days removed"));
  EXPECT_THAT(files(), ElementsAre("backup_20200101_020000.dump.keep", MatchesRegex("backup_.*_.*\\.dump"),
                                   EndsWith(".sha256"), "backup_20990102_020000.dump", "backup_of_the_boss.dump"));
}

TEST_F(Backup, ThatIsDamagedIsNotRestored) {
  const std::string dump = good_backup();
  const std::string whole = content_of(dump);
  const Database target = elsewhere(fresh_name());
  const auto refused = [&](std::vector<std::string> arguments, const std::string& with) {
    arguments.push_back(dump);
    EXPECT_TRUE(fails_in_one_line(restore(target, std::move(arguments)), with));
    EXPECT_FALSE(exists(target.name()));
  };
  // In the middle of the accounts.
  std::string damaged = whole;
  for (size_t i = 0; i < 64; ++i)
    damaged[damaged.size() * 3 / 4 + i] = static_cast<char>(~damaged[damaged.size() * 3 / 4 + i]);
  std::ofstream(dump, std::ios::binary | std::ios::trunc) << damaged;
  refused({}, "its checksum is another; nothing was restored");
  refused({"--no-checksum"}, "cannot be read");
  // Half of it.
  std::ofstream(dump, std::ios::binary | std::ios::trunc) << whole.substr(0, whole.size() / 2);
  refused({}, "its checksum is another; nothing was restored");
  refused({"--no-checksum"}, "cannot be read");
  std::ofstream(dump, std::ios::binary | std::ios::trunc) << whole;
  fs::remove(dump + ".sha256");
  refused({}, "--no-checksum does without it");
  EXPECT_TRUE(restore(target, {"--no-checksum", dump}).ok());
  EXPECT_TRUE(fails_in_one_line(restore(target, {"/nowhere.dump"}), "/nowhere.dump cannot be read"));
}

TEST_F(Backup, AFailedRestoreChangesNothing) {
  const std::string dump = good_backup();
  elsewhere("postgres").query("CREATE ROLE may_not LOGIN");
  // May connect and look, and not create: the first statement of the restore fails.
  const Database target = postgres().create_database("protected");
  const RunResult failed = restore(target, {dump}, {{"DATABASE_URL", target.conninfo() + " user=may_not"}});
  EXPECT_TRUE(fails_in_one_line(failed, "nothing was restored: pg_restore: error: "));
  EXPECT_EQ(target.value("SELECT count(*) FROM pg_class WHERE relname = 'accounts'"), "0");
  // Nor make a database.
  const Database missing = elsewhere(fresh_name());
  EXPECT_TRUE(fails_in_one_line(restore(missing, {dump}, {{"DATABASE_URL", missing.conninfo() + " user=may_not"}}),
                                "permission denied to create database"));
  EXPECT_TRUE(fails_in_one_line(
      restore(missing, {dump}, {{"DATABASE_URL", missing.conninfo() + " user=bank_backup password=wrong-one"}}),
      "password authentication failed"));
  EXPECT_FALSE(exists(missing.name()));
  EXPECT_TRUE(fails_in_one_line(restore(missing, {}), "which backup?", 2));
  EXPECT_TRUE(fails_in_one_line(restore(missing, {"--recovered"}), "there is no database"));
}

// A backup holds what the database held. The restore is where it is noticed, and the line says not to serve.
TEST_F(Backup, BooksThatDoNotBalanceAreTold) {
  Bank wrong("wrong");
  wrong.open_accounts({{}, {}});
  wrong.database().query("UPDATE accounts SET balance = balance + 1");
  settings_["DATABASE_URL"] = wrong.database().conninfo();
  const std::string dump = good_backup();
  const RunResult restored = restore(elsewhere(fresh_name()), {dump});
  EXPECT_EQ(restored.status, ExitStatus{.code = 1}) << restored;
  EXPECT_THAT(restored.err, AllOf(HasSubstr("differences   2\n"), HasSubstr("its books do not balance: do not serve")));
  EXPECT_THAT(restored.out, Not(HasSubstr("books balance")));
}

// As after a copy without it. Set right, and said where ids go on.
TEST_F(Backup, ASequenceBehindTheLogIsSetRight) {
  Bank behind("behind");
  const int64_t account = behind.open_account();
  ApiClient client(behind.service().port(), teller());
  const HttpResponse answer = client.post(kDeposits, deposit_body(account, "1.00"));
  ASSERT_TRUE(is_json(answer));
  behind.stop_service();
  behind.database().query(
      "SET session_replication_role = replica; "
      "UPDATE transaction_logs SET id = 2 * 1024 * 500000, transaction_id = 1024 * 500000");
  settings_["DATABASE_URL"] = behind.database().conninfo();
  const RunResult restored = restore(elsewhere(fresh_name()), {"--keep-ids", good_backup()});
  EXPECT_TRUE(restored.ok()) << restored;
  EXPECT_THAT(restored.out, HasSubstr("1 log rows up to id 512000000, new ids from 512001024, books balance"));
}

// Told by the service's own log: what was acknowledged and is not in the books.
TEST_F(Backup, FindsWhatIsLost) {
  Bank lossy("lossy", {{"LOG_DIR", directory_.path() + "/log"}});
  const int64_t account = lossy.open_account();
  ApiClient client(lossy.service().port(), teller());
  ASSERT_TRUE(is_json(client.post(kDeposits, deposit_body(account, "1.00"))));
  settings_["DATABASE_URL"] = lossy.database().conninfo();
  const std::string dump = good_backup();
  const HttpResponse lost = client.post(kDeposits, deposit_body(account, "2.50"));
  ASSERT_TRUE(is_json(lost));
  EXPECT_EQ(lossy.service().terminate(), ExitStatus{});

  const std::string log = directory_.path() + "/log/app.json.log";
  const auto find_lost = [&](const Database& books) {
    return run_program(spawn({"find-lost.sh", log}, {{"DATABASE_URL", books.conninfo()}}), kTimeout);
  };
  const RunResult nothing = find_lost(lossy.database());
  EXPECT_TRUE(nothing.ok()) << nothing;
  EXPECT_THAT(nothing.err, HasSubstr("0 of 2 acknowledged transactions are not in the books, 0.00 in all"));
  const Database target = elsewhere(fresh_name());
  ASSERT_TRUE(restore(target, {dump}).ok());
  const RunResult found = find_lost(target);
  EXPECT_EQ(found.status, ExitStatus{.code = 1}) << found;
  EXPECT_THAT(found.err, HasSubstr("1 of 2 acknowledged transactions are not in the books, 2.50 in all"));
  EXPECT_THAT(found.out, HasSubstr("," + lost.json()["transaction_id"].scalar() + ",DEPOSIT," +
                                   std::to_string(account) + ",,2.50,,9001,"));
}

TEST_F(Backup, ScriptsExplainThemselves) {
  for (const char* name : {"backup.sh", "restore.sh", "find-lost.sh"}) {
    const RunResult help = run_program(spawn({name, "--help"}, {}), kTimeout);
    EXPECT_TRUE(help.ok()) << help;
    EXPECT_THAT(help.out, AllOf(HasSubstr("\n  " + std::string(name) + " ["), HasSubstr("Exit status: 0 "))) << name;
    EXPECT_TRUE(fails_in_one_line(run_program(spawn({name, "--nonsense"}, {}), kTimeout), "not understood", 2)) << name;
  }
}

}  // namespace
}  // namespace txn::test
