#include "app/auth.h"

#include "net/ascii.h"

namespace txn {
namespace {

constexpr std::string_view kScheme = "bearer";

}  // namespace

bool may_call(Role role, Access access) {
  switch (access) {
    case Access::kPublic:
    case Access::kAnyRole:
      return true;
    case Access::kMoneyMover:
      return role == Role::kCustomer || role == Role::kTeller;
    case Access::kStaff:
      return role == Role::kTeller || role == Role::kAdmin;
  }
  return false;
}

std::expected<Principal, Problem> authenticate(Context& context, const HttpRequest& request) {
  const auto header = request.find(KnownHeader::kAuthorization);
  if (!header || header->empty()) return std::unexpected(Problem::kNotAuthenticated);
  std::string_view token = *header;
  if (token.size() <= kScheme.size() || !equals_ignore_case(token.substr(0, kScheme.size()), kScheme) ||
      token[kScheme.size()] != ' ')
    return std::unexpected(Problem::kInvalidToken);
  token.remove_prefix(kScheme.size());
  while (!token.empty() && token.front() == ' ') token.remove_prefix(1);  // RFC 9110 section 11.4: 1*SP

  auto principal = context.tokens.verify(token, context.clock.wall_us() / 1'000'000);
  if (!principal) return std::unexpected(problem_of(principal.error()));
  return *principal;
}

}  // namespace txn
