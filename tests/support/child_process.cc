#include "tests/support/child_process.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace txn::test {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kExecFailed = 127;
constexpr Milliseconds kPollInterval{10};

// poll(2) on one descriptor, restarted when a signal interrupts it.
bool wait_readable(int fd, Milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  for (;;) {
    const auto left = std::chrono::ceil<Milliseconds>(deadline - Clock::now());
    pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(std::max<int64_t>(0, left.count())));
    if (ready > 0) return true;
    if (ready == 0) return false;
    if (errno != EINTR) fatal(std::string("poll: ") + std::strerror(errno));
  }
}

std::vector<char*> pointers_to(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (const auto& text : strings) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// Runs in the child between fork and exec: system calls only.
[[noreturn]] void become(const SpawnOptions& options, char* const* argv, char* const* env, int null_fd, pid_t parent) {
  ::setsid();  // a Ctrl-C at the terminal reaches the tests, which then end their children themselves
  ::dup2(null_fd, STDIN_FILENO);
  ::dup2(options.stdout_fd >= 0 ? options.stdout_fd : null_fd, STDOUT_FILENO);
  ::dup2(options.stderr_fd >= 0 ? options.stderr_fd : null_fd, STDERR_FILENO);
  if (options.max_open_files > 0) {
    const auto bound = static_cast<rlim_t>(options.max_open_files);
    const rlimit limit{.rlim_cur = bound, .rlim_max = bound};
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) ::_exit(kExecFailed);
  }
  if (options.user) {
    if (::setgroups(0, nullptr) != 0 || ::setgid(options.user->gid) != 0 || ::setuid(options.user->uid) != 0)
      ::_exit(kExecFailed);
  }
  // After setuid, which clears it. The parent may be gone already.
  ::prctl(PR_SET_PDEATHSIG, options.death_signal);
  if (::getppid() != parent) ::_exit(kExecFailed);
  if (!options.directory.empty() && ::chdir(options.directory.c_str()) != 0) ::_exit(kExecFailed);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  ::execve(argv[0], argv, env);
  ::_exit(kExecFailed);
}

// Waits for the other end of the leash to close, which the kernel does when the test run is gone, and cleans up.
[[noreturn]] void janitor_main(int leash, const std::string& directory) {
  ::setsid();
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) ::signal(signal, SIG_IGN);
  const int null_fd = ::open("/dev/null", O_RDWR);
  if (null_fd < 0) ::_exit(1);
  for (int fd = 0; fd <= 2; ++fd) ::dup2(null_fd, fd);  // whoever reads the run's output must not wait for us
  char byte = 0;
  while (::read(leash, &byte, 1) < 0 && errno == EINTR) {
  }
  // Processes that were not stopped in order are being stopped by their death signals, and may write a little longer.
  for (int attempt = 0; attempt < 100; ++attempt) {
    std::error_code error;
    std::filesystem::remove_all(directory, error);
    if (!std::filesystem::exists(directory, error)) break;
    ::usleep(100'000);
  }
  ::_exit(0);
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const ExitStatus& status) {
  if (status.signal != 0) return out << "killed by signal " << status.signal;
  return out << "exit code " << status.code;
}

UniqueFd& UniqueFd::operator=(UniqueFd&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = other.release();
  }
  return *this;
}

int UniqueFd::release() {
  const int fd = fd_;
  fd_ = -1;
  return fd;
}

void UniqueFd::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Pipe Pipe::create() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) fatal(std::string("pipe2: ") + std::strerror(errno));
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

ChildProcess::ChildProcess(const SpawnOptions& options) {
  if (::access(options.argv.front().c_str(), X_OK) != 0) fatal("cannot execute " + options.argv.front());
  const auto argv = pointers_to(options.argv);
  const auto env = pointers_to(options.env);
  const UniqueFd null_fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) fatal(std::string("fork: ") + std::strerror(errno));
  if (pid_ == 0) become(options, argv.data(), env.data(), null_fd.get(), parent);
  // Not pidfd_open(): the header of glibc 2.36 declares it without C linkage.
  pidfd_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  if (!pidfd_) fatal(std::string("pidfd_open: ") + std::strerror(errno));
}

ChildProcess::~ChildProcess() {
  if (!status_) kill_and_wait();
}

void ChildProcess::send_signal(int signal) {
  if (!status_) ::kill(pid_, signal);  // not reaped yet, so the PID is still ours
}

std::optional<ExitStatus> ChildProcess::wait_for(Milliseconds timeout) {
  if (status_) return status_;
  if (!wait_readable(pidfd_.get(), timeout)) return std::nullopt;
  int raw = 0;
  while (::waitpid(pid_, &raw, 0) < 0) {
    if (errno != EINTR) fatal(std::string("waitpid: ") + std::strerror(errno));
  }
  status_ = WIFSIGNALED(raw) ? ExitStatus{0, WTERMSIG(raw)} : ExitStatus{WEXITSTATUS(raw), 0};
  return status_;
}

ExitStatus ChildProcess::kill_and_wait() {
  send_signal(SIGKILL);
  const auto status = wait_for(Milliseconds(30'000));
  if (!status) fatal("a killed process does not end");
  return *status;
}

OutputCollector::OutputCollector(UniqueFd read_end) : read_end_(std::move(read_end)), thread_([this] { read_all(); }) {}

OutputCollector::~OutputCollector() {
  // Ends because the child, the only writer, has ended before.
  thread_.join();
}

void OutputCollector::read_all() {
  char buffer[4096];
  for (;;) {
    const ssize_t count = ::read(read_end_.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    const std::lock_guard lock(mutex_);
    if (count > 0) text_.append(buffer, static_cast<size_t>(count));
    if (count <= 0) ended_ = true;
    changed_.notify_all();
    if (ended_) return;
  }
}

std::string OutputCollector::text() const {
  const std::lock_guard lock(mutex_);
  return text_;
}

std::vector<std::string> OutputCollector::lines() const {
  const std::string all = text();
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < all.size();) {
    const size_t end = std::min(all.find('\n', begin), all.size());
    lines.push_back(all.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

std::optional<std::string> OutputCollector::wait_for_line(const std::function<bool(const std::string&)>& wanted,
                                                          Milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  std::unique_lock lock(mutex_);
  size_t begin = 0;
  for (;;) {
    for (size_t end = 0; (end = text_.find('\n', begin)) != std::string::npos; begin = end + 1) {
      std::string line = text_.substr(begin, end - begin);
      if (wanted(line)) return line;
    }
    if (ended_) return std::nullopt;
    if (changed_.wait_until(lock, deadline) == std::cv_status::timeout) return std::nullopt;
  }
}

bool OutputCollector::wait_for_end(Milliseconds timeout) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, timeout, [this] { return ended_; });
}

std::ostream& operator<<(std::ostream& out, const RunResult& result) {
  return out << (result.timed_out ? "timed out, " : "") << result.status << "\n--- stdout:\n"
             << result.out << "\n--- stderr:\n"
             << result.err;
}

RunResult run_program(SpawnOptions options, Milliseconds timeout) {
  Pipe out = Pipe::create();
  Pipe err = Pipe::create();
  options.stdout_fd = out.write_end.get();
  options.stderr_fd = err.write_end.get();
  RunResult result;
  OutputCollector out_collector(std::move(out.read_end));
  OutputCollector err_collector(std::move(err.read_end));
  ChildProcess child(options);
  out.write_end.reset();
  err.write_end.reset();
  const auto status = child.wait_for(timeout);
  result.timed_out = !status;
  result.status = status ? *status : child.kill_and_wait();
  out_collector.wait_for_end(Milliseconds(5'000));
  err_collector.wait_for_end(Milliseconds(5'000));
  result.out = out_collector.text();
  result.err = err_collector.text();
  return result;
}

bool wait_until(const std::function<bool()>& condition, Milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  while (!condition()) {
    if (Clock::now() >= deadline) return false;
    std::this_thread::sleep_for(kPollInterval);
  }
  return true;
}

const std::string& run_directory() {
  static const std::string path = [] {
    const char* chosen = std::getenv("TXN_RUN_DIRECTORY");
    std::string name = std::string(chosen != nullptr ? chosen : "/tmp") + "/txn-test-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) fatal(std::string("mkdtemp: ") + std::strerror(errno));
    ::chmod(name.c_str(), 0755);  // the database runs as another user
    Pipe leash = Pipe::create();
    const pid_t janitor = ::fork();
    if (janitor < 0) fatal(std::string("fork: ") + std::strerror(errno));
    if (janitor == 0) {
      leash.write_end.reset();
      janitor_main(leash.read_end.get(), name.c_str());
    }
    leash.write_end.release();  // closed by the kernel when this process is no more
    return name;
  }();
  return path;
}

TempDirectory::TempDirectory() {
  std::string name = run_directory() + "/XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) fatal(std::string("mkdtemp: ") + std::strerror(errno));
  path_ = name;
}

TempDirectory::~TempDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TempDirectory::write(const std::string& name, std::string_view content) const {
  const std::string path = path_ + "/" + name;
  std::ofstream file(path, std::ios::binary);
  file << content;
  file.close();
  if (!file) fatal("cannot write " + path);
  return path;
}

void fatal(const std::string& why) {
  std::fprintf(stderr, "test environment: %s\n", why.c_str());
  std::fflush(stderr);
  std::_Exit(1);
}

}  // namespace txn::test
