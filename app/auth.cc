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

std::expected<Principal, AuthRefusal> authenticate(Context& context, const HttpRequest& request) {
  const auto header = request.find(KnownHeader::kAuthorization);
  if (!header || header->empty()) return std::unexpected(AuthRefusal{});
  std::string_view token = *header;
  if (token.size() <= kScheme.size() || !equals_ignore_case(token.substr(0, kScheme.size()), kScheme) ||
      token[kScheme.size()] != ' ')
    return std::unexpected(AuthRefusal{.problem = Problem::kInvalidToken,
                                       .detail = "The Authorization header is not the word Bearer and a token",
                                       .reason = "the Authorization header is not the word Bearer and a token"});
  token.remove_prefix(kScheme.size());
  while (!token.empty() && token.front() == ' ') token.remove_prefix(1);  // RFC 9110 section 11.4: 1*SP

  const auto principal = context.tokens.verify(token, context.clock.wall_us() / 1'000'000);
  if (principal) return *principal;
  const TokenErrorTexts& texts = context.tokens.texts();
  return std::unexpected(AuthRefusal{.problem = problem_of(principal.error()),
                                     .detail = texts.detail(principal.error()),
                                     .reason = texts.reason(principal.error())});
}

}  // namespace txn
