// The PostgreSQL cluster that gets the faults: the tests' private one, where possible with its data on a small disk of
// its own and with a clock that can be set. What is not possible here is said in words, and the faults that need it are
// left out.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/chaos/proxy.h"
#include "tests/support/private_postgres.h"

namespace txn::test {

class Cluster {
 public:
  enum class Kind {
    kAlone,        // with the small disk and the clock
    kWithStandby,  // two servers, one a synchronous standby of the other, over a line that can break
  };

  // Call once, first thing in main(), before any thread: from then on what we mount is seen by us and our children
  // only, and is gone with us.
  static void leave_mounts_of_others_alone();

  explicit Cluster(Kind kind = Kind::kAlone);

  // The server that takes writes.
  PrivatePostgres& postgres() { return *servers_[primary_]; }
  // All of them, each always at its place whatever its part is.
  std::vector<PrivatePostgres*> servers() const;
  // `created` as seen by an operator who follows the primary wherever it is.
  Database follow_primary(const Database& created) const;

  // The rest is for kWithStandby. primary() and standby() are places in servers().
  size_t primary() const { return primary_; }
  size_t standby() const { return 1 - primary_; }
  PrivatePostgres& standby_server() { return *servers_[standby()]; }
  // What the standby reads the primary's WAL through.
  Proxy& replication_line() { return *lines_[primary_]; }
  // The standby becomes the primary, and the primary, which must have been killed, nothing: it is not to be started.
  void promote_standby();
  // The server that is not the primary becomes its standby from scratch. Returns when commits have it confirm them.
  void rebuild_standby();

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
  void start_alone();
  void start_with_standby();
  void point_entry() const;
  void wait_until_in_sync();
  void write_clock_offset(const std::string& offset) const;

  std::string no_disk_reason_;
  std::string no_clock_reason_;
  std::unique_ptr<TempDirectory> clock_directory_;
  int64_t midnight_ms_ = 0;
  std::unique_ptr<TempDirectory> entry_;  // with a link to the primary's folder
  size_t primary_ = 0;
  std::array<std::unique_ptr<PrivatePostgres>, 2> servers_;
  std::array<std::unique_ptr<Proxy>, 2> lines_;  // to each server, for the other
};

}  // namespace txn::test
