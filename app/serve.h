// `serve`: the service itself, in the foreground.
#pragma once

#include "app/reload.h"
#include "core/config.h"

namespace txn {

// Runs until SIGTERM or SIGINT, drains, and returns the exit status: 0, or 1 when it could not start or not stop in
// time. Call on the main thread, before any other thread exists: it blocks the signals that it waits for.
// `read_settings` is what SIGHUP reads them again with.
int serve(const Settings& settings, const ReadSettings& read_settings);

}  // namespace txn
