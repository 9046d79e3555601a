// Request bodies. What is taken has known fields only, lies in its domain, is valid JSON in simdjson's opinion as well,
// and comes out the same when the operation is written as JSON and read again.
//
// Input: which operation, then the body.
#include <simdjson.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "app/json_reader.h"
#include "app/pin.h"
#include "app/validate.h"
#include "core/check.h"
#include "core/json_writer.h"
#include "tests/fuzz/fuzz_input.h"

namespace txn {
namespace {

std::string to_json(const Operation& operation) {
  std::string out = "{";
  if (operation.type == OperationType::kTransfer) {
    out += "\"from_account\":";
    append_json_int(out, operation.account_number);
    out += ",\"to_account\":";
    append_json_int(out, operation.to_account);
    out += ",\"transfer_mode\":";
    append_json_string(out, to_string(operation.transfer_mode));
  } else {
    out += "\"account_number\":";
    append_json_int(out, operation.account_number);
  }
  out += ",\"amount\":";
  append_json_money(out, operation.amount);
  out += ",\"description\":";
  append_json_string(out, operation.description);
  if (operation.pin) {
    out += ",\"pin\":";
    append_json_string(out, *operation.pin);
  }
  return out + "}";
}

auto parse(BodyParser& parser, OperationType type, std::string_view body) {
  switch (type) {
    case OperationType::kDeposit:
      return parser.parse_deposit(body);
    case OperationType::kWithdrawal:
      return parser.parse_withdrawal(body);
    default:
      return parser.parse_transfer(body);
  }
}

bool is_known(OperationType type, std::string_view field) {
  if (field == "amount" || field == "description") return true;
  if (field == "pin") return type != OperationType::kDeposit;
  if (type == OperationType::kTransfer)
    return field == "from_account" || field == "to_account" || field == "transfer_mode";
  return field == "account_number";
}

void check_domain(const Operation& operation) {
  const bool is_transfer = operation.type == OperationType::kTransfer;
  CHECK(operation.account_number > 0, "account numbers are positive");
  CHECK(is_transfer ? operation.to_account > 0 : operation.to_account == 0, "only a transfer has a payee");
  CHECK(operation.amount > Money(), "amounts are positive");
  CHECK(operation.amount <= (operation.type == OperationType::kDeposit ? kDepositMax : kTransferMax), "and bounded");
  CHECK((operation.transfer_mode != TransferMode::kNone) == is_transfer, "only a transfer has a mode");
  CHECK(simdjson::validate_utf8(operation.description), "descriptions are UTF-8");
  const auto characters = std::ranges::count_if(operation.description, [](char c) { return (c & 0xC0) != 0x80; });
  CHECK(static_cast<size_t>(characters) <= kDescriptionCharactersMax, "descriptions are short");
  CHECK(operation.description.find('\0') == std::string::npos, "descriptions have no NUL");
  if (operation.pin) CHECK(is_valid_pin_format(*operation.pin), "a PIN is 4 to 6 digits");
}

}  // namespace
}  // namespace txn

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace txn;
  static BodyParser parser;
  static JsonReader reader(BodyParser::kBodyBytesMax);
  static simdjson::dom::parser second_opinion;

  fuzz::FuzzInput input(data, size);
  const auto type = static_cast<OperationType>(input.byte() % 3);
  const std::string_view body = input.rest();

  const auto members = reader.read(body);
  simdjson::dom::element document;
  const auto verdict = second_opinion.parse(body.data(), body.size()).get(document);
  // Numbers that no double can hold are good JSON all the same, and so are lone surrogates (RFC 8259 section 8.2).
  if (members && verdict != simdjson::NUMBER_ERROR && verdict != simdjson::STRING_ERROR) {
    CHECK(verdict == simdjson::SUCCESS, "taken, and simdjson's other parser refuses it");
    CHECK(document.is_object(), "taken, and not an object");
    CHECK(document.get_object().size() == members->size(), "the members are as many");
  }

  const auto operation = parse(parser, type, body);
  if (!operation) {
    const BodyError& error = operation.error();
    CHECK((error.kind == BodyError::Kind::kMalformedJson) == !members, "malformed is what the reader refuses");
    CHECK((error.kind == BodyError::Kind::kValidation) == !error.fields.empty(), "fields are named");
    CHECK(error.fields.size() <= BodyError::kFieldsMax, "not too many");
    for (const FieldError& field : error.fields) CHECK(field.field.size() <= BodyError::kFieldNameMax, "not too long");
    return 0;
  }
  CHECK(members.has_value(), "an operation comes from an object");
  const auto again_members = reader.read(body);
  for (const JsonMember& member : *again_members) CHECK(is_known(type, member.key), "an unknown field was taken");
  check_domain(*operation);
  const std::string written = to_json(*operation);
  const auto again = parse(parser, type, written);
  CHECK(again.has_value(), "what was taken is taken again");
  CHECK(to_json(*again) == written, "and is the same");
  return 0;
}
