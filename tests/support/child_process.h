// Child processes of the tests: spawned, waited for with a deadline, ended by their own PID and by nothing else.
//
// A child never outlives the test run: the kernel sends it `death_signal` when the thread that spawned it ends, so
// spawn from the main thread only. Everything between fork and exec is async-signal-safe, because reader threads of
// other children may be running.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <functional>
#include <mutex>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace txn::test {

using Milliseconds = std::chrono::milliseconds;

// How a process ended: by exit (code) or by a signal (signal != 0).
struct ExitStatus {
  int code = 0;
  int signal = 0;
  bool operator==(const ExitStatus&) const = default;
};
std::ostream& operator<<(std::ostream& out, const ExitStatus& status);

// A file descriptor that closes itself.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept;
  UniqueFd(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release();
  void reset();

 private:
  int fd_ = -1;
};

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
  static Pipe create();  // close-on-exec at both ends
};

// An unprivileged account to run a program as.
struct UnixUser {
  uid_t uid = 0;
  gid_t gid = 0;
};

struct SpawnOptions {
  std::vector<std::string> argv;      // argv[0] is the path
  std::vector<std::string> env;       // NAME=value, the whole environment of the child
  std::string directory = {};         // working directory; empty: ours
  std::optional<UnixUser> user = {};  // only when we are root
  int stdout_fd = -1;                 // -1: /dev/null
  int stderr_fd = -1;
  int death_signal = SIGKILL;
  int max_open_files = 0;  // ulimit -n, hard; 0: ours
};

class ChildProcess {
 public:
  // Aborts the test run with a message when the program cannot be started.
  explicit ChildProcess(const SpawnOptions& options);
  ChildProcess(const ChildProcess&) = delete;
  ~ChildProcess();  // SIGKILL when it still runs

  pid_t pid() const { return pid_; }
  bool running() { return !wait_for(Milliseconds(0)).has_value(); }
  void send_signal(int signal);
  // Nothing when it still runs after `timeout`.
  std::optional<ExitStatus> wait_for(Milliseconds timeout);
  ExitStatus kill_and_wait();

 private:
  pid_t pid_ = -1;
  UniqueFd pidfd_;
  std::optional<ExitStatus> status_;
};

// Collects what a child writes to a pipe, on a thread of its own so that the child never blocks on us.
class OutputCollector {
 public:
  explicit OutputCollector(UniqueFd read_end);
  OutputCollector(const OutputCollector&) = delete;
  ~OutputCollector();

  std::string text() const;
  std::vector<std::string> lines() const;
  // The first line, old or new, that `wanted` accepts; nothing after `timeout` or when the output has ended.
  std::optional<std::string> wait_for_line(const std::function<bool(const std::string&)>& wanted, Milliseconds timeout);
  bool wait_for_end(Milliseconds timeout);

 private:
  void read_all();

  UniqueFd read_end_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::string text_;
  bool ended_ = false;
  std::thread thread_;
};

// Runs a program to its end.
struct RunResult {
  ExitStatus status;
  std::string out;
  std::string err;
  bool timed_out = false;
  bool ok() const { return !timed_out && status == ExitStatus{}; }
};
std::ostream& operator<<(std::ostream& out, const RunResult& result);
RunResult run_program(SpawnOptions options, Milliseconds timeout);

// Polls `condition` until it holds; false when `timeout` passed first. For conditions that nobody announces.
bool wait_until(const std::function<bool()>& condition, Milliseconds timeout);

// A directory under TXN_RUN_DIRECTORY, else /tmp, for all that this run writes. It is removed when the run ends,
// however it ends: a small process of its own waits for that.
const std::string& run_directory();

// A directory in there that removes itself with all it holds.
class TempDirectory {
 public:
  TempDirectory();
  TempDirectory(const TempDirectory&) = delete;
  ~TempDirectory();
  const std::string& path() const { return path_; }
  // Writes a file into it and returns its path.
  std::string write(const std::string& name, std::string_view content) const;

 private:
  std::string path_;
};

// For what can only be a broken test environment: says why and ends the run.
[[noreturn]] void fatal(const std::string& why);

}  // namespace txn::test
