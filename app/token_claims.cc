#include "app/token_claims.h"

#include <algorithm>
#include <chrono>

#include "app/json_number.h"
#include "core/check.h"

namespace txn {
namespace {

// Whether a member `name` is the claim `path` or leads to it.
bool leads_to(std::string_view name, std::string_view path) {
  return path.starts_with(name) && (name.size() == path.size() || path[name.size()] == '.');
}

// The member to follow on the way to a claim: the longest name among those that are offered.
class Step {
 public:
  explicit Step(std::string_view path) : path_(path) {}

  void offer(std::string_view name, const JsonValue& value) {
    if (!leads_to(name, path_)) return;
    if (name.size() != path_.size() && value.kind != JsonKind::kObject) return;
    if (value_ && name.size() < taken_) return;
    is_twice_ = value_ && name.size() == taken_;
    taken_ = name.size();
    value_ = value;
  }

  bool is_twice() const { return is_twice_; }
  const std::optional<JsonValue>& value() const { return value_; }
  // Of the path, what is to be looked for within value(). REQUIRES: not is_whole().
  std::string_view rest() const { return path_.substr(taken_ + 1); }
  bool is_whole() const { return taken_ == path_.size(); }

 private:
  std::string_view path_;
  std::optional<JsonValue> value_;
  size_t taken_ = 0;
  bool is_twice_ = false;
};

// Whole seconds of a NumericDate (RFC 7519 section 2).
std::optional<int64_t> seconds_of(const JsonValue& value) {
  if (value.kind != JsonKind::kNumber) return std::nullopt;
  return whole_number(value.text).value;
}

bool is_digits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

TokenPolicy token_policy(const Settings& settings) {
  TokenPolicy policy{.issuer = settings.jwt_issuer,
                     .audience = settings.jwt_audience,
                     .leeway_seconds = std::chrono::duration_cast<std::chrono::seconds>(settings.jwt_leeway).count(),
                     .subject_claim = settings.jwt_subject_claim,
                     .role_claim = settings.jwt_role_claim};
  for (const RoleName& name : settings.jwt_role_map) {
    const auto role = parse_role(name.role);
    CHECK(role.has_value(), "the settings were validated before");
    policy.roles.emplace_back(name.name, *role);
  }
  return policy;
}

std::expected<std::optional<JsonValue>, TokenError> find_claim(std::span<const JsonMember> members,
                                                               std::string_view name, JsonUnescaper& room) {
  Step step(name);
  for (const auto& [key, value] : members) step.offer(key, value);  // none of these is named twice
  while (step.value() && !step.is_whole()) {
    Step next(step.rest());
    JsonFields fields(step.value()->text);
    while (const auto field = fields.next()) next.offer(room.unescaped(field->key), field->value);
    if (next.is_twice()) return std::unexpected(TokenError::kPayloadUnreadable);
    step = next;
  }
  return step.value();
}

ClaimReader::ClaimReader(TokenPolicy policy, JsonUnescaper& room)
    : policy_(std::move(policy)),
      texts_(policy_.subject_claim.empty() ? "sub" : policy_.subject_claim, policy_.role_claim),
      room_(room) {}

std::expected<TokenStatement, TokenError> ClaimReader::read(std::span<const JsonMember> members) {
  const JsonValue *exp = nullptr, *nbf = nullptr, *iat = nullptr, *iss = nullptr, *aud = nullptr, *user_id = nullptr,
                  *sub = nullptr;
  const std::pair<std::string_view, const JsonValue**> kKnown[] = {
      {"exp", &exp}, {"nbf", &nbf}, {"iat", &iat}, {"iss", &iss}, {"aud", &aud}, {"user_id", &user_id}, {"sub", &sub}};
  for (const auto& [key, value] : members) {
    for (const auto& [name, place] : kKnown) {
      if (key == name) *place = &value;
    }
  }
  const auto wrong = [](TokenError error) { return std::unexpected(error); };

  TokenStatement statement;
  if (exp == nullptr) return wrong(TokenError::kExpMissing);
  const auto expires = seconds_of(*exp);
  if (!expires) return wrong(TokenError::kExpNotANumber);
  statement.principal.expires_at = *expires;
  for (const auto& [value, error] :
       {std::pair(nbf, TokenError::kNbfNotANumber), std::pair(iat, TokenError::kIatNotANumber)}) {
    if (value == nullptr) continue;
    const auto begins = seconds_of(*value);
    if (!begins) return wrong(error);
    statement.valid_from = std::max(statement.valid_from, *begins);
  }

  if (!policy_.issuer.empty()) {
    if (iss == nullptr) return wrong(TokenError::kIssuerMissing);
    if (iss->kind != JsonKind::kString || room_.unescaped(*iss) != policy_.issuer)
      return wrong(TokenError::kIssuerOther);
  }
  if (!policy_.audience.empty()) {
    if (aud == nullptr) return wrong(TokenError::kAudienceMissing);
    if (!audience_holds(*aud)) return wrong(TokenError::kAudienceOther);
  }

  const auto subject = subject_of(members, user_id, sub);
  if (!subject) return wrong(subject.error());
  statement.principal.subject = *subject;
  const auto role = role_of(members);
  if (!role) return wrong(role.error());
  statement.principal.role = *role;
  return statement;
}

ClaimReader::Number ClaimReader::number_of(const JsonValue& value) {
  if (value.kind == JsonKind::kNumber) {
    const WholeNumber number = whole_number(value.text);
    const bool is_subject = !number.has_fraction && !number.is_beyond && number.value > 0;
    return {.is_number = true, .subject = is_subject ? number.value : 0};
  }
  if (value.kind != JsonKind::kString) return {};
  const std::string_view digits = room_.unescaped(value);
  if (!is_digits(digits)) return {};
  return {.is_number = true, .subject = digits.starts_with('0') ? 0 : parse_json_int(digits).value_or(0)};
}

std::expected<int64_t, TokenError> ClaimReader::subject_of(std::span<const JsonMember> members,
                                                           const JsonValue* user_id, const JsonValue* sub) {
  std::optional<JsonValue> configured;
  if (!policy_.subject_claim.empty()) {
    const auto claim = find_claim(members, policy_.subject_claim, room_);
    if (!claim) return std::unexpected(claim.error());
    configured = *claim;
    sub = configured ? &*configured : nullptr;
    user_id = nullptr;
  }
  if (user_id == nullptr) {
    if (sub == nullptr) return std::unexpected(TokenError::kSubjectMissing);
    const Number number = number_of(*sub);
    if (number.subject == 0) return std::unexpected(TokenError::kSubjectNotAnInteger);
    return number.subject;
  }
  const Number number = number_of(*user_id);
  if (number.subject == 0) return std::unexpected(TokenError::kUserIdNotAnInteger);
  if (sub != nullptr) {
    const Number other = number_of(*sub);
    if (other.is_number && other.subject != number.subject) return std::unexpected(TokenError::kSubjectsDiffer);
  }
  return number.subject;
}

std::expected<Role, TokenError> ClaimReader::role_of(std::span<const JsonMember> members) {
  const auto claim = find_claim(members, policy_.role_claim, room_);
  if (!claim) return std::unexpected(claim.error());
  if (!*claim) return std::unexpected(TokenError::kRoleMissing);
  const JsonValue& value = **claim;
  std::optional<Role> best;
  const auto consider = [&](const JsonValue& name) {
    const auto role = role_named(room_.unescaped(name));
    // The enum's order is that of rights, the most last.
    if (role && (!best || *role > *best)) best = role;
  };
  if (value.kind == JsonKind::kString) {
    consider(value);
  } else if (value.kind == JsonKind::kArray) {
    JsonElements elements(value.text);
    while (const auto element = elements.next()) {
      if (element->kind != JsonKind::kString) return std::unexpected(TokenError::kRoleNotText);
      consider(*element);
    }
  } else {
    return std::unexpected(TokenError::kRoleNotText);
  }
  if (!best) return std::unexpected(TokenError::kRoleUnknown);
  return *best;
}

std::optional<Role> ClaimReader::role_named(std::string_view name) const {
  if (policy_.roles.empty()) return parse_role(name);
  for (const auto& [known, role] : policy_.roles) {
    if (known == name) return role;
  }
  return std::nullopt;
}

// RFC 7519 section 4.1.3: one string or an array of strings.
bool ClaimReader::audience_holds(const JsonValue& value) {
  if (value.kind == JsonKind::kString) return room_.unescaped(value) == policy_.audience;
  if (value.kind != JsonKind::kArray) return false;
  bool found = false;
  JsonElements elements(value.text);
  while (const auto element = elements.next()) {
    if (element->kind != JsonKind::kString) return false;
    found = found || room_.unescaped(*element) == policy_.audience;
  }
  return found;
}

}  // namespace txn
