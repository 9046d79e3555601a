// What a handler is given: the parts of its worker. Lives as long as the worker; belongs to its thread.
#pragma once

#include <string>

#include "app/health.h"
#include "app/idempotency.h"
#include "app/rate_limit.h"
#include "app/token.h"
#include "app/validate.h"
#include "core/clock.h"
#include "core/config.h"
#include "db/ledger.h"
#include "db/reader.h"

namespace txn {

struct Context {
  const Settings& settings;
  const Clock& clock;
  RateLimiter& limits;
  TokenVerifier& tokens;
  BodyParser& bodies;
  const RequestFingerprinter& fingerprints;
  Ledger& ledger;
  Reader& reader;
  const Health& health;
  // Where an answer's body is written just before it is handed to respond(), which copies it: never held over a wait.
  std::string& scratch;
};

}  // namespace txn
