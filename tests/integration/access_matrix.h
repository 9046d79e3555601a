// Who may do what: a row for every route of app/routes.cc, by whose account it is about. tests/app/routes_test.cc holds
// it against that table, so that no route can be added without saying here who may use it; access_matrix_test.cc asks
// the service.
#pragma once

#include <string_view>

namespace txn::test {

enum class Whose {
  kNobodys,  // about no account
  kOwn,      // about the calling customer's
  kOthers,   // about another customer's
};

struct AccessRow {
  std::string_view method;
  std::string_view pattern;
  Whose whose;
  // The status that each gets: 200 or 403. Somebody without a token gets 403 unless the route is public.
  int customer;
  int teller;
  int admin;
  bool is_public = false;
};

inline constexpr AccessRow kAccessMatrix[] = {
    {"POST", "/api/v1/deposits", Whose::kOwn, 200, 200, 403},
    {"POST", "/api/v1/deposits", Whose::kOthers, 403, 200, 403},
    {"POST", "/api/v1/withdrawals", Whose::kOwn, 200, 200, 403},
    {"POST", "/api/v1/withdrawals", Whose::kOthers, 403, 200, 403},
    {"POST", "/api/v1/transfers", Whose::kOwn, 200, 200, 403},
    {"POST", "/api/v1/transfers", Whose::kOthers, 403, 200, 403},

    {"GET", "/transfer-limits/{privilege_level}", Whose::kNobodys, 200, 200, 200},
    {"GET", "/api/v1/transfer-limits/rules/all", Whose::kNobodys, 403, 200, 200},
    {"GET", "/api/v1/transfer-limits/{account_number}", Whose::kOwn, 200, 200, 200},
    {"GET", "/api/v1/transfer-limits/{account_number}", Whose::kOthers, 403, 200, 200},

    {"GET", "/transaction-logs/{account_number}", Whose::kOwn, 200, 200, 200},
    {"GET", "/transaction-logs/{account_number}", Whose::kOthers, 403, 200, 200},
    {"GET", "/api/v1/transaction-logs/{account_number}", Whose::kOwn, 200, 200, 200},
    {"GET", "/api/v1/transaction-logs/{account_number}", Whose::kOthers, 403, 200, 200},
    {"GET", "/api/v1/transaction-logs/transaction/{transaction_id}", Whose::kOwn, 200, 200, 200},
    {"GET", "/api/v1/transaction-logs/transaction/{transaction_id}", Whose::kOthers, 403, 200, 200},

    {"GET", "/api/v1/docs", Whose::kNobodys, 200, 200, 200, true},
    {"GET", "/health", Whose::kNobodys, 200, 200, 200, true},
    {"GET", "/livez", Whose::kNobodys, 200, 200, 200, true},
    {"GET", "/readyz", Whose::kNobodys, 200, 200, 200, true},
    {"GET", "/metrics", Whose::kNobodys, 200, 200, 200, true},
};

}  // namespace txn::test
