// Spans to a collector: OTLP/HTTP with JSON (https://opentelemetry.io/docs/specs/otlp/), from a thread of its own.
//
// Workers put finished spans into rings, as the JSON objects that go into the request (net makes the envelope). The
// thread empties the rings every kTickMs and posts what there is once a second, or sooner when there is much, over
// plain blocking sockets, a connection a request. What the collector cannot take for the moment is tried again, then
// given up; a collector that is away costs memory for one ring a worker, a counter, and a line in the log when it goes
// and when it comes back. Nothing here holds up a worker.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "core/clock.h"
#include "core/http_url.h"
#include "core/line_ring.h"

namespace txn {

struct OtlpOptions {
  HttpUrl endpoint;             // without a path: /v1/traces
  std::string service_version;  // resource attribute service.version
  size_t ring_bytes = 1 << 20;  // of each worker, a power of two: some fifteen hundred spans
  size_t batch_max = 512;       // spans in a request
  int64_t interval_ns = kNanosPerSecond;
  int64_t timeout_ns = 5 * kNanosPerSecond;        // of one request, connecting included
  int64_t retry_first_ns = kNanosPerSecond;        // doubles with each attempt
  int64_t flush_timeout_ns = 2 * kNanosPerSecond;  // of what is left at the end
  int attempts_max = 4;
};

struct OtlpCounters {
  uint64_t spans_exported = 0;  // taken by the collector
  uint64_t spans_dropped = 0;   // their ring was full
  uint64_t spans_failed = 0;    // refused by the collector, or given up
  uint64_t failures = 0;        // requests that did not succeed
};

class OtlpExporter {
 public:
  // Starts the thread.
  explicit OtlpExporter(OtlpOptions options);
  // Posts what is left, for at most flush_timeout_ns, and ends the thread. No ring may be written to any more.
  ~OtlpExporter();
  OtlpExporter(const OtlpExporter&) = delete;
  OtlpExporter& operator=(const OtlpExporter&) = delete;

  // A ring for one producer, which lives as long as the exporter. A line is a span as OTLP has it in JSON, and '\n'.
  // Any thread.
  LineRing& add_producer();

  // Any thread.
  OtlpCounters counters() const;

 private:
  class State;
  const std::shared_ptr<State> state_;  // the thread's too: it may hang in a name look-up when we have to go
  std::thread thread_;
};

}  // namespace txn
