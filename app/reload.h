// What SIGHUP does: the settings are read again from the sources they came from at the start, and the parts that can
// change while the service runs are each given the new ones.
//
//   Reload reload(read_settings);
//   reload.add("log level", [](const Settings& settings) -> Result<void> { ... });
//
// A part takes over what is new or keeps what it has: it never ends up in between, and it does not hold up the others.
// Settings that no part has asked for need a restart.
#pragma once

#include <expected>
#include <functional>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/error.h"

namespace txn {

// Reads all settings again: the same command line and environment, the same --config file as it is now. Blocking.
using ReadSettings = std::function<std::expected<Settings, std::vector<Error>>()>;

// Belongs to the main thread, which may block; what a part has to tell workers goes through their mailboxes.
class Reload {
 public:
  // Takes over what the new settings say, or says why it keeps what it has.
  using Apply = std::function<Result<void>(const Settings& settings)>;

  explicit Reload(ReadSettings read) : read_(std::move(read)) {}

  // `what` names the part in the log: "log level", "certificates". Parts are asked in the order they were added.
  void add(std::string what, Apply apply) { parts_.push_back({std::move(what), std::move(apply)}); }

  // Settings that are not valid change nothing. Every failure is logged.
  void run();

 private:
  struct Part {
    std::string what;
    Apply apply;
  };
  ReadSettings read_;
  std::vector<Part> parts_;
};

}  // namespace txn
