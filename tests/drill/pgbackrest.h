// pgBackRest on a private cluster, with the configuration that is shipped (deploy/backup/pgbackrest.conf) and only
// paths and role of its own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/private_postgres.h"

namespace txn::test {

class PgBackRest {
 public:
  // "" when it is installed, otherwise why not.
  static std::string obstacle();

  PgBackRest();
  // What a server that archives through it is to be started with.
  std::vector<std::string> server_environment() const { return environment_; }
  static std::string server_settings(int archive_timeout_s);

  // From now on this cluster's log goes to the archive. "" or a complaint.
  std::string adopt(const PrivatePostgres& cluster);
  // "" or what it has complained of. It runs as the server's user.
  std::string run(const std::vector<std::string>& arguments) const;
  // The end of the last WAL segment in the archive, as a number.
  uint64_t archived_end() const;
  std::string last_segment() const;

 private:
  RunResult start(const std::vector<std::string>& arguments) const;

  TempDirectory directory_;
  std::string configuration_;
  std::vector<std::string> environment_;
  const PrivatePostgres* cluster_ = nullptr;
};

}  // namespace txn::test
