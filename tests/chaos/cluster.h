// The PostgreSQL cluster that gets the faults: the tests' private one, where possible with its data on a small disk of
// its own and with a clock that can be set. What is not possible here is said in words, and the faults that need it are
// left out.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "tests/support/private_postgres.h"

namespace txn::test {

class Cluster {
 public:
  // Call once, first thing in main(), before any thread: from then on what we mount is seen by us and our children
  // only, and is gone with us.
  static void leave_mounts_of_others_alone();

  Cluster();

  PrivatePostgres& postgres() { return *postgres_; }

  // "" when the disk can be filled, otherwise why not.
  const std::string& no_disk_reason() const { return no_disk_reason_; }
  void fill_disk();
  void empty_disk();

  // "" when the clock can be set, otherwise why not.
  const std::string& no_clock_reason() const { return no_clock_reason_; }
  // Sets the server's clock shortly before the end of a UTC day that has not been yet; the clock goes forward.
  void approach_midnight();
  // And to so long before the end of that same day, from wherever it is.
  void set_clock_before_midnight(Milliseconds before);

 private:
  void write_clock_offset(const std::string& offset) const;

  std::string no_disk_reason_;
  std::string no_clock_reason_;
  std::unique_ptr<TempDirectory> clock_directory_;
  int64_t midnight_ms_ = 0;
  std::unique_ptr<PrivatePostgres> postgres_;
};

}  // namespace txn::test
