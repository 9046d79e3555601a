#include "app/request_log.h"

#include <arpa/inet.h>

#include <charconv>
#include <iterator>

#include "app/auth.h"
#include "app/routes.h"
#include "core/log.h"

namespace txn {
namespace {

LogLevel level_of_status(int status) { return status >= 500 ? LogLevel::kWarning : LogLevel::kInfo; }

// "192.0.2.1" or "2001:db8::1".
class AddressText {
 public:
  explicit AddressText(const IpAddress& address) {
    if (address.is_ipv4()) {
      // inet_ntop() goes through sprintf(): ten times as long, in every line.
      char* out = text_;
      for (size_t i = 12; i < 16; ++i) {
        if (i > 12) *out++ = '.';
        out = std::to_chars(out, std::end(text_), address.bytes[i]).ptr;
      }
      size_ = static_cast<size_t>(out - text_);
    } else {
      size_ = std::string_view(inet_ntop(AF_INET6, address.bytes.data(), text_, sizeof text_)).size();
    }
  }
  std::string_view view() const { return {text_, size_}; }

 private:
  char text_[INET6_ADDRSTRLEN];
  size_t size_ = 0;
};

// What became of a request to move money, in a word.
std::string_view outcome_of(const RequestRecord& record, int status) {
  if (status == 200) return "success";
  if (record.problem == Problem::kOutcomeUnknown) return "unknown";
  return status >= 500 ? "failed" : "refused";
}

void add_who(LogLine& line, const RequestRecord& record) {
  if (record.caller) line.field("subject", record.caller->subject).field("role", to_string(record.caller->role));
  line.field("client_address", AddressText(record.client).view());
}

void add_how_it_ended(LogLine& line, const Exchange& exchange, const RequestRecord& record, int status,
                      int64_t now_ns) {
  line.field("status", status);
  if (record.problem) line.field("error_code", problem_info(*record.problem).error_code);
  if (!record.reason.empty()) line.field("reason", record.reason);
  if (!exchange.has_client()) line.field("client_gone", true);
  line.duration_field("duration_ms", now_ns - exchange.received_ns());
}

}  // namespace

void RequestLog::on_answered(const Exchange& exchange, const RequestRecord& record, int status) {
  if (record.route != nullptr && record.route->access == Access::kMoneyMover) {
    audit(exchange, record, status);
  } else if (wants_access_line(status)) {
    access(exchange, record, status);
  }
}

bool RequestLog::wants_access_line(int status) {
  switch (access_.kind) {
    case AccessLog::Kind::kNone:
      return false;
    case AccessLog::Kind::kErrors:
      return status >= 400;
    case AccessLog::Kind::kAll:
      return true;
    case AccessLog::Kind::kSample:
      return status >= 400 || answers_++ % access_.every == 0;
  }
  return false;
}

void RequestLog::audit(const Exchange& exchange, const RequestRecord& record, int status) const {
  const LogLevel level = level_of_status(status);
  if (!log_enabled(level)) return;
  LogLine line(level, "audit", "Money movement");
  line.field("request_id", exchange.request_id()).field("trace_id", view_of(record.trace_id));
  line.field("outcome", outcome_of(record, status));
  if (const auto& movement = record.movement) {
    if (movement->transaction_id != 0) line.field("transaction_id", movement->transaction_id);
    line.field("transaction_type", to_string(movement->type)).field("account_number", movement->account_number);
    if (movement->type == OperationType::kTransfer)
      line.field("to_account", movement->to_account).field("transfer_mode", to_string(movement->transfer_mode));
    line.field("amount", movement->amount);
  } else {
    line.field("route", record.route->pattern);  // refused before it was known what was wanted
  }
  line.field("replayed", record.movement && record.movement->replayed);
  add_who(line, record);
  add_how_it_ended(line, exchange, record, status, clock_.read_ns());
}

void RequestLog::access(const Exchange& exchange, const RequestRecord& record, int status) const {
  const LogLevel level = level_of_status(status);
  if (!log_enabled(level)) return;
  LogLine line(level, "access", "Request answered");
  line.field("request_id", exchange.request_id()).field("trace_id", view_of(record.trace_id));
  line.field("method", to_string(exchange.method()));
  if (record.route != nullptr) line.field("route", record.route->pattern);
  add_who(line, record);
  add_how_it_ended(line, exchange, record, status, clock_.read_ns());
}

}  // namespace txn
