#include "tests/chaos/pooler.h"

#include <fcntl.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

namespace txn::test {

namespace {

constexpr const char* kProgram = "/usr/sbin/pgbouncer";
constexpr Milliseconds kStartTimeout{20'000};
constexpr Milliseconds kStopTimeout{10'000};

// It refuses to run as root, as PostgreSQL does.
std::optional<UnixUser> user_to_run_as() {
  if (::geteuid() != 0) return std::nullopt;
  const passwd* entry = ::getpwnam("postgres");
  if (entry == nullptr) fatal("running as root and there is no user `postgres` to run PgBouncer as");
  return UnixUser{entry->pw_uid, entry->pw_gid};
}

}  // namespace

std::string Pooler::obstacle() {
  return ::access(kProgram, X_OK) == 0 ? "" : "PgBouncer is not installed (Debian: pgbouncer)";
}

Pooler::Pooler(const PrivatePostgres& postgres, Mode mode) {
  std::ostringstream settings;
  settings << "[databases]\n* = host=" << postgres.socket_directory() << " port=" << postgres.port()
           << " user=txn_superuser\n[pgbouncer]\nlisten_addr =\nlisten_port = " << kSocketPort
           << "\nunix_socket_dir = " << directory_.path()
           << "\nauth_type = any\npool_mode = " << (mode == Mode::kSession ? "session" : "transaction")
           << "\nmax_client_conn = 300\ndefault_pool_size = 150\nserver_login_retry = 1\n"
              "ignore_startup_parameters = extra_float_digits,options\n";
  directory_.write("pgbouncer.ini", settings.str());
  if (const auto user = user_to_run_as(); user && ::chown(directory_.path().c_str(), user->uid, user->gid) != 0)
    fatal(std::string("chown: ") + std::strerror(errno));
  start();
}

void Pooler::kill() {
  process_->kill_and_wait();
  process_.reset();
}

void Pooler::terminate() {
  process_->send_signal(SIGTERM);
  if (!process_->wait_for(kStopTimeout)) fatal("PgBouncer does not end:\n" + log());
  process_.reset();
}

void Pooler::start() {
  const std::string path = directory_.path() + "/pgbouncer.log";
  const UniqueFd log_fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log_fd) fatal(std::string("pgbouncer.log: ") + std::strerror(errno));
  SpawnOptions options;
  options.argv = {kProgram, directory_.path() + "/pgbouncer.ini"};
  options.env = {"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"};
  options.directory = directory_.path();
  options.user = user_to_run_as();
  options.stdout_fd = log_fd.get();
  options.stderr_fd = log_fd.get();
  process_ = std::make_unique<ChildProcess>(options);
  // Asked for a database that is always there; PQPING_REJECT, while PostgreSQL is away, would do as well.
  const std::string conninfo = "host=" + directory_.path() + " port=" + std::to_string(kSocketPort) +
                               " user=txn_superuser dbname=postgres connect_timeout=2";
  const auto is_up = [&] { return !process_->running() || PQping(conninfo.c_str()) != PQPING_NO_RESPONSE; };
  if (!wait_until(is_up, kStartTimeout) || !process_->running()) fatal("PgBouncer does not start:\n" + log());
}

std::string Pooler::log() const {
  std::ifstream file(directory_.path() + "/pgbouncer.log", std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace txn::test
