// `serve`: the service itself, in the foreground.
#pragma once

#include "core/config.h"

namespace txn {

// Runs until SIGTERM or SIGINT, drains, and returns the exit status: 0, or 1 when it could not start or not stop in
// time. Call on the main thread, before any other thread exists: it blocks the signals that it waits for.
int serve(const Settings& settings);

}  // namespace txn
