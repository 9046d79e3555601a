// Request bodies to operations: JSON, types and domains. What the books think of an operation is app/rules.h.
//
//   deposit     account_number, amount, description?
//   withdrawal  account_number, amount, pin?, description?
//   transfer    from_account, to_account, amount, transfer_mode?, pin?, description?
//
//   account_number, from_account, to_account   JSON integer, 1 to 2^63-1, spelt without fraction or exponent
//   amount         JSON number or a string holding one; above zero, at most two decimals, up to the operation's limit
//   transfer_mode  one of the names, in capitals; NEFT when absent, and null is as good as absent
//   pin            string of 4 to 6 digits; null is as good as absent
//   description    string of up to 255 characters (code points) that PostgreSQL can store, hence no U+0000 and no
//                  lone surrogate; null is as good as absent
#pragma once

#include <expected>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "app/json_reader.h"
#include "core/money.h"
#include "db/ledger_rows.h"

namespace txn {

inline constexpr Money kDepositMax = Money::from_minor(999'999'999'99);
inline constexpr Money kWithdrawalMax = Money::from_minor(1'000'000'00);
inline constexpr Money kTransferMax = Money::from_minor(1'000'000'00);
inline constexpr size_t kDescriptionCharactersMax = 255;

struct FieldError {
  std::string field;         // as the client spelt it, hence of any content; at most kFieldNameMax bytes of it
  std::string_view message;  // a literal
};

// A body that is not an operation. When several things are wrong with it, the first of the kinds below is told.
struct BodyError {
  enum class Kind {
    kMalformedJson,        // not exactly one JSON object in valid UTF-8, or a key twice
    kValidation,           // `fields` has every field that is missing, unknown, of a wrong type or out of its domain
    kInvalidAmount,        // a number, but not above zero, finer than two decimals or beyond the operation's limit
    kInvalidTransferMode,  // a string, but not one of the modes
  };
  static constexpr size_t kFieldsMax = 16;
  static constexpr size_t kFieldNameMax = 64;

  Kind kind = Kind::kMalformedJson;
  std::string_view detail;         // one sentence for a person, a literal
  std::vector<FieldError> fields;  // kValidation only; the known fields in the order above, then unknown ones
};

// One per thread. Allocates at construction; parsing does only for what the result owns.
class BodyParser {
 public:
  static constexpr size_t kBodyBytesMax = 64 * 1024;  // a longer body is kMalformedJson; HTTP has refused it before

  BodyParser();

  // The operation that `body` asks for. It borrows nothing, and its caller_role and caller_id are left to be filled in.
  std::expected<Operation, BodyError> parse_deposit(std::string_view body);
  std::expected<Operation, BodyError> parse_withdrawal(std::string_view body);
  std::expected<Operation, BodyError> parse_transfer(std::string_view body);

 private:
  std::expected<Operation, BodyError> parse(OperationType type, std::string_view body);

  JsonReader reader_;
  std::unique_ptr<char[]> text_;  // where the string in hand is unescaped to
};

}  // namespace txn
