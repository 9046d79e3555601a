// Spans of requests, as OTLP has them in JSON: one for the request as a server sees it, and below it one for the time
// in the ledger, from the queue to the acknowledged COMMIT.
//
// Attributes follow OpenTelemetry's semantic conventions for HTTP (https://opentelemetry.io/docs/specs/semconv/http/),
// less what tells of customers: paths are the route's pattern, there is no client address and no user agent.
#pragma once

#include <cstdint>
#include <string>

#include "app/request_record.h"
#include "core/clock.h"
#include "core/config.h"
#include "core/line_ring.h"
#include "net/exchange.h"
#include "net/trace_context.h"

namespace txn {

// One per worker.
class Tracer {
 public:
  // `spans` is where they go, nullptr: nowhere. All references must outlive the tracer.
  Tracer(const Settings& settings, LineRing* spans, const Clock& clock);

  // Gives `record` its trace, and decides whether it is recorded: by the caller's flag when there is one, so that a
  // trace is there as a whole or not at all, else for TRACE_SAMPLE_RATIO of the traces. `request` is nullptr for what
  // was none.
  void begin(RequestRecord& record, const HttpRequest* request);

  void on_answered(const Exchange& exchange, const RequestRecord& record, int status);

 private:
  void append_server_span(const Exchange& exchange, const RequestRecord& record, int status, const SpanIdText& id);
  void append_ledger_span(const RequestRecord& record, const SpanIdText& parent);
  void begin_span(const RequestRecord& record, const SpanIdText& id, std::string_view parent);
  void append_times(int64_t begin_ns, int64_t end_ns);

  const Settings& settings_;
  LineRing* const spans_;
  const Clock& clock_;
  const uint64_t least_randomness_;  // that is recorded
  TraceIdGenerator ids_;
  std::string text_;  // kept for its memory
};

}  // namespace txn
