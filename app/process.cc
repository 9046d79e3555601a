#include "app/process.h"

#include <fcntl.h>
#include <openssl/mem.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
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

}  // namespace txn
