// What others on the machine get to see of this process: its arguments, its environment, its memory, how far it is.
#pragma once

#include <span>
#include <string_view>

#include "core/error.h"

namespace txn {

// Opens /dev/null for each of standard input, output and error that is closed. Otherwise the first files opened get
// their numbers, and a client's connection is taken for the log. To be called before anything else is opened. kSystem
// when that cannot be done, and then nobody can be told.
Result<void> open_standard_descriptors();

// Wipes the values of secret settings, of --pin, and of PGPASSWORD out of the memory that the kernel shows as
// /proc/PID/cmdline and /proc/PID/environ (`arguments` and `environment` of main(), which must be those) and takes them
// out of the environment. Call it once they have been read and before there is a second thread. PGPASSWORD, which libpq
// asks for at every connection, stays in the environment as a copy that /proc does not show. Whether a name is secret
// is said by core/config.h; CLI flags may be followed by their value or have it behind a "=".
void hide_secrets(std::span<char* const> arguments, char** environment);

// From here on the process gains no privileges by executing something (prctl(2), PR_SET_NO_NEW_PRIVS), and unless
// `core_dumps`, its memory, which holds keys, goes to no core file, and processes of the same user can neither attach
// to it nor read it (PR_SET_DUMPABLE, RLIMIT_CORE). Root and whoever has CAP_SYS_PTRACE still can. kSystem when the
// kernel refuses.
Result<void> confine_process(bool core_dumps);

// Tells systemd, or whoever else has set NOTIFY_SOCKET, how far this process is: `state` is what sd_notify(3) would
// send, like "READY=1". Nothing happens where nobody has asked, and where nobody listens. Never waits.
void tell_supervisor(std::string_view state);

}  // namespace txn
