// A PgBouncer of the tests' own between the replicas and PostgreSQL, on a Unix socket in a directory of its own.
#pragma once

#include <memory>
#include <string>

#include "tests/support/private_postgres.h"

namespace txn::test {

class Pooler {
 public:
  enum class Mode { kSession, kTransaction };

  // "" when PgBouncer is installed, otherwise why not.
  static std::string obstacle();

  // Started; aborts the run when that fails. `postgres` may be away and come back.
  Pooler(const PrivatePostgres& postgres, Mode mode);
  Pooler(const Pooler&) = delete;

  // Where clients connect, as any user: they all become the superuser.
  std::string socket_path() const { return directory_.path() + "/.s.PGSQL." + std::to_string(kSocketPort); }

  void kill();       // kill -9
  void terminate();  // SIGTERM: ends at once, without waiting for its clients
  void start();
  void reload() { process_->send_signal(SIGHUP); }
  std::string log() const;

 private:
  TempDirectory directory_;
  std::unique_ptr<ChildProcess> process_;
};

}  // namespace txn::test
