#include "tests/drill/pgbackrest.h"

#include <pwd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "tests/support/json.h"

namespace txn::test {

namespace {

constexpr const char* kProgram = "/usr/bin/pgbackrest";
constexpr Milliseconds kTimeout{600'000};
constexpr uint64_t kSegmentBytes = 16 << 20;
constexpr uint64_t kSegmentsPerName = (1ULL << 32) / kSegmentBytes;  // of the middle eight digits

}  // namespace

std::string PgBackRest::obstacle() {
  return ::access(kProgram, X_OK) == 0 ? "" : "pgBackRest is not installed (Debian: pgbackrest)";
}

PgBackRest::PgBackRest() {
  namespace fs = std::filesystem;
  // Where the server's user can read it; that of the checkout it often cannot.
  const std::string base = directory_.path();
  std::ifstream shipped(TXN_SOURCE_DIR "/deploy/backup/pgbackrest.conf");
  configuration_.assign(std::istreambuf_iterator<char>(shipped), {});
  directory_.write("pgbackrest.conf", configuration_);
  for (const char* folder : {"repository", "log", "lock", "spool"}) fs::create_directory(base + "/" + folder);
  // What the environment says comes before the file.
  environment_ = {"PATH=/usr/bin:/bin",
                  "LC_ALL=C.UTF-8",
                  "TZ=UTC",
                  "PGBACKREST_CONFIG=" + base + "/pgbackrest.conf",
                  "PGBACKREST_STANZA=transactions",
                  "PGBACKREST_REPO1_PATH=" + base + "/repository",
                  "PGBACKREST_LOG_PATH=" + base + "/log",
                  "PGBACKREST_LOCK_PATH=" + base + "/lock",
                  "PGBACKREST_SPOOL_PATH=" + base + "/spool"};
  if (::geteuid() != 0) return;
  const passwd* entry = ::getpwnam("postgres");
  if (entry == nullptr) fatal("running as root and there is no user `postgres` to run the database as");
  for (const auto& item : fs::recursive_directory_iterator(base)) {
    if (::chown(item.path().c_str(), entry->pw_uid, entry->pw_gid) != 0)
      fatal(std::string("chown: ") + std::strerror(errno));
  }
  if (::chown(base.c_str(), entry->pw_uid, entry->pw_gid) != 0) fatal(std::string("chown: ") + std::strerror(errno));
}

std::string PgBackRest::server_settings(int archive_timeout_s) {
  return "archive_mode = on\nwal_level = replica\narchive_timeout = " + std::to_string(archive_timeout_s) + "\n";
}

std::string PgBackRest::adopt(const PrivatePostgres& cluster) {
  cluster_ = &cluster;
  const auto in_configuration = [&](const std::string& key, const std::string& value) {
    const size_t at = configuration_.find("\n" + key + "=");
    if (at == std::string::npos) fatal("deploy/backup/pgbackrest.conf has no " + key);
    configuration_.replace(at + 1, configuration_.find('\n', at + 1) - at - 1, key + "=" + value);
  };
  in_configuration("pg1-path", cluster.data_directory());
  in_configuration("pg1-socket-path", cluster.socket_directory());
  in_configuration("pg1-port", std::to_string(cluster.port()) + "\npg1-user=txn_superuser");
  directory_.write("pgbackrest.conf", configuration_);
  if (std::string complaint = run({"stanza-create"}); !complaint.empty()) return complaint;
  // From now on; what was written before waits for it.
  const Database admin("postgres", cluster.socket_directory(), cluster.port());
  admin.query("ALTER SYSTEM SET archive_command = 'pgbackrest archive-push %p'");
  admin.query("SELECT pg_reload_conf()");
  return run({"check"});
}

RunResult PgBackRest::start(const std::vector<std::string>& arguments) const {
  SpawnOptions options;
  options.argv = {kProgram};
  options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
  options.env = environment_;
  options.directory = directory_.path();
  options.user = cluster_->user();
  return run_program(options, kTimeout);
}

std::string PgBackRest::run(const std::vector<std::string>& arguments) const {
  const RunResult result = start(arguments);
  if (result.ok()) return "";
  return "pgbackrest " + arguments.front() + ": " + result.out + result.err;
}

std::string PgBackRest::last_segment() const {
  const RunResult info = start({"info", "--output=json"});
  if (!info.ok()) fatal("pgbackrest info: " + info.out + info.err);
  return Json::parse(info.out)[0]["archive"][0]["max"].text();
}

// A segment's name is timeline, and the position's upper and lower part, eight hexadecimal digits each.
uint64_t PgBackRest::archived_end() const {
  const std::string name = last_segment();
  if (name.size() != 24) fatal("pgbackrest info: not a WAL segment: " + name);
  const uint64_t number =
      std::stoull(name.substr(8, 8), nullptr, 16) * kSegmentsPerName + std::stoull(name.substr(16), nullptr, 16);
  return (number + 1) * kSegmentBytes;
}

}  // namespace txn::test
