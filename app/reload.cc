#include "app/reload.h"

#include "core/log.h"

namespace txn {

void Reload::run() {
  auto settings = read_();
  std::vector<Error> errors = settings ? validate_for_serve(*settings) : std::move(settings.error());
  for (const Error& error : errors)
    LOG(kError, "app.reload", "SIGHUP: the settings are not valid; nothing has changed")
        .field("exception", error.message);
  if (!errors.empty()) return;

  std::string taken;
  for (const Part& part : parts_) {
    if (const Result<void> result = part.apply(*settings); !result) {
      LOG(kError, "app.reload", "SIGHUP: a part keeps what it has")
          .field("part", part.what)
          .field("exception", result.error().message);
      continue;
    }
    taken += (taken.empty() ? "" : ", ") + part.what;
  }
  LOG(kInfo, "app.reload", "SIGHUP: settings read again").field("parts", taken);
}

}  // namespace txn
