// What a handler is given: the parts of its worker. Lives as long as the worker; belongs to its thread.
#pragma once

#include <string>

#include "app/health.h"
#include "app/idempotency.h"
#include "app/metrics_scraper.h"
#include "app/rate_limit.h"
#include "app/service_counters.h"
#include "app/token.h"
#include "app/validate.h"
#include "core/clock.h"
#include "core/config.h"
#include "core/line_ring.h"
#include "core/loop.h"
#include "db/ledger.h"
#include "db/reader.h"
#include "db/unreadable_rows.h"

namespace txn {

struct Context {
  const Settings& settings;
  const Clock& clock;
  Loop& loop;
  RateLimiter& limits;
  TokenVerifier& tokens;
  BodyParser& bodies;
  const RequestFingerprinter& fingerprints;
  Ledger& ledger;
  Reader& reader;
  UnreadableRows& unreadable;
  const Health& health;
  ServiceCounters& counters;
  MetricsScraper& scraper;
  LineRing* spans;  // of requests that are traced; nullptr: none are
  // Where an answer's body is written just before it is handed to respond(), which copies it: never held over a wait.
  std::string& scratch;
};

}  // namespace txn
