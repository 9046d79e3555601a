#include "tests/support/private_postgres.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <stdexcept>

#include "tests/support/free_port.h"

namespace txn::test {

namespace {

constexpr Milliseconds kInitdbTimeout{60'000};
constexpr Milliseconds kStartTimeout{60'000};
constexpr Milliseconds kStopTimeout{30'000};
constexpr const char* kSuperuser = "txn_superuser";

// Settings that differ from PostgreSQL's defaults; durability is left as it is.
constexpr std::string_view kSettings = R"(
listen_addresses = ''
max_connections = 200
shared_buffers = 64MB
timezone = 'UTC'
log_timezone = 'UTC'
log_min_messages = warning
log_line_prefix = '%m [%p] %u@%d '
log_lock_waits = on
)";

std::string find_binaries() {
  if (const char* chosen = std::getenv("TXN_POSTGRES_BIN")) return chosen;
  // Debian keeps one directory a major version, and has 15 in its release 12 and 17 in 13.
  for (const char* version : {"15", "16", "17", "18"}) {
    const std::string path = std::string("/usr/lib/postgresql/") + version + "/bin";
    if (::access((path + "/initdb").c_str(), X_OK) == 0) return path;
  }
  fatal("no PostgreSQL server found: install Debian's postgresql, 15 or newer, or set TXN_POSTGRES_BIN");
}

// The environment of the server's programs. A server that came with libraries of its own (cmake/fetch-postgres.sh)
// finds them beside its programs; nobody else gets to see them, our own libpq least of all.
std::vector<std::string> server_environment(const std::string& binaries) {
  return {"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC", "LD_LIBRARY_PATH=" + binaries + "/../lib"};
}

std::optional<UnixUser> user_to_run_as() {
  if (::geteuid() != 0) return std::nullopt;
  const passwd* entry = ::getpwnam("postgres");
  if (entry == nullptr) fatal("running as root and there is no user `postgres` to run the database as");
  return UnixUser{entry->pw_uid, entry->pw_gid};
}

std::string random_tail() {
  std::random_device random;
  static constexpr char kAlphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";
  std::string tail;
  for (int i = 0; i < 8; ++i) tail += kAlphabet[random() % (sizeof kAlphabet - 1)];
  return tail;
}

struct ProcessStat {
  char state = 'X';  // as in ps(1); X for a process that is not there
  pid_t parent = 0;
};

ProcessStat stat_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(file, line);
  const size_t after_name = line.rfind(')');  // the name may hold anything, blanks and parentheses included
  ProcessStat stat;
  if (after_name != std::string::npos) std::istringstream(line.substr(after_name + 1)) >> stat.state >> stat.parent;
  return stat;
}

// A zombie holds no resources; who reaps orphans, and when, is the machine's business.
bool is_gone(pid_t pid) {
  const char state = stat_of(pid).state;
  return state == 'X' || state == 'Z';
}

// Child processes of `parent`, from /proc.
std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    if (name.empty() || !std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; })) continue;
    const auto pid = static_cast<pid_t>(std::stol(name));
    if (stat_of(pid).parent == parent) found.push_back(pid);
  }
  return found;
}

// What belongs to the running server rather than to the data: left out of base backups.
bool is_left_out(const std::filesystem::path& relative) {
  static constexpr std::string_view kFolders[] = {"pg_wal",    "pg_replslot",  "pg_dynshmem", "pg_notify",
                                                  "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans"};
  static constexpr std::string_view kFiles[] = {"postmaster.pid",  "postmaster.opts",  "standby.signal", "backup_label",
                                                "backup_manifest", "pg_internal.init", "ballast"};
  const std::string first = relative.begin()->string();
  const std::string name = relative.filename().string();
  return (relative.has_parent_path() && std::ranges::find(kFolders, first) != std::end(kFolders)) ||
         std::ranges::find(kFiles, name) != std::end(kFiles) || name.starts_with("pgsql_tmp");
}

// The data directory of a running server; files may go while they are copied, and what is torn its WAL mends.
void copy_changing_directory(const std::string& from, const std::string& to) {
  namespace fs = std::filesystem;
  for (const auto& entry : fs::recursive_directory_iterator(from)) {
    const fs::path relative = entry.path().lexically_relative(from);
    if (is_left_out(relative)) continue;
    std::error_code error;
    if (entry.is_directory(error)) {
      fs::create_directory(fs::path(to) / relative, entry.path(), error);  // with the same mode
    } else {
      fs::copy_file(entry.path(), fs::path(to) / relative, error);
    }
    if (error && error != std::errc::no_such_file_or_directory)
      fatal("base backup, " + relative.string() + ": " + error.message());
  }
}

std::string quoted(const std::string& value) {
  std::string text = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') text += '\\';
    text += c;
  }
  return text + "'";
}

}  // namespace

std::string Database::conninfo() const {
  return "host=" + quoted(socket_directory_) + " port=" + std::to_string(port_) + " user=" + kSuperuser +
         " dbname=" + quoted(name_);
}

Rows Database::query(const std::string& sql) const { return DatabaseSession(*this).query(sql); }

std::string Database::value(const std::string& sql) const {
  const Rows rows = query(sql);
  if (rows.size() != 1 || rows.front().size() != 1) throw std::runtime_error("not one value: " + sql);
  return rows.front().front();
}

DatabaseSession::DatabaseSession(const Database& database)
    : connection_(PQconnectdb((database.conninfo() + " connect_timeout=10 application_name=txn_test").c_str())) {
  if (PQstatus(connection_) != CONNECTION_OK) {
    const std::string why = PQerrorMessage(connection_);
    PQfinish(connection_);
    throw std::runtime_error(why);
  }
  PQsetNoticeProcessor(connection_, [](void*, const char*) {}, nullptr);
}

DatabaseSession::~DatabaseSession() { PQfinish(connection_); }

Rows DatabaseSession::query(const std::string& sql) {
  const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(connection_, sql.c_str()), &PQclear);
  const ExecStatusType status = PQresultStatus(result.get());
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
    // libpq keeps the connection for good when only writing has failed. What the server itself says has a code.
    is_lost_ = PQstatus(connection_) != CONNECTION_OK || PQresultErrorField(result.get(), PG_DIAG_SQLSTATE) == nullptr;
    throw std::runtime_error(PQerrorMessage(connection_) + ("in: " + sql));
  }
  Rows rows(static_cast<size_t>(PQntuples(result.get())));
  for (int row = 0; row < PQntuples(result.get()); ++row) {
    for (int column = 0; column < PQnfields(result.get()); ++column)
      rows[static_cast<size_t>(row)].emplace_back(PQgetvalue(result.get(), row, column));
  }
  return rows;
}

PrivatePostgres::PrivatePostgres(Options options)
    : options_(std::move(options)), binaries_(find_binaries()), user_(user_to_run_as()) {
  // Short on purpose: a socket's path has room for 107 bytes.
  std::string name = run_directory() + "/pg-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) fatal(std::string("mkdtemp: ") + std::strerror(errno));
  directory_ = name;
  if (user_ && ::chown(name.c_str(), user_->uid, user_->gid) != 0) fatal(std::string("chown: ") + std::strerror(errno));
  if (options_.disk_bytes > 0) {
    ::mkdir(data_directory().c_str(), 0700);
    const std::string size = "mode=0700,size=" + std::to_string(options_.disk_bytes);
    if (::mount("tmpfs", data_directory().c_str(), "tmpfs", MS_NOSUID | MS_NODEV, size.c_str()) != 0)
      fatal(std::string("mount: ") + std::strerror(errno));
    if (user_ && ::chown(data_directory().c_str(), user_->uid, user_->gid) != 0)
      fatal(std::string("chown: ") + std::strerror(errno));
  }

  if (options_.primary != nullptr) {
    follow(*options_.primary, options_.primary_port);
  } else {
    make_cluster();
  }
}

void PrivatePostgres::make_cluster() {
  SpawnOptions initdb;
  initdb.argv = {binaries_ + "/initdb",
                 "--pgdata=" + directory_ + "/data",
                 std::string("--username=") + kSuperuser,
                 "--auth=trust",
                 "--encoding=UTF8",
                 "--locale=C.UTF-8",
                 "--no-sync",
                 "--no-instructions"};
  initdb.env = server_environment(binaries_);
  initdb.directory = directory_;
  initdb.user = user_;
  const RunResult result = run_program(initdb, kInitdbTimeout);
  if (!result.ok()) fatal("initdb: " + result.out + result.err);

  std::ofstream(directory_ + "/data/postgresql.conf", std::ios::app)
      << kSettings << "unix_socket_directories = '" << directory_ << "'\n"
      << options_.settings;
  // Members of this role have to give their password; the superuser never does, so the tests themselves always get in.
  std::ofstream(directory_ + "/data/pg_hba.conf")
      << "local all,replication " << kSuperuser
      << " trust\nlocal all +with_password scram-sha-256\nlocal all all trust\n"
      << "hostssl all all 127.0.0.1/32 scram-sha-256\n";
  if (options_.listen == Listen::kTlsToo) prepare_tls();
  start();
  admin().query("CREATE ROLE with_password NOLOGIN");
}

PrivatePostgres::~PrivatePostgres() {
  stop(StopMode::kImmediate);
  if (options_.disk_bytes > 0) ::umount2(data_directory().c_str(), MNT_DETACH);
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

void PrivatePostgres::prepare_tls() {
  const std::string certificate = directory_ + "/data/server.crt";
  const std::string key = directory_ + "/data/server.key";
  SpawnOptions openssl;
  openssl.argv = {"/usr/bin/openssl",
                  "req",
                  "-x509",
                  "-newkey",
                  "ec",
                  "-pkeyopt",
                  "ec_paramgen_curve:prime256v1",
                  "-nodes",
                  "-days",
                  "2",
                  "-subj",
                  "/CN=localhost",
                  "-addext",
                  "subjectAltName=IP:127.0.0.1",
                  "-keyout",
                  key,
                  "-out",
                  certificate};
  openssl.user = user_;  // the server insists on owning its key
  const RunResult result = run_program(openssl, kInitdbTimeout);
  if (!result.ok()) fatal("openssl: " + result.err);
  port_ = free_port();
  std::ofstream(directory_ + "/data/postgresql.conf", std::ios::app)
      << "listen_addresses = '127.0.0.1'\nport = " << port_ << "\nssl = on\n";
}

void PrivatePostgres::start() {
  const UniqueFd log(::open((directory_ + "/server.log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log) fatal(std::string("server.log: ") + std::strerror(errno));
  SpawnOptions options;
  options.argv = {binaries_ + "/postgres", "-D", directory_ + "/data"};
  options.env = server_environment(binaries_);
  options.env.insert(options.env.end(), options_.env.begin(), options_.env.end());
  options.directory = directory_;
  options.user = user_;
  options.stdout_fd = log.get();
  options.stderr_fd = log.get();
  options.death_signal = SIGQUIT;  // immediate shutdown: takes its children along
  postmaster_ = std::make_unique<ChildProcess>(options);
  const bool up = wait_until(
      [this] { return !postmaster_->running() || PQping(admin().conninfo().c_str()) == PQPING_OK; }, kStartTimeout);
  if (!up || !postmaster_->running()) fatal("PostgreSQL does not start:\n" + this->log());
}

void PrivatePostgres::stop(StopMode mode) {
  if (!postmaster_) return;
  const std::vector<pid_t> below = children();
  postmaster_->send_signal(mode == StopMode::kFast ? SIGINT : SIGQUIT);
  postmaster_->send_signal(SIGCONT);
  for (const pid_t pid : below) ::kill(pid, SIGCONT);
  if (!postmaster_->wait_for(kStopTimeout)) postmaster_->kill_and_wait();
  wait_until_gone(below);
  postmaster_.reset();
}

void PrivatePostgres::restart(StopMode mode) {
  stop(mode);
  start();
}

void PrivatePostgres::kill_postmaster() {
  const std::vector<pid_t> below = children();
  postmaster_->kill_and_wait();
  wait_until_gone(below);
  postmaster_.reset();
}

void PrivatePostgres::kill_all() {
  freeze();
  const std::vector<pid_t> below = children();
  for (const pid_t pid : below) ::kill(pid, SIGKILL);
  postmaster_->kill_and_wait();
  wait_until_gone(below);
  postmaster_.reset();
}

void PrivatePostgres::lose_data() {
  if (postmaster_) fatal("a cluster that runs does not lose its data");
  // Not the folder itself, which a disk may be mounted over.
  for (const auto& entry : std::filesystem::directory_iterator(data_directory()))
    std::filesystem::remove_all(entry.path());
}

void PrivatePostgres::freeze() {
  // The postmaster first: after that no new children come.
  postmaster_->send_signal(SIGSTOP);
  for (const pid_t pid : children()) ::kill(pid, SIGSTOP);
}

void PrivatePostgres::thaw() {
  for (const pid_t pid : children()) ::kill(pid, SIGCONT);
  postmaster_->send_signal(SIGCONT);
}

// As pg_basebackup does, which the servers of cmake/fetch-postgres.sh come without.
void PrivatePostgres::follow(PrivatePostgres& primary, uint16_t port) {
  namespace fs = std::filesystem;
  ::mkdir(data_directory().c_str(), 0700);
  lose_data();
  DatabaseSession session(primary.admin());
  session.query("SELECT pg_backup_start('standby', true)");
  copy_changing_directory(primary.data_directory(), data_directory());
  const std::string label = session.query("SELECT labelfile FROM pg_backup_stop(false)").at(0).at(0);
  std::ofstream(data_directory() + "/backup_label") << label;
  std::ofstream(data_directory() + "/standby.signal") << "";
  std::ofstream(data_directory() + "/postgresql.conf", std::ios::app)
      << "unix_socket_directories = '" << directory_
      << "'\nprimary_conninfo = 'host=" << (port == 0 ? primary.directory_ : "127.0.0.1")
      << " port=" << (port == 0 ? primary.port_ : port) << " user=" << kSuperuser
      << " sslmode=disable application_name=standby'\n";
  if (user_) {
    for (const auto& entry : fs::recursive_directory_iterator(directory_))
      if (::lchown(entry.path().c_str(), user_->uid, user_->gid) != 0)
        fatal("chown " + entry.path().string() + ": " + std::strerror(errno));
  }
  start();
}

void PrivatePostgres::promote() {
  if (admin().value("SELECT pg_promote(true, 60)") != "t") fatal("the standby is not promoted:\n" + log());
}

Database PrivatePostgres::create_database(const std::string& name) {
  const std::string full_name = name + "_" + random_tail();
  admin().query("CREATE DATABASE " + full_name);
  return Database(full_name, directory_, port_);
}

void PrivatePostgres::create_role_with_password(const std::string& role, const std::string& password) {
  // Superuser, so that it may use a schema that somebody else has made.
  admin().query("CREATE ROLE " + role + " LOGIN SUPERUSER PASSWORD '" + password + "'; GRANT with_password TO " + role);
}

std::string PrivatePostgres::log() const {
  std::ifstream file(directory_ + "/server.log", std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<pid_t> PrivatePostgres::children() const { return children_of(postmaster_->pid()); }

// Until the last of them is gone the shared memory is in use, and the next start would be refused.
void PrivatePostgres::wait_until_gone(const std::vector<pid_t>& pids) const {
  const auto all_gone = [&pids] { return std::all_of(pids.begin(), pids.end(), is_gone); };
  if (!wait_until(all_gone, kStopTimeout)) fatal("processes of the private PostgreSQL do not end");
}

namespace {

std::unique_ptr<PrivatePostgres> shared_cluster;

class ClusterEnvironment : public ::testing::Environment {
 public:
  void TearDown() override { shared_cluster.reset(); }
};

const ::testing::Environment* const kRegistered = ::testing::AddGlobalTestEnvironment(new ClusterEnvironment);

}  // namespace

PrivatePostgres& postgres() {
  if (!shared_cluster) shared_cluster = std::make_unique<PrivatePostgres>();
  return *shared_cluster;
}

}  // namespace txn::test
