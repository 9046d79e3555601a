// A collector of traces for tests: takes OTLP/HTTP requests, keeps their bodies, and behaves as well or badly as it is
// told. One thread, one connection at a time.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/child_process.h"
#include "tests/support/json.h"

namespace txn::test {

class OtlpCollector {
 public:
  OtlpCollector();
  OtlpCollector(const OtlpCollector&) = delete;
  ~OtlpCollector();

  uint16_t port() const { return port_; }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/v1/traces"; }

  // What it says from now on to every request, as it is; "" closes the connection without a word.
  void answer_with(std::string answer);
  void answer_status(int status);  // with an empty document
  // Keeps connections open and says nothing.
  void hang(bool hangs) { hangs_.store(hangs); }

  size_t requests() const;
  // Heads and bodies of all requests so far.
  std::vector<std::string> heads() const;
  std::vector<std::string> bodies() const;
  // All spans so far, whatever request they came in.
  std::vector<Json> spans() const;
  // Waits until there are so many spans.
  bool wait_for_spans(size_t count, Milliseconds timeout = Milliseconds(15'000)) const;

 private:
  void serve();
  void handle(int socket);

  UniqueFd listener_;
  uint16_t port_ = 0;
  mutable std::mutex mutex_;
  std::string answer_;  // guarded by mutex_, as are the next two
  std::vector<std::string> heads_;
  std::vector<std::string> bodies_;
  std::atomic<bool> hangs_{false};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

// Whether `body` is an ExportTraceServiceRequest as OTLP writes it in JSON, with this service as its resource.
::testing::AssertionResult is_trace_request(const std::string& body);

// The value of an attribute of a span, whatever its type; "(none)" when it has none of that name.
std::string attribute(const Json& span, const std::string& key);

}  // namespace txn::test
