// A PostgreSQL cluster of the test run's own: made with initdb in a temporary directory, reached through a Unix socket
// in that directory and through nothing else, gone when the run ends however it ends.
//
// One cluster per test executable (initdb takes a second), one fresh database per suite or test. fsync stays on: tests
// about durability would prove nothing without it. PostgreSQL refuses to run as root, so root drops to `postgres`.
// TXN_POSTGRES_BIN, a folder with initdb and postgres, chooses the server; unset, it is the oldest that Debian has
// here.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/child_process.h"

struct pg_conn;  // libpq's PGconn

namespace txn::test {

// Names the socket in its directory, which nobody else uses; nothing listens on TCP.
inline constexpr uint16_t kSocketPort = 5432;

using Row = std::vector<std::string>;  // SQL NULL reads as ""
using Rows = std::vector<Row>;

// A database of the cluster, seen as the superuser. Connections are opened per call: it may be restarted in between.
class Database {
 public:
  Database() = default;
  Database(std::string name, std::string socket_directory, uint16_t port = kSocketPort)
      : name_(std::move(name)), socket_directory_(std::move(socket_directory)), port_(port) {}

  const std::string& name() const { return name_; }
  const std::string& socket_directory() const { return socket_directory_; }
  uint16_t port() const { return port_; }
  std::string conninfo() const;  // for DATABASE_URL

  // Rows of the last statement. Throws std::runtime_error with PostgreSQL's message.
  Rows query(const std::string& sql) const;
  // The one value of the one row.
  std::string value(const std::string& sql) const;

 private:
  std::string name_;
  std::string socket_directory_;
  uint16_t port_ = kSocketPort;
};

// A connection to a database that stays, for what an operator does in one session. Throws as Database does.
class DatabaseSession {
 public:
  explicit DatabaseSession(const Database& database);
  DatabaseSession(const DatabaseSession&) = delete;
  ~DatabaseSession();

  Rows query(const std::string& sql);
  // Whether the last query has lost the connection. Whether it was carried out is not known then.
  bool is_lost() const { return is_lost_; }

 private:
  pg_conn* connection_;
  bool is_lost_ = false;
};

class PrivatePostgres {
 public:
  enum class StopMode { kFast, kImmediate };

  enum class Listen { kSocketOnly, kTlsToo };

  struct Options {
    // With kTlsToo it also listens on a free port of loopback, there for TLS only and with passwords only, under a
    // certificate of its own.
    Listen listen = Listen::kSocketOnly;
    std::string settings = {};          // further lines of postgresql.conf
    std::vector<std::string> env = {};  // further variables of the server's environment
    int64_t disk_bytes = 0;             // the data on a tmpfs of this size, which only root can mount; 0: on the disk
    // Not a cluster of its own but a hot standby of this one, made with follow(); `settings` are then the other's.
    PrivatePostgres* primary = nullptr;
    uint16_t primary_port = 0;  // see follow()
  };

  // initdb and start; aborts the run when that fails.
  explicit PrivatePostgres(Listen listen = Listen::kSocketOnly) : PrivatePostgres(Options{.listen = listen}) {}
  explicit PrivatePostgres(Options options);
  PrivatePostgres(const PrivatePostgres&) = delete;
  ~PrivatePostgres();

  void start();  // returns when it accepts connections
  void stop(StopMode mode);
  void restart(StopMode mode);
  // kill -9 of the postmaster; returns when its children, which notice, are gone as well.
  void kill_postmaster();
  // kill -9 of all its processes at one instant, as when the machine goes: none gets to finish what it is doing.
  void kill_all();
  // Removes the data of a cluster that does not run, as when its disk is lost. What is put there instead, start()
  // takes.
  void lose_data();
  // SIGSTOP and SIGCONT of the postmaster and of every process below it.
  void freeze();
  void thaw();

  // Becomes a hot standby of `primary`, which may be in use: its data is copied as a base backup is, and its WAL read
  // from 127.0.0.1:`port`, which whoever calls has to carry to its socket; 0: from its socket. Not while this one runs;
  // what it held is gone.
  void follow(PrivatePostgres& primary, uint16_t port);
  // Ends being a standby. Returns when it takes writes.
  void promote();

  // A new empty database. The name gets a random tail, so suites cannot meet by accident.
  Database create_database(const std::string& name);
  // A role that has to give `password` when it connects; everyone else is trusted on this socket.
  void create_role_with_password(const std::string& role, const std::string& password);

  const std::string& socket_directory() const { return directory_; }
  uint16_t port() const { return port_; }
  std::string socket_path() const { return directory_ + "/.s.PGSQL." + std::to_string(port_); }
  std::string data_directory() const { return directory_ + "/data"; }
  // The folder of the server's programs, with the clients of the same version where there are any.
  const std::string& binaries() const { return binaries_; }
  // Whom the server runs as; nothing: as ourselves.
  const std::optional<UnixUser>& user() const { return user_; }
  pid_t postmaster_pid() const { return postmaster_->pid(); }
  // False when it was stopped or killed, and when it has given up by itself.
  bool running() { return postmaster_ && postmaster_->running(); }
  // Everything the server has logged so far.
  std::string log() const;

 private:
  std::vector<pid_t> children() const;
  void wait_until_gone(const std::vector<pid_t>& pids) const;
  Database admin() const { return Database("postgres", directory_, port_); }
  void make_cluster();
  void prepare_tls();

  Options options_;
  std::string directory_;
  std::string binaries_;
  uint16_t port_ = kSocketPort;
  std::optional<UnixUser> user_;
  std::unique_ptr<ChildProcess> postmaster_;
};

// The cluster of this executable, started on first use and stopped after the last test. Main thread only.
PrivatePostgres& postgres();

}  // namespace txn::test
