// From a request's Authorization header to who is asking (RFC 6750), and what each role may do.
#pragma once

#include <expected>
#include <string_view>

#include "app/context.h"
#include "app/problem.h"
#include "app/token.h"
#include "net/http_request.h"

namespace txn {

// Who may call a route. Ownership of accounts is looked at by the handler, or by the rules under lock.
enum class Access : uint8_t {
  kPublic,
  kAnyRole,
  kMoneyMover,  // CUSTOMER, TELLER
  kStaff,       // TELLER, ADMIN
};

bool may_call(Role role, Access access);

// Why a request is nobody's.
struct AuthRefusal {
  Problem problem = Problem::kNotAuthenticated;
  // Views of what lives as long as the worker; empty: the problem says it all.
  std::string_view detail;  // for the client
  std::string_view reason;  // for the log; never anything out of the token
};

// kNotAuthenticated without credentials, kInvalidToken or kTokenExpired for those that do not hold.
std::expected<Principal, AuthRefusal> authenticate(Context& context, const HttpRequest& request);

}  // namespace txn
