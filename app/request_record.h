// What the service remembers of a request until its answer leaves: for the audit, access lines, metrics and traces.
//
// Handlers and the functions on their way fill it in as they find out; whoever reports on requests reads it in
// Service::on_answer, which comes exactly once for every request and everything that was none.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "app/problem.h"
#include "app/token.h"
#include "core/money.h"
#include "db/ledger_rows.h"
#include "net/client_address.h"
#include "net/exchange.h"
#include "net/trace_context.h"

namespace txn {

struct Route;

// A movement of money, as far as the body could be read. Neither PIN nor description: they are nobody's business.
struct Movement {
  OperationType type = OperationType::kDeposit;
  TransferMode transfer_mode = TransferMode::kNone;
  int64_t account_number = 0;
  int64_t to_account = 0;  // 0: none
  Money amount;
  int64_t transaction_id = 0;  // 0: none, as with refusals
  bool replayed = false;       // answered from an earlier request with the same Idempotency-Key
};

// Belongs to its exchange, which uses it for one request after another.
struct RequestRecord final : ExchangeData {
  // Everything below, for the next request.
  void clear();

  IpAddress client;                 // by TRUSTED_PROXIES
  const Route* route = nullptr;     // nullptr: no path of ours, or bytes that are no request
  std::optional<Principal> caller;  // who has proved to be asking
  std::optional<Movement> movement;
  std::optional<Problem> problem;  // the error that is answered
  std::string_view reason;         // lives as long as the worker; for the log: why, where error_code alone does not say

  TraceIdText trace_id{};             // the caller's, else a new one
  std::optional<TraceParent> parent;  // as the caller sent it
  bool traced = false;                // a span is to be made; the next three are for it
  std::string tracestate;
  int64_t ledger_begin_ns = 0;  // the loop's clock: given to the ledger, 0 never
  int64_t ledger_end_ns = 0;    // and its outcome known
};

inline RequestRecord& record_of(const Exchange& exchange) { return static_cast<RequestRecord&>(exchange.data()); }

}  // namespace txn
