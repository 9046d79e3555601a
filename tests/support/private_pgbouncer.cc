#include "tests/support/private_pgbouncer.h"

#include <libpq-fe.h>
#include <pwd.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

namespace txn::test {
namespace {

constexpr const char* kProgram = "/usr/sbin/pgbouncer";
constexpr Milliseconds kStartTimeout{30'000};

}  // namespace

PrivatePgbouncer::PrivatePgbouncer(const PrivatePostgres& server, Options options)
    : server_(server), options_(std::move(options)) {
  start();
}

void PrivatePgbouncer::restart(Options options) {
  process_.reset();
  options_ = std::move(options);
  start();
}

void PrivatePgbouncer::start() {
  std::ostringstream settings;
  settings << "[databases]\n"
           << "* = host=" << server_.socket_directory() << " port=" << server_.port() << " user=txn_superuser\n"
           << "[pgbouncer]\n"
           << "listen_addr =\nlisten_port = " << kPort << "\nunix_socket_dir = " << directory_.path() << "\n"
           << "logfile = " << directory_.path() << "/pgbouncer.log\n"
           << "auth_type = any\nmax_client_conn = 100\npool_mode = " << options_.pool_mode
           << "\ndefault_pool_size = " << options_.pool_size << "\n";
  SpawnOptions spawn;
  spawn.argv = {kProgram, directory_.write("pgbouncer.ini", settings.str())};
  spawn.env = {"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"};
  spawn.directory = directory_.path();
  if (::geteuid() == 0) {
    const passwd* user = ::getpwnam("postgres");
    if (user == nullptr) fatal("running as root and there is no user `postgres` to run PgBouncer as");
    spawn.user = UnixUser{user->pw_uid, user->pw_gid};
    if (::chown(directory_.path().c_str(), user->pw_uid, user->pw_gid) != 0) fatal("chown of PgBouncer's directory");
    if (::chown(spawn.argv.back().c_str(), user->pw_uid, user->pw_gid) != 0) fatal("chown of PgBouncer's settings");
  }
  process_ = std::make_unique<ChildProcess>(spawn);
  const std::string target = through(Database("postgres", server_.socket_directory())).conninfo();
  const bool up =
      wait_until([&] { return !process_->running() || PQping(target.c_str()) == PQPING_OK; }, kStartTimeout);
  if (!up || !process_->running()) {
    std::ifstream log(directory_.path() + "/pgbouncer.log");
    std::ostringstream text;
    text << log.rdbuf();
    fatal("PgBouncer does not start:\n" + text.str());
  }
}

}  // namespace txn::test
