#include "app/process.h"

#include <fcntl.h>
#include <openssl/mem.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>
#include <tuple>
#include <vector>

#include "core/config.h"

namespace txn {
namespace {

constexpr const char* kLibpqPassword = "PGPASSWORD";

bool is_secret_flag(std::string_view flag) {
  return flag == "--pin" || std::ranges::any_of(setting_infos(), [flag](const SettingInfo& setting) {
           return setting.is_secret && flag == flag_of_setting(setting.name);
         });
}

bool is_secret_variable(std::string_view name) {
  return name == kLibpqPassword || std::ranges::any_of(setting_infos(), [name](const SettingInfo& setting) {
           return setting.is_secret && name == setting.name;
         });
}

void wipe(char* text) { OPENSSL_cleanse(text, std::strlen(text)); }

void wipe_arguments(std::span<char* const> arguments) {
  bool is_value = false;  // of the flag before
  for (char* const argument : arguments) {
    if (is_value) {
      wipe(argument);
      is_value = false;
      continue;
    }
    char* const equals = std::strchr(argument, '=');
    const std::string_view flag(argument,
                                equals != nullptr ? static_cast<size_t>(equals - argument) : std::strlen(argument));
    if (!is_secret_flag(flag)) continue;
    if (equals != nullptr) {
      wipe(equals + 1);
    } else {
      is_value = true;
    }
  }
}

}  // namespace

Result<void> open_standard_descriptors() {
  for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; ++descriptor) {
    if (fcntl(descriptor, F_GETFD) != -1) continue;
    // open(2) gives the lowest number that is free: those below are taken by now.
    if (open("/dev/null", O_RDWR) != descriptor) return fail_errno("/dev/null", errno);
  }
  return {};
}

void hide_secrets(std::span<char* const> arguments, char** environment) {
  wipe_arguments(arguments);

  std::vector<std::string> wiped;
  std::string libpq_password;
  for (; *environment != nullptr; ++environment) {
    char* const equals = std::strchr(*environment, '=');
    if (equals == nullptr) continue;
    std::string name(*environment, equals);
    if (!is_secret_variable(name)) continue;
    if (name == kLibpqPassword) libpq_password = equals + 1;
    wipe(equals + 1);
    wiped.push_back(std::move(name));
  }
  for (const std::string& name : wiped) unsetenv(name.c_str());
  if (libpq_password.empty()) return;
  setenv(kLibpqPassword, libpq_password.c_str(), 1);  // to memory of its own
  OPENSSL_cleanse(libpq_password.data(), libpq_password.size());
}

Result<void> confine_process(bool core_dumps) {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno("PR_SET_NO_NEW_PRIVS", errno);
  if (core_dumps) return {};
  // The limit alone does not hold back a core that is piped to a program (core(5)), as systemd-coredump takes them.
  const rlimit none{0, 0};
  if (setrlimit(RLIMIT_CORE, &none) != 0) return fail_errno("RLIMIT_CORE", errno);
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return fail_errno("PR_SET_DUMPABLE", errno);
  return {};
}

void tell_supervisor(std::string_view state) {
  const char* const path = std::getenv("NOTIFY_SOCKET");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path == nullptr || (path[0] != '/' && path[0] != '@')) return;
  const size_t length = std::strlen(path);
  if (length >= sizeof address.sun_path) return;
  std::memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = '\0';  // a name that is in no file system
  const int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) return;
  const auto address_length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  // Nobody is helped by hearing that the supervisor did not.
  std::ignore = sendto(descriptor, state.data(), state.size(), MSG_NOSIGNAL,
                       reinterpret_cast<const sockaddr*>(&address), address_length);
  close(descriptor);
}

}  // namespace txn
