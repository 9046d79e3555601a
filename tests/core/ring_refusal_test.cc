// What an operator reads when the kernel refuses io_uring: a child process puts itself under a seccomp filter, as a
// container runtime would, and reports what Ring::create says.
#include "core/ring_refusal.h"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/ring.h"

namespace txn {
namespace {

// From here on `system_call` fails with `error` in this process.
bool refuse(uint32_t system_call, int error) {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, system_call, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{.len = std::size(filter), .filter = filter};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

std::string message_when_refused(uint32_t system_call, int error) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    std::string text = "could not install the filter";
    if (refuse(system_call, error)) {
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

struct Row {
  int error;
  const char* names;
  const char* advises;
};

void expect_message(const std::string& message, const Row& row) {
  EXPECT_NE(message.find(row.names), std::string::npos) << message;
  EXPECT_NE(message.find(row.advises), std::string::npos) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
}

constexpr const char* kProfile = "--security-opt seccomp=deploy/kubernetes/seccomp/io-uring.json";

// This kernel has io_uring, or nothing of the service would run here: what is missing was taken away by the filter.
TEST(RingRefusal, NamesWhatRefusesAndWhatToDo) {
  const Row rows[] = {
      {EPERM, "refused with EPERM by a seccomp profile", kProfile},
      {ENOSYS, "refused with ENOSYS by a seccomp profile", kProfile},
      {ENOMEM, "RLIMIT_MEMLOCK", "ulimit -l"},
      {EINVAL, "too old", "Linux 6.1"},
      {EMFILE, "file descriptor", "ulimit -n"},
  };
  for (const Row& row : rows) expect_message(message_when_refused(__NR_io_uring_setup, row.error), row);
}

// A profile that lets rings be made, and no more.
TEST(RingRefusal, LooksAtEverySystemCallThatTheRingNeeds) {
  for (const uint32_t system_call : {__NR_io_uring_register, __NR_io_uring_enter}) {
    expect_message(message_when_refused(system_call, EPERM), {EPERM, "by a seccomp profile", kProfile});
    expect_message(message_when_refused(system_call, ENOSYS), {ENOSYS, "by a seccomp profile", kProfile});
  }
}

TEST(RingRefusal, TellsAFilterFromAnOldKernel) {
  struct Case {
    RingEnvironment environment;
    Row row;
  };
  const Case cases[] = {
      {{.kernel_major = 5, .kernel_minor = 10}, {ENOSYS, "Linux 5.10", "run on Linux 6.1 or newer"}},
      // An old kernel stays one, whatever filters there are besides. gVisor says that it is Linux 4.4.
      {{.kernel_major = 4, .kernel_minor = 4, .is_filtered = true}, {ENOSYS, "gVisor", "run on Linux 6.1 or newer"}},
      {{.kernel_major = 6, .kernel_minor = 0, .is_filtered = true}, {ENOSYS, "Linux 6.0", "Linux 6.1 or newer"}},
      {{.kernel_major = 6, .kernel_minor = 1, .is_filtered = true},
       {ENOSYS, "not by the kernel (Linux 6.1)", kProfile}},
      {{.kernel_major = 7, .kernel_minor = 0, .is_filtered = true}, {ENOSYS, "(Linux 7.0)", kProfile}},
      {{.kernel_major = 6, .kernel_minor = 18}, {ENOSYS, "Linux 6.18 is new enough", "CONFIG_IO_URING"}},
      {{}, {ENOSYS, "this kernel", "Linux 6.1 or newer"}},
      {{.kernel_major = 6, .kernel_minor = 12, .is_filtered = true, .io_uring_disabled = "0"},
       {EPERM, "refused with EPERM by a seccomp profile", kProfile}},
      {{.kernel_major = 6, .kernel_minor = 12, .is_filtered = true, .io_uring_disabled = "2"},
       {EPERM, "kernel.io_uring_disabled=2", "set it to 0"}},
      {{.kernel_major = 6, .kernel_minor = 12}, {EPERM, "no seccomp profile is in force", "SELinux"}},
      {{.kernel_major = 5, .kernel_minor = 15}, {EINVAL, "Linux 5.15 is too old", "Linux 6.1 or newer"}},
  };
  for (const Case& one : cases) expect_message(explain_ring_refusal(one.row.error, one.environment), one.row);
}

TEST(RingRefusal, ReadsWhereItIs) {
  const RingEnvironment here = read_ring_environment();
  EXPECT_GE(here.kernel_major, 5);
  EXPECT_GT(here.memlock_kib, 0u);
}

}  // namespace
}  // namespace txn
