#include "app/tracer.h"

#include "app/routes.h"
#include "core/json_writer.h"

namespace txn {
namespace {

// Of opentelemetry/proto/trace/v1/trace.proto.
constexpr std::string_view kInternal = "1";
constexpr std::string_view kServer = "2";
constexpr std::string_view kFlagsLocal = "257";   // sampled; it is known that the parent is not remote
constexpr std::string_view kFlagsRemote = "769";  // sampled; the parent is

constexpr uint64_t kRandomnessEnd = uint64_t{1} << 56;
constexpr int64_t kMillion = 1'000'000;

uint64_t least_randomness(int64_t sample_per_million) {
  if (sample_per_million >= kMillion) return 0;
  return kRandomnessEnd - kRandomnessEnd / kMillion * static_cast<uint64_t>(sample_per_million);
}

void append_string_attribute(std::string& out, std::string_view key, std::string_view value) {
  out += R"({"key":")";
  out += key;
  out += R"(","value":{"stringValue":)";
  append_json_string(out, value);
  out += "}},";
}

void append_int_attribute(std::string& out, std::string_view key, int64_t value) {
  out += R"({"key":")";
  out += key;
  out += R"(","value":{"intValue":")";
  append_json_int(out, value);
  out += R"("}},)";
}

// Methods that are none of ours are "_OTHER" there.
std::string_view method_name(Method method) { return method == Method::kOther ? "_OTHER" : to_string(method); }

}  // namespace

Tracer::Tracer(const Settings& settings, LineRing* spans, const Clock& clock)
    : settings_(settings),
      spans_(spans),
      clock_(clock),
      least_randomness_(least_randomness(settings.trace_sample_per_million)) {}

void Tracer::begin(RequestRecord& record, const HttpRequest* request) {
  if (request != nullptr) record.parent = find_traceparent(*request);
  record.trace_id = record.parent ? record.parent->trace_id : ids_.trace_id();
  if (spans_ == nullptr) return;
  record.traced = record.parent ? record.parent->sampled : randomness_of(record.trace_id) >= least_randomness_;
  if (request != nullptr && record.traced && record.parent) copy_tracestate(*request, record.tracestate);
}

void Tracer::on_answered(const Exchange& exchange, const RequestRecord& record, int status) {
  if (!record.traced) return;
  const SpanIdText id = ids_.span_id();
  append_server_span(exchange, record, status, id);
  spans_->push(text_);
  if (record.ledger_end_ns == 0) return;
  append_ledger_span(record, id);
  spans_->push(text_);
}

void Tracer::append_server_span(const Exchange& exchange, const RequestRecord& record, int status,
                                const SpanIdText& id) {
  begin_span(record, id, record.parent ? view_of(record.parent->span_id) : std::string_view());
  text_ += record.parent ? kFlagsRemote : kFlagsLocal;
  text_ += R"(,"name":")";
  text_ += exchange.method() == Method::kOther ? "HTTP" : to_string(exchange.method());
  if (record.route != nullptr) {
    text_ += ' ';
    text_ += record.route->pattern;
  }
  text_ += R"(","kind":)";
  text_ += kServer;
  append_times(exchange.received_ns(), clock_.read_ns());
  text_ += R"(,"attributes":[)";
  append_string_attribute(text_, "http.request.method", method_name(exchange.method()));
  append_string_attribute(text_, "url.scheme", exchange.is_over_tls() ? "https" : "http");
  if (record.route != nullptr) {
    append_string_attribute(text_, "http.route", record.route->pattern);
    append_string_attribute(text_, "url.path", record.route->pattern);
  }
  append_int_attribute(text_, "http.response.status_code", status);
  append_string_attribute(text_, "server.address", settings_.service_host);
  append_string_attribute(text_, "request_id", exchange.request_id());
  if (record.problem) append_string_attribute(text_, "error.type", problem_info(*record.problem).error_code);
  text_.back() = ']';
  // A server's span is an error only when the server is to blame.
  if (status >= 500) text_ += R"(,"status":{"code":2})";
  text_ += "}\n";
}

void Tracer::append_ledger_span(const RequestRecord& record, const SpanIdText& parent) {
  begin_span(record, ids_.span_id(), view_of(parent));
  text_ += kFlagsLocal;
  text_ += R"(,"name":"ledger","kind":)";
  text_ += kInternal;
  append_times(record.ledger_begin_ns, record.ledger_end_ns);
  text_ += R"(,"attributes":[)";
  append_string_attribute(text_, "db.system.name", "postgresql");
  append_string_attribute(text_, "transaction_type", to_string(record.movement->type));
  text_.back() = ']';
  text_ += "}\n";
}

// Everything up to the flags' value.
void Tracer::begin_span(const RequestRecord& record, const SpanIdText& id, std::string_view parent) {
  text_ = R"({"traceId":")";
  text_ += view_of(record.trace_id);
  text_ += R"(","spanId":")";
  text_ += view_of(id);
  if (!parent.empty()) {
    text_ += R"(","parentSpanId":")";
    text_ += parent;
  }
  text_ += '"';
  if (!record.tracestate.empty()) {
    text_ += R"(,"traceState":)";
    append_json_string(text_, record.tracestate);
  }
  text_ += R"(,"flags":)";
}

// Wall clock times out of the loop's: both were read at the same moment.
void Tracer::append_times(int64_t begin_ns, int64_t end_ns) {
  const int64_t offset_ns = clock_.wall_us() * 1000 - clock_.now_ns();
  text_ += R"(,"startTimeUnixNano":")";
  append_json_int(text_, offset_ns + begin_ns);
  text_ += R"(","endTimeUnixNano":")";
  append_json_int(text_, offset_ns + end_ns);
  text_ += '"';
}

}  // namespace txn
