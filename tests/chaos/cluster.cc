#include "tests/chaos/cluster.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace txn::test {

namespace {

constexpr int64_t kDiskBytes = 768LL << 20;
constexpr off_t kBlock = 64 << 10;
constexpr int64_t kMillisPerDay = 86'400'000;
constexpr Milliseconds kApproach{20 * 60'000};

// Little WAL for a little disk; what PostgreSQL recycles would otherwise hide that the disk is full. COMMIT takes as
// long as on a disk that has to sync, so that faults find some under way.
constexpr const char* kSettings = R"(
max_wal_size = 96MB
min_wal_size = 32MB
wal_recycle = off
commit_delay = 4000
commit_siblings = 0
)";

// Standbys are made anew while clients write, and have to find all of the WAL since.
constexpr const char* kReplicatedSettings = R"(
wal_keep_size = 256MB
hot_standby_feedback = on
wal_receiver_status_interval = 1s
wal_retrieve_retry_interval = 200ms
commit_delay = 4000
commit_siblings = 0
)";
constexpr Milliseconds kSyncTimeout{60'000};
constexpr const char* kWaitForStandby = "ALTER SYSTEM SET synchronous_standby_names = '*'";

std::string no_mount_reason;  // "" when mounting works

int64_t real_now_ms() {
  return std::chrono::duration_cast<Milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string find_libfaketime() {
  for (const char* path :
       {"/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
        "/usr/lib64/faketime/libfaketime.so.1", "/usr/lib/faketime/libfaketime.so.1"}) {
    if (::access(path, R_OK) == 0) return path;
  }
  return "";
}

}  // namespace

void Cluster::leave_mounts_of_others_alone() {
  run_directory();  // its keeper stays outside, so that it can remove what we have mounted over
  if (::geteuid() != 0) {
    no_mount_reason = "only root can mount a small disk";
  } else if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    no_mount_reason = std::string("mounting a small disk is refused: ") + std::strerror(errno);
  }
}

Cluster::Cluster(Kind kind) : no_disk_reason_(no_mount_reason) {
  if (kind == Kind::kWithStandby) {
    start_with_standby();
  } else {
    start_alone();
  }
}

void Cluster::start_alone() {
  PrivatePostgres::Options options{.settings = kSettings};
  if (no_disk_reason_.empty()) options.disk_bytes = kDiskBytes;
  const std::string library = find_libfaketime();
  if (library.empty()) {
    no_clock_reason_ = "libfaketime is not installed (Debian: faketime), so PostgreSQL's clock cannot be set";
  } else {
    clock_directory_ = std::make_unique<TempDirectory>();
    ::chmod(clock_directory_->path().c_str(), 0755);
    write_clock_offset("+0");
    options.env = {"LD_PRELOAD=" + library, "FAKETIME_TIMESTAMP_FILE=" + clock_directory_->path() + "/offset",
                   "FAKETIME_NO_CACHE=1", "DONT_FAKE_MONOTONIC=1"};
  }
  servers_[0] = std::make_unique<PrivatePostgres>(options);
}

void Cluster::start_with_standby() {
  // For speed alone: what is lost with a server's processes is the same on either.
  const int64_t disk_bytes = no_disk_reason_.empty() ? kDiskBytes : 0;
  servers_[0] = std::make_unique<PrivatePostgres>(
      PrivatePostgres::Options{.settings = kReplicatedSettings, .disk_bytes = disk_bytes});
  const Database admin("postgres", servers_[0]->socket_directory(), servers_[0]->port());
  // In force from the next reload on; the standby gets a copy.
  admin.query(kWaitForStandby);
  lines_[0] = std::make_unique<Proxy>(servers_[0]->socket_path(), 0);
  servers_[1] = std::make_unique<PrivatePostgres>(PrivatePostgres::Options{
      .disk_bytes = disk_bytes, .primary = servers_[0].get(), .primary_port = lines_[0]->port()});
  lines_[1] = std::make_unique<Proxy>(servers_[1]->socket_path(), 0);
  admin.query("SELECT pg_reload_conf()");
  wait_until_in_sync();
  entry_ = std::make_unique<TempDirectory>();
  point_entry();
}

std::vector<PrivatePostgres*> Cluster::servers() const {
  std::vector<PrivatePostgres*> all;
  for (const auto& server : servers_) {
    if (server) all.push_back(server.get());
  }
  return all;
}

Database Cluster::follow_primary(const Database& created) const {
  return entry_ ? Database(created.name(), entry_->path() + "/primary", created.port()) : created;
}

void Cluster::point_entry() const {
  const std::string link = entry_->path() + "/primary";
  ::unlink(link.c_str());
  if (::symlink(servers_[primary_]->socket_directory().c_str(), link.c_str()) != 0)
    fatal(std::string("symlink: ") + std::strerror(errno));
}

void Cluster::wait_until_in_sync() {
  const Database admin("postgres", postgres().socket_directory(), postgres().port());
  const auto is_in_sync = [&] {
    return admin.value("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'sync'") ==
           "1";
  };
  if (!wait_until(is_in_sync, kSyncTimeout))
    fatal("the standby does not follow:\n" + standby_server().log() + "\nof:\n" + postgres().log());
}

void Cluster::promote_standby() {
  standby_server().promote();
  primary_ = standby();
  point_entry();
}

void Cluster::rebuild_standby() {
  const Database admin("postgres", postgres().socket_directory(), postgres().port());
  admin.query(kWaitForStandby);
  standby_server().follow(postgres(), replication_line().port());
  admin.query("SELECT pg_reload_conf()");
  wait_until_in_sync();
}

void Cluster::fill_disk() {
  const std::string path = servers_[0]->data_directory() + "/ballast";
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  off_t size = 0;
  for (off_t step = 64 << 20; step >= kBlock; step /= 2) {
    while (::fallocate(file.get(), 0, size, step) == 0) size += step;
  }
  while (::fallocate(file.get(), 0, size, 4096) == 0) size += 4096;
}

void Cluster::empty_disk() { ::unlink((servers_[0]->data_directory() + "/ballast").c_str()); }

void Cluster::approach_midnight() {
  const int64_t today_ends_ms = (real_now_ms() / kMillisPerDay + 1) * kMillisPerDay;
  midnight_ms_ = std::max(midnight_ms_, today_ends_ms) + kMillisPerDay;
  set_clock_before_midnight(kApproach);
}

void Cluster::set_clock_before_midnight(Milliseconds before) {
  const int64_t offset_ms = midnight_ms_ - before.count() - real_now_ms();
  char text[32];
  std::snprintf(text, sizeof text, "+%lld.%03lld", static_cast<long long>(offset_ms / 1000),
                static_cast<long long>(offset_ms % 1000));
  write_clock_offset(text);
}

// Renamed into place: the server reads it whenever it asks for the time.
void Cluster::write_clock_offset(const std::string& offset) const {
  const std::string fresh = clock_directory_->write("offset.new", offset + "\n");
  ::chmod(fresh.c_str(), 0644);
  if (::rename(fresh.c_str(), (clock_directory_->path() + "/offset").c_str()) != 0)
    fatal(std::string("clock: ") + std::strerror(errno));
}

}  // namespace txn::test
