// What HTTP costs a request, without a socket: parse, route, request id, response. Smallest cost first.
#include <benchmark/benchmark.h>

#include <string>
#include <string_view>

#include "core/check.h"
#include "net/http_parser.h"
#include "net/http_response.h"
#include "net/query.h"
#include "net/request_id.h"
#include "net/router.h"

namespace txn {
namespace {

// About 880 bytes, as a client behind a proxy sends it: twelve fields, a token of 300 bytes, a body of 105.
std::string typical_post() {
  const std::string body =
      R"({"from_account":1001,"to_account":1002,"amount":"125.50","transfer_mode":"NEFT","description":"rent, march"})";
  std::string bytes =
      "POST /api/v1/transfers HTTP/1.1\r\n"
      "Host: transactions.bank.internal:8002\r\n"
      "User-Agent: python-httpx/0.27.0\r\n"
      "Accept: application/json\r\n"
      "Accept-Encoding: gzip, deflate\r\n"
      "Connection: keep-alive\r\n"
      "Content-Type: application/json\r\n"
      "Authorization: Bearer " +
      std::string(300, 'e') +
      "\r\n"
      "Idempotency-Key: 6f1ed002-ab55-11ee-b9d1-0242ac120002\r\n"
      "X-Request-ID: 0b5e7a3e-8a3f-4d0e-9a34-2c8f6d6b1d55\r\n"
      "X-Forwarded-For: 203.0.113.17\r\n"
      "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
      "Content-Length: " +
      std::to_string(body.size()) + "\r\n\r\n" + body;
  return bytes;
}

void format_date(benchmark::State& state) {
  char date[kHttpDateSize];
  int64_t seconds = 1'700'000'000;
  for ([[maybe_unused]] auto _ : state) {
    format_http_date(++seconds, date);
    benchmark::DoNotOptimize(date);
  }
}
BENCHMARK(format_date);

void generate_request_id(benchmark::State& state) {
  RequestIdGenerator generator;
  for ([[maybe_unused]] auto _ : state) {
    benchmark::DoNotOptimize(generator.generate());
  }
}
BENCHMARK(generate_request_id);

void find_route(benchmark::State& state) {
  const RouteSpec routes[] = {{Method::kPost, "/api/v1/deposits"},
                              {Method::kPost, "/api/v1/withdrawals"},
                              {Method::kPost, "/api/v1/transfers"},
                              {Method::kGet, "/api/v1/transfer-limits/rules/all"},
                              {Method::kGet, "/api/v1/transfer-limits/{account_number}"},
                              {Method::kGet, "/api/v1/transaction-logs/{account_number}"},
                              {Method::kGet, "/health"}};
  auto router = Router::build(routes);
  CHECK(router.has_value(), "the table is right");
  std::string path = "/api/v1/transaction-logs/1001";
  for ([[maybe_unused]] auto _ : state) {
    benchmark::DoNotOptimize(path.data());
    benchmark::DoNotOptimize(router->find(Method::kGet, path));
  }
}
BENCHMARK(find_route);

void read_query(benchmark::State& state) {
  std::string text = "limit=50&cursor=AAAAAAAAMDk&start_date=2024-01-01T00%3A00%3A00Z";
  for ([[maybe_unused]] auto _ : state) {
    benchmark::DoNotOptimize(text.data());
    QueryReader query(text);
    while (query.next() == QueryReader::Status::kParameter) {
      benchmark::DoNotOptimize(query.value());
    }
  }
}
BENCHMARK(read_query);

void write_response(benchmark::State& state) {
  const std::string body(300, '{');
  ResponseHead head;
  head.request_id = "0b5e7a3e-8a3f-4d0e-9a34-2c8f6d6b1d55";
  head.date = "Sun, 06 Nov 1994 08:49:37 GMT";
  head.content_type = "application/json";
  ByteBuffer out;
  for ([[maybe_unused]] auto _ : state) {
    out.clear();
    append_response(out, head, body);
    benchmark::DoNotOptimize(out.data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(out.size()) * state.iterations());
}
BENCHMARK(write_response);

// One request a chunk, the common case: parsed where it is.
void parse_post(benchmark::State& state) {
  const std::string bytes = typical_post();
  HttpParser parser;
  for ([[maybe_unused]] auto _ : state) {
    CHECK(parser.feed(bytes) == HttpParser::Status::kRequest, "the request is right");
    benchmark::DoNotOptimize(parser.request().find(KnownHeader::kAuthorization));
    CHECK(parser.next() == HttpParser::Status::kNeedMore, "nothing follows it");
  }
  state.SetBytesProcessed(static_cast<int64_t>(bytes.size()) * state.iterations());
}
BENCHMARK(parse_post);

// The same, and the chunk is given back before the request is handled.
void parse_post_detached(benchmark::State& state) {
  const std::string bytes = typical_post();
  HttpParser parser;
  for ([[maybe_unused]] auto _ : state) {
    CHECK(parser.feed(bytes) == HttpParser::Status::kRequest, "the request is right");
    parser.detach();
    CHECK(parser.next() == HttpParser::Status::kNeedMore, "nothing follows it");
  }
  state.SetBytesProcessed(static_cast<int64_t>(bytes.size()) * state.iterations());
}
BENCHMARK(parse_post_detached);

// Split in the middle: copied into the parser's storage.
void parse_post_in_two(benchmark::State& state) {
  const std::string bytes = typical_post();
  const std::string_view first = std::string_view(bytes).substr(0, bytes.size() / 2);
  const std::string_view second = std::string_view(bytes).substr(bytes.size() / 2);
  HttpParser parser;
  for ([[maybe_unused]] auto _ : state) {
    CHECK(parser.feed(first) == HttpParser::Status::kNeedMore, "the request is not complete");
    CHECK(parser.feed(second) == HttpParser::Status::kRequest, "the request is right");
    CHECK(parser.next() == HttpParser::Status::kNeedMore, "nothing follows it");
  }
  state.SetBytesProcessed(static_cast<int64_t>(bytes.size()) * state.iterations());
}
BENCHMARK(parse_post_in_two);

// Sixteen requests in a chunk; the figure is for all of them.
void parse_sixteen_pipelined(benchmark::State& state) {
  std::string bytes;
  for (int i = 0; i < 16; ++i) {
    bytes += typical_post();
  }
  HttpParser parser;
  for ([[maybe_unused]] auto _ : state) {
    HttpParser::Status status = parser.feed(bytes);
    while (status == HttpParser::Status::kRequest) {
      status = parser.next();
    }
    CHECK(status == HttpParser::Status::kNeedMore, "the requests are right");
  }
  state.SetBytesProcessed(static_cast<int64_t>(bytes.size()) * state.iterations());
}
BENCHMARK(parse_sixteen_pipelined);

}  // namespace
}  // namespace txn
