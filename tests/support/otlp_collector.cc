#include "tests/support/otlp_collector.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <set>

namespace txn::test {
namespace {

constexpr int kSliceMs = 20;

bool is_hex(const std::string& text, size_t digits) {
  return text.size() == digits && text.find_first_not_of("0123456789abcdef") == std::string::npos &&
         text.find_first_not_of('0') != std::string::npos;
}

bool is_digits(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

void check_attributes(const Json& attributes, std::vector<std::string>& wrong) {
  std::set<std::string> keys;
  for (const Json& attribute : attributes.items()) {
    if (!keys.insert(attribute["key"].text()).second) wrong.push_back("an attribute comes twice: " + attribute.dump());
    const Json value = attribute["value"];
    const bool is_string = value.size() == 1 && value.has("stringValue") && value["stringValue"].is_string();
    const bool is_integer = value.size() == 1 && value.has("intValue") && is_digits(value["intValue"].text());
    if (!is_string && !is_integer) wrong.push_back("no AnyValue: " + attribute.dump());
  }
}

void check_span(const Json& span, std::vector<std::string>& wrong) {
  const std::set<std::string> known{"traceId",         "spanId",     "parentSpanId", "traceState",
                                    "flags",           "name",       "kind",         "startTimeUnixNano",
                                    "endTimeUnixNano", "attributes", "status"};
  for (const std::string& key : span.keys())
    if (!known.contains(key)) wrong.push_back("no field of a span: " + key);
  if (!is_hex(span["traceId"].text(), 32)) wrong.emplace_back("traceId");
  if (!is_hex(span["spanId"].text(), 16)) wrong.emplace_back("spanId");
  if (span.has("parentSpanId") && !is_hex(span["parentSpanId"].text(), 16)) wrong.emplace_back("parentSpanId");
  if (span["name"].text().empty()) wrong.emplace_back("name");
  if (span["kind"].integer() < 1 || span["kind"].integer() > 5) wrong.emplace_back("kind");
  if ((span["flags"].integer() & 1) != 1) wrong.emplace_back("flags");
  const std::string start = span["startTimeUnixNano"].text();
  const std::string end = span["endTimeUnixNano"].text();
  if (!is_digits(start) || !is_digits(end) || start.size() != 19 || end.size() != 19 || start > end)
    wrong.push_back("times: " + start + " " + end);
  if (span.has("status") && span["status"]["code"].integer() != 2) wrong.emplace_back("status");
  check_attributes(span["attributes"], wrong);
}

}  // namespace

OtlpCollector::OtlpCollector() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      ::listen(listener_.get(), 64) != 0 ||
      ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0)
    fatal("the collector cannot listen");
  port_ = ntohs(address.sin_port);
  answer_status(200);
  thread_ = std::thread([this] { serve(); });
}

OtlpCollector::~OtlpCollector() {
  stopping_.store(true);
  thread_.join();
}

void OtlpCollector::answer_with(std::string answer) {
  const std::lock_guard lock(mutex_);
  answer_ = std::move(answer);
}

void OtlpCollector::answer_status(int status) {
  answer_with("HTTP/1.1 " + std::to_string(status) +
              " Whatever\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
}

size_t OtlpCollector::requests() const {
  const std::lock_guard lock(mutex_);
  return bodies_.size();
}

std::vector<std::string> OtlpCollector::heads() const {
  const std::lock_guard lock(mutex_);
  return heads_;
}

std::vector<std::string> OtlpCollector::bodies() const {
  const std::lock_guard lock(mutex_);
  return bodies_;
}

std::vector<Json> OtlpCollector::spans() const {
  std::vector<Json> spans;
  for (const std::string& body : bodies())
    for (const Json& span : Json::parse(body)["resourceSpans"][0]["scopeSpans"][0]["spans"].items())
      spans.push_back(span);
  return spans;
}

bool OtlpCollector::wait_for_spans(size_t count, Milliseconds timeout) const {
  return wait_until([&] { return spans().size() >= count; }, timeout);
}

void OtlpCollector::serve() {
  while (!stopping_.load()) {
    pollfd poll_for{listener_.get(), POLLIN, 0};
    if (::poll(&poll_for, 1, kSliceMs) != 1) continue;
    const UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket) handle(socket.get());
  }
}

void OtlpCollector::handle(int socket) {
  std::string text;
  size_t head_size = 0;
  size_t body_size = 0;
  while (!stopping_.load() && (head_size == 0 || text.size() < head_size + body_size)) {
    pollfd poll_for{socket, POLLIN, 0};
    if (::poll(&poll_for, 1, kSliceMs) != 1) continue;
    char piece[65536];
    const ssize_t size = ::recv(socket, piece, sizeof piece, 0);
    if (size <= 0) return;
    text.append(piece, static_cast<size_t>(size));
    const size_t end = text.find("\r\n\r\n");
    if (head_size != 0 || end == std::string::npos) continue;
    head_size = end + 4;
    const size_t length = text.find("Content-Length: ");
    if (length < end) body_size = std::stoul(text.substr(length + 16));
  }
  if (text.empty()) return;
  std::string answer;
  {
    const std::lock_guard lock(mutex_);
    heads_.push_back(text.substr(0, head_size));
    bodies_.push_back(text.substr(head_size));
    answer = answer_;
  }
  while (hangs_.load() && !stopping_.load()) {
    pollfd poll_for{socket, POLLIN, 0};
    char byte = 0;
    if (::poll(&poll_for, 1, kSliceMs) == 1 && ::recv(socket, &byte, 1, 0) <= 0) return;  // it has given up
  }
  // The test is about who sends spans; what does not fit a socket's buffer at once is not an answer of ours.
  if (!answer.empty() && ::send(socket, answer.data(), answer.size(), MSG_NOSIGNAL) < 0) return;
  ::shutdown(socket, SHUT_WR);
}

::testing::AssertionResult is_trace_request(const std::string& body) {
  std::vector<std::string> wrong;
  try {
    const Json request = Json::parse(body);
    if (request.keys() != std::vector<std::string>{"resourceSpans"}) wrong.emplace_back("members of the request");
    const Json resource_spans = request["resourceSpans"][0];
    check_attributes(resource_spans["resource"]["attributes"], wrong);
    if (attribute(resource_spans["resource"], "service.name") != "transactions-service")
      wrong.emplace_back("service.name");
    if (attribute(resource_spans["resource"], "service.version") == "(none)") wrong.emplace_back("service.version");
    const Json scope_spans = resource_spans["scopeSpans"][0];
    if (scope_spans["scope"]["name"].text().empty()) wrong.emplace_back("scope");
    if (scope_spans["spans"].size() == 0) wrong.emplace_back("no spans");
    for (const Json& span : scope_spans["spans"].items()) check_span(span, wrong);
  } catch (const std::exception& error) {
    wrong.emplace_back(error.what());
  }
  if (wrong.empty()) return ::testing::AssertionSuccess();
  auto failure = ::testing::AssertionFailure();
  for (const std::string& what : wrong) failure << what << "\n";
  return failure << body;
}

std::string attribute(const Json& span, const std::string& key) {
  for (const Json& attribute : span["attributes"].items()) {
    if (attribute["key"].text() != key) continue;
    const Json value = attribute["value"];
    return value[value.keys().front()].text();
  }
  return "(none)";
}

}  // namespace txn::test
