#include "app/validate.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "app/pin.h"

namespace txn {
namespace {

enum Field : uint8_t {
  kAccountNumber,
  kFromAccount,
  kToAccount,
  kAmount,
  kTransferMode,
  kPin,
  kDescription,
  kFieldCount
};

constexpr std::array<std::string_view, kFieldCount> kNames = {"account_number", "from_account", "to_account", "amount",
                                                              "transfer_mode",  "pin",          "description"};

struct FieldRule {
  Field field;
  bool required;
};

constexpr FieldRule kDepositFields[] = {{kAccountNumber, true}, {kAmount, true}, {kDescription, false}};
constexpr FieldRule kWithdrawalFields[] = {
    {kAccountNumber, true}, {kAmount, true}, {kPin, false}, {kDescription, false}};
constexpr FieldRule kTransferFields[] = {{kFromAccount, true},   {kToAccount, true}, {kAmount, true},
                                         {kTransferMode, false}, {kPin, false},      {kDescription, false}};

constexpr std::span<const FieldRule> fields_of(OperationType type) {
  switch (type) {
    case OperationType::kDeposit:
      return kDepositFields;
    case OperationType::kWithdrawal:
      return kWithdrawalFields;
    case OperationType::kTransfer:
      return kTransferFields;
  }
  std::unreachable();
}

struct AmountRule {
  Money max;
  std::string_view too_much;
};

constexpr AmountRule amount_rule(OperationType type) {
  switch (type) {
    case OperationType::kDeposit:
      return {kDepositMax, "The amount of a deposit must not exceed 999999999.99"};
    case OperationType::kWithdrawal:
      return {kWithdrawalMax, "The amount of a withdrawal must not exceed 1000000.00"};
    case OperationType::kTransfer:
      return {kTransferMax, "The amount of a transfer must not exceed 1000000.00"};
  }
  std::unreachable();
}

std::string_view detail_of(JsonError error) {
  static_assert(BodyParser::kBodyBytesMax == 65536 && JsonReader::kDepthMax == 64 && JsonReader::kMembersMax == 64,
                "the texts below say so");
  switch (error) {
    case JsonError::kTooLong:
      return "The request body exceeds 65536 bytes";
    case JsonError::kEmpty:
      return "The request body is empty";
    case JsonError::kByteOrderMark:
      return "The request body begins with a byte order mark, which JSON may not";
    case JsonError::kNotUtf8:
      return "The request body is not valid UTF-8";
    case JsonError::kNotAnObject:
      return "The request body is not a JSON object";
    case JsonError::kTrailing:
      return "Something follows the JSON object in the request body";
    case JsonError::kRepeatedKey:
      return "The JSON object in the request body has a key twice";
    case JsonError::kTooDeep:
      return "The JSON in the request body is nested more than 64 levels deep";
    case JsonError::kTooManyMembers:
      return "The JSON object in the request body has more than 64 members";
    case JsonError::kSyntax:
    case JsonError::kNone:
      break;
  }
  return "The request body is not well-formed JSON";
}

// Fills an operation field by field and keeps what is wrong, by the order of precedence.
class Reading {
 public:
  Reading(OperationType type, char* scratch) : type_(type), scratch_(scratch) {
    operation_.type = type;
    if (type == OperationType::kTransfer) operation_.transfer_mode = TransferMode::kNeft;
  }

  void take(Field field, const JsonValue& value) {
    switch (field) {
      case kAccountNumber:
      case kFromAccount:
        return take_account(field, value, operation_.account_number);
      case kToAccount:
        return take_account(field, value, operation_.to_account);
      case kAmount:
        return take_amount(value);
      case kTransferMode:
        return take_transfer_mode(value);
      case kPin:
        return take_pin(value);
      case kDescription:
        return take_description(value);
      case kFieldCount:
        break;
    }
    std::unreachable();
  }

  void refuse(std::string_view field, std::string_view message) {
    if (fields_.size() < BodyError::kFieldsMax) {
      fields_.push_back({std::string(field.substr(0, BodyError::kFieldNameMax)), message});
    }
  }

  std::expected<Operation, BodyError> finish() && {
    using Kind = BodyError::Kind;
    if (!fields_.empty()) {
      return std::unexpected(BodyError{Kind::kValidation, "The request body is not valid", std::move(fields_)});
    }
    if (!wrong_amount_.empty()) return std::unexpected(BodyError{Kind::kInvalidAmount, wrong_amount_, {}});
    if (!wrong_mode_.empty()) return std::unexpected(BodyError{Kind::kInvalidTransferMode, wrong_mode_, {}});
    return std::move(operation_);
  }

 private:
  void take_account(Field field, const JsonValue& value, int64_t& to) {
    const bool is_integer =
        value.kind == JsonKind::kNumber && value.text.find_first_of(".eE") == std::string_view::npos;
    if (!is_integer) return refuse(kNames[field], "must be an integer");
    // The reader has checked the numeral, so the only thing left to go wrong is its size.
    to = parse_json_int(value.text).value_or(0);
    if (to < 1) refuse(kNames[field], "must be between 1 and 9223372036854775807");
  }

  void take_amount(const JsonValue& value) {
    const bool is_string = value.kind == JsonKind::kString;
    if (!is_string && value.kind != JsonKind::kNumber) return refuse("amount", "must be a number or a decimal string");
    const auto amount = parse_money(is_string ? string_of(value) : value.text);
    if (!amount) {
      switch (amount.error()) {
        case MoneyError::kNotANumber:
          return refuse("amount", "must be a number or a decimal string");
        case MoneyError::kTooManyDecimals:
          wrong_amount_ = "The amount must not have more than two decimals";
          return;
        case MoneyError::kOutOfRange:
          wrong_amount_ = value.text.starts_with('-') ? kNotAboveZero : amount_rule(type_).too_much;
          return;
      }
    }
    operation_.amount = *amount;
    if (*amount <= Money()) {
      wrong_amount_ = kNotAboveZero;
    } else if (*amount > amount_rule(type_).max) {
      wrong_amount_ = amount_rule(type_).too_much;
    }
  }

  void take_transfer_mode(const JsonValue& value) {
    if (value.kind == JsonKind::kNull) return;
    if (value.kind != JsonKind::kString) return refuse("transfer_mode", "must be a string");
    if (const auto mode = parse_transfer_mode(string_of(value))) {
      operation_.transfer_mode = *mode;
    } else {
      wrong_mode_ = "The transfer mode must be one of NEFT, RTGS, IMPS, UPI, CHEQUE";
    }
  }

  void take_pin(const JsonValue& value) {
    if (value.kind == JsonKind::kNull) return;
    if (value.kind != JsonKind::kString) return refuse("pin", "must be a string of 4 to 6 digits");
    const std::string_view pin = string_of(value);
    if (!is_valid_pin_format(pin)) return refuse("pin", "must be a string of 4 to 6 digits");
    operation_.pin.emplace(pin);
  }

  void take_description(const JsonValue& value) {
    if (value.kind == JsonKind::kNull) return;
    if (value.kind != JsonKind::kString) return refuse("description", "must be a string");
    const UnescapedJson text = unescape_json(value.text, scratch_);
    if (text.characters > kDescriptionCharactersMax) return refuse("description", "must not exceed 255 characters");
    if (text.has_nul) return refuse("description", "must not contain U+0000");
    if (text.has_lone_surrogate) return refuse("description", "must not contain a lone surrogate");
    operation_.description.assign(scratch_, text.length);
  }

  // Valid until the next one.
  std::string_view string_of(const JsonValue& value) {
    return value.escaped ? std::string_view(scratch_, unescape_json(value.text, scratch_).length) : value.text;
  }

  static constexpr std::string_view kNotAboveZero = "The amount must be greater than zero";

  const OperationType type_;
  char* const scratch_;
  Operation operation_;
  std::vector<FieldError> fields_;
  std::string_view wrong_amount_;
  std::string_view wrong_mode_;
};

}  // namespace

BodyParser::BodyParser() : reader_(kBodyBytesMax), text_(new char[kBodyBytesMax]) {}

std::expected<Operation, BodyError> BodyParser::parse_deposit(std::string_view body) {
  return parse(OperationType::kDeposit, body);
}
std::expected<Operation, BodyError> BodyParser::parse_withdrawal(std::string_view body) {
  return parse(OperationType::kWithdrawal, body);
}
std::expected<Operation, BodyError> BodyParser::parse_transfer(std::string_view body) {
  return parse(OperationType::kTransfer, body);
}

std::expected<Operation, BodyError> BodyParser::parse(OperationType type, std::string_view body) {
  const auto members = reader_.read(body);
  if (!members) return std::unexpected(BodyError{BodyError::Kind::kMalformedJson, detail_of(reader_.error()), {}});

  Reading reading(type, text_.get());
  size_t known = 0;
  for (const auto& [field, required] : fields_of(type)) {
    const auto member = std::ranges::find(*members, kNames[field], &JsonMember::key);
    if (member != members->end()) {
      reading.take(field, member->value);
      ++known;
    } else if (required) {
      reading.refuse(kNames[field], "is required");
    }
  }
  if (known < members->size()) {
    for (const JsonMember& member : *members) {
      const auto names = [&](const FieldRule& rule) { return kNames[rule.field] == member.key; };
      if (std::ranges::none_of(fields_of(type), names)) reading.refuse(member.key, "is not a known field");
    }
  }
  return std::move(reading).finish();
}

}  // namespace txn
