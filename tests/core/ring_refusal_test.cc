// What an operator reads when the kernel refuses io_uring: a child process puts itself under a seccomp filter, as a
// container runtime would, and reports what Ring::create says.
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <string>

#include "core/ring.h"

namespace txn {
namespace {

// From here on io_uring_setup fails with `error` in this process.
bool refuse_io_uring(int error) {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{.len = std::size(filter), .filter = filter};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

std::string message_when_refused_with(int error) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    std::string text = "could not install the filter";
    if (refuse_io_uring(error)) {
      const auto ring = Ring::create({});
      text = ring ? "was not refused" : ring.error().message;
    }
    [[maybe_unused]] const ssize_t written = write(ends[1], text.data(), text.size());
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  char buffer[512];
  for (ssize_t count = 0; (count = read(ends[0], buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<size_t>(count));
  close(ends[0]);
  waitpid(child, nullptr, 0);
  return text;
}

TEST(RingRefusal, NamesWhatRefusesAndWhatToDo) {
  struct Row {
    int error;
    const char* names;
    const char* advises;
  };
  const Row rows[] = {
      {EPERM, "seccomp", "allow io_uring_setup"}, {ENOSYS, "does not have the io_uring_setup system call", "Linux 6.1"},
      {ENOMEM, "RLIMIT_MEMLOCK", "ulimit -l"},    {EINVAL, "too old", "Linux 6.1"},
      {EMFILE, "file descriptor", "ulimit -n"},
  };
  for (const Row& row : rows) {
    const std::string message = message_when_refused_with(row.error);
    EXPECT_NE(message.find(row.names), std::string::npos) << message;
    EXPECT_NE(message.find(row.advises), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

}  // namespace
}  // namespace txn
