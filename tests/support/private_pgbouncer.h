// A PgBouncer of the tests' own before a private PostgreSQL: reached through a Unix socket in a directory of its own,
// asks nobody for a password, and is the superuser towards the server. It does not run as root, so root drops to
// `postgres`.
#pragma once

#include <memory>
#include <string>

#include "tests/support/child_process.h"
#include "tests/support/private_postgres.h"

namespace txn::test {

class PrivatePgbouncer {
 public:
  struct Options {
    std::string pool_mode = "session";  // or transaction, statement
    int pool_size = 20;                 // connections to the server
  };

  // Returns when it answers; aborts the run when it does not. `server` must outlive it.
  PrivatePgbouncer(const PrivatePostgres& server, Options options);
  PrivatePgbouncer(const PrivatePgbouncer&) = delete;

  // `database` as it is seen through the pooler.
  Database through(const Database& database) const { return Database(database.name(), directory_.path(), kPort); }

  // Stops it, and starts it with other options in the same place.
  void restart(Options options);

 private:
  static constexpr uint16_t kPort = 6432;
  void start();

  const PrivatePostgres& server_;
  Options options_;
  TempDirectory directory_;
  std::unique_ptr<ChildProcess> process_;
};

}  // namespace txn::test
