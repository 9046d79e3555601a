#include "app/process.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

extern char** environ;  // NOLINT(readability-redundant-declaration): unistd.h has it only with _GNU_SOURCE

namespace txn {
namespace {

// Texts in memory of their own, as main() gets them.
class Texts {
 public:
  explicit Texts(std::vector<std::string> texts) : texts_(std::move(texts)) {
    for (std::string& text : texts_) pointers_.push_back(text.data());
    pointers_.push_back(nullptr);
  }
  std::span<char* const> arguments() { return {pointers_.data(), pointers_.size() - 1}; }
  char** environment() { return pointers_.data(); }
  // The bytes that were given, NUL as '0'.
  std::vector<std::string> bytes() const {
    std::vector<std::string> all = texts_;
    for (std::string& text : all) {
      for (char& c : text) c = c == '\0' ? '0' : c;
    }
    return all;
  }

 private:
  std::vector<std::string> texts_;
  std::vector<char*> pointers_;
};

using Strings = std::vector<std::string>;

TEST(HideSecrets, WipesArguments) {
  Texts arguments({"serve", "--jwt-secret-key=abc", "--service-port", "8002", "--database-password", "abcd",
                   "--database-url", "postgresql://u:p@h/db", "--pin", "1234", "--pin=", "--jwt-issuer=abc",
                   "--rate-limit-storage=redis://:p@h", "--jwt-secret-key-file=/x", "--pin-secret-key"});
  Texts environment({});
  hide_secrets(arguments.arguments(), environment.environment());
  EXPECT_EQ(arguments.bytes(),
            Strings({"serve", "--jwt-secret-key=000", "--service-port", "8002", "--database-password", "0000",
                     "--database-url", "000000000000000000000", "--pin", "0000", "--pin=", "--jwt-issuer=abc",
                     "--rate-limit-storage=000000000000", "--jwt-secret-key-file=/x", "--pin-secret-key"}));
}

TEST(HideSecrets, WipesTheEnvironmentAndTakesSecretsOutOfIt) {
  // The process's own, so that unsetenv() finds them.
  for (const char* name : {"JWT_SECRET_KEY", "PIN_SECRET_KEY", "DATABASE_PASSWORD", "DATABASE_URL"})
    setenv(name, "to be gone", 1);
  setenv("SERVICE_PORT", "8002", 1);
  setenv("PGPASSWORD", "for libpq", 1);
  std::vector<char*> before;
  for (char** variable = environ; *variable != nullptr; ++variable) before.push_back(*variable);
  std::string seen;  // of what /proc would show: the memory that the variables had at the start
  const auto remember = [&] {
    for (const char* variable : before) seen += std::string(variable) + "\n";
  };
  hide_secrets({}, environ);
  for (const char* name : {"JWT_SECRET_KEY", "PIN_SECRET_KEY", "DATABASE_PASSWORD", "DATABASE_URL"})
    EXPECT_EQ(std::getenv(name), nullptr) << name;
  EXPECT_STREQ(std::getenv("SERVICE_PORT"), "8002");
  EXPECT_STREQ(std::getenv("PGPASSWORD"), "for libpq");
  remember();
  EXPECT_EQ(seen.find("to be gone"), std::string::npos);
  EXPECT_EQ(seen.find("for libpq"), std::string::npos);
  EXPECT_NE(seen.find("SERVICE_PORT=8002"), std::string::npos);
}

// In a process of its own each: none of it can be taken back.
TEST(ConfineProcessDeathTest, KeepsItsMemoryToItself) {
  EXPECT_EXIT(
      {
        const bool done = confine_process(false).has_value();
        rlimit cores{};
        cores.rlim_max = 1;
        getrlimit(RLIMIT_CORE, &cores);
        const bool ok = done && prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 && cores.rlim_max == 0 &&
                        prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
        std::exit(ok ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

TEST(ConfineProcessDeathTest, LetsDevelopersDebugWhenTold) {
  EXPECT_EXIT(
      {
        const bool done = confine_process(true).has_value();
        const bool ok = done && prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
        std::exit(ok ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

// A supervisor's end of NOTIFY_SOCKET, under a name that is in no file system.
class Supervisor {
 public:
  Supervisor() : name_("txn-process-test-" + std::to_string(getpid())) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(&address.sun_path[1], name_.data(), name_.size());
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name_.size());
    EXPECT_EQ(bind(descriptor_, reinterpret_cast<const sockaddr*>(&address), length), 0);
    setenv("NOTIFY_SOCKET", ("@" + name_).c_str(), 1);
  }
  ~Supervisor() {
    unsetenv("NOTIFY_SOCKET");
    close(descriptor_);
  }
  // What it was told, "" when nothing.
  std::string heard() const {
    std::array<char, 256> text;
    const ssize_t length = recv(descriptor_, text.data(), text.size(), MSG_DONTWAIT);
    return length > 0 ? std::string(text.data(), static_cast<size_t>(length)) : "";
  }

 private:
  std::string name_;
  int descriptor_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
};

TEST(Process, ASupervisorIsTold) {
  const Supervisor supervisor;
  tell_supervisor("READY=1");
  EXPECT_EQ(supervisor.heard(), "READY=1");
  tell_supervisor("STOPPING=1\nEXTEND_TIMEOUT_USEC=36000000");
  EXPECT_EQ(supervisor.heard(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=36000000");
  EXPECT_EQ(supervisor.heard(), "");
}

TEST(Process, WhereNobodyListensNothingHappens) {
  unsetenv("NOTIFY_SOCKET");
  tell_supervisor("READY=1");
  for (const std::string& name :
       {std::string(""), std::string("no-path"), std::string("/nowhere/socket"), "/" + std::string(200, 'x')}) {
    setenv("NOTIFY_SOCKET", name.c_str(), 1);
    tell_supervisor("READY=1");
  }
  unsetenv("NOTIFY_SOCKET");
}

}  // namespace
}  // namespace txn
