// What a token says about its bearer: from claims (RFC 7519 section 4), wherever the identity provider puts them, to a
// subject, a role and the times between which it holds. The signature has been verified before.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "app/json_reader.h"
#include "app/token_cache.h"
#include "app/token_error.h"
#include "core/config.h"
#include "core/error.h"
#include "db/ledger_rows.h"

namespace txn {

// Which tokens are meant for us, and where they say who is asking.
struct TokenPolicy {
  std::string issuer = {};         // `iss` must be this; empty: not asked for
  std::string audience = {};       // `aud` must be or contain this; empty: a token's `aud` is not looked at
  int64_t leeway_seconds = 30;     // by how much clocks may differ, 0 to kTokenLeewayMax
  std::string subject_claim = {};  // empty: `user_id`, else `sub`
  std::string role_claim = "role";
  std::vector<std::pair<std::string, Role>> roles = {};  // what they are called; empty: CUSTOMER, TELLER, ADMIN
};

// Out of the settings JWT_*, which load_settings() has validated.
TokenPolicy token_policy(const Settings& settings);

// The claim that `name` means among `members`, which are of a validated object: the member of that name, else the name
// is taken for a path with dots, `realm_access.roles`, and followed into objects. Names may themselves have dots in
// them
// (`https://bank.example/roles`, `resource_access.bank.api.roles`): at each step the longest that is there counts.
// Nothing when there is none. kPayloadUnreadable when an object on the way has the name twice. Unescapes into `room`.
std::expected<std::optional<JsonValue>, TokenError> find_claim(std::span<const JsonMember> members,
                                                               std::string_view name, JsonUnescaper& room);

// One per thread. Allocates nothing after construction.
class ClaimReader {
 public:
  // `room` is for claims as long as a token may be, and has to outlive the reader.
  ClaimReader(TokenPolicy policy, JsonUnescaper& room);

  // Looked at in this order, the first that is wrong answers:
  //
  //   `exp`      a number, required; `nbf`, `iat`: numbers, if they are there. A fraction is cut off, and what is
  //   beyond 64
  //              bits is the far future or the far past
  //   `iss`      the policy's, a string; `aud`: a string or a list of strings with the policy's among them
  //   subject    an integer above zero or its digits as a string: the policy's claim, or by default `user_id`, else
  //   `sub`.
  //              When both are there and `sub` is a number too, they have to agree; a `sub` that is none (a UUID) says
  //              nothing here
  //   role       the policy's claim: a string or a list of strings. Of several that name a role the one with most
  //   rights
  //              counts, ADMIN before TELLER before CUSTOMER; names that are none are passed over
  //
  // Numbers and strings count by their value, not by their spelling. Whether the times hold now is for the caller to
  // say.
  std::expected<TokenStatement, TokenError> read(std::span<const JsonMember> members);

  const TokenPolicy& policy() const { return policy_; }
  const TokenErrorTexts& texts() const { return texts_; }

 private:
  // What a claim says as a subject.
  struct Number {
    bool is_number = false;  // a number or digits, whether or not it can be a subject
    int64_t subject = 0;     // 0: cannot
  };
  Number number_of(const JsonValue& value);

  bool audience_holds(const JsonValue& value);
  std::expected<int64_t, TokenError> subject_of(std::span<const JsonMember> members, const JsonValue* user_id,
                                                const JsonValue* sub);
  std::expected<Role, TokenError> role_of(std::span<const JsonMember> members);
  std::optional<Role> role_named(std::string_view name) const;

  const TokenPolicy policy_;
  const TokenErrorTexts texts_;
  JsonUnescaper& room_;
};

}  // namespace txn
