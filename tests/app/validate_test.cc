#include "app/validate.h"

#include <gtest/gtest.h>

#include <string>

namespace txn {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;
using Kind = BodyError::Kind;

// "field: message" a line.
std::string text_of(const BodyError& error) {
  std::string text;
  for (const auto& [field, message] : error.fields) text += field + ": " + std::string(message) + "\n";
  return text;
}

class ValidateTest : public testing::Test {
 protected:
  void expect_error(const std::expected<Operation, BodyError>& result, Kind kind, std::string_view fields,
                    std::string_view body) {
    ASSERT_FALSE(result.has_value()) << body;
    EXPECT_EQ(result.error().kind, kind) << body << "\n" << text_of(result.error());
    EXPECT_EQ(text_of(result.error()), fields) << body;
    EXPECT_FALSE(result.error().detail.empty());
    EXPECT_EQ(result.error().fields.empty(), kind != Kind::kValidation);
  }

  BodyParser parser_;
};

TEST_F(ValidateTest, Deposit) {
  const auto deposit = parser_.parse_deposit(R"({"account_number":1001,"amount":100.5,"description":"salary"})");
  ASSERT_TRUE(deposit.has_value());
  EXPECT_EQ(deposit->type, OperationType::kDeposit);
  EXPECT_EQ(deposit->transfer_mode, TransferMode::kNone);
  EXPECT_EQ(deposit->account_number, 1001);
  EXPECT_EQ(deposit->amount, Money::from_minor(100'50));
  EXPECT_EQ(deposit->description, "salary");
  EXPECT_FALSE(deposit->pin.has_value());
}

TEST_F(ValidateTest, Withdrawal) {
  const auto withdrawal =
      parser_.parse_withdrawal(R"({"pin":"1234","amount":"0.01","account_number":9223372036854775807})");
  ASSERT_TRUE(withdrawal.has_value());
  EXPECT_EQ(withdrawal->type, OperationType::kWithdrawal);
  EXPECT_EQ(withdrawal->account_number, INT64_MAX);
  EXPECT_EQ(withdrawal->amount, Money::from_minor(1));
  EXPECT_EQ(withdrawal->pin, "1234");
  EXPECT_EQ(withdrawal->description, "");
}

TEST_F(ValidateTest, Transfer) {
  const auto transfer = parser_.parse_transfer(
      R"({"from_account":1,"to_account":2,"amount":1e2,"transfer_mode":"UPI","pin":null,"description":null})");
  ASSERT_TRUE(transfer.has_value());
  EXPECT_EQ(transfer->type, OperationType::kTransfer);
  EXPECT_EQ(transfer->account_number, 1);
  EXPECT_EQ(transfer->to_account, 2);
  EXPECT_EQ(transfer->amount, Money::from_minor(100'00));
  EXPECT_EQ(transfer->transfer_mode, TransferMode::kUpi);
  EXPECT_FALSE(transfer->pin.has_value());
  EXPECT_EQ(transfer->description, "");

  // One account with itself is for the rules to refuse.
  EXPECT_TRUE(parser_.parse_transfer(R"({"from_account":1,"to_account":1,"amount":1})").has_value());
}

TEST_F(ValidateTest, TransferModes) {
  const auto mode = [&](std::string_view value) {
    return parser_.parse_transfer(R"({"from_account":1,"to_account":2,"amount":1,"transfer_mode":)" +
                                  std::string(value) + "}");
  };
  EXPECT_EQ(parser_.parse_transfer(R"({"from_account":1,"to_account":2,"amount":1})")->transfer_mode,
            TransferMode::kNeft);
  EXPECT_EQ(mode("null")->transfer_mode, TransferMode::kNeft);
  EXPECT_EQ(mode(R"("NEFT")")->transfer_mode, TransferMode::kNeft);
  EXPECT_EQ(mode(R"("RTGS")")->transfer_mode, TransferMode::kRtgs);
  EXPECT_EQ(mode(R"("IMPS")")->transfer_mode, TransferMode::kImps);
  EXPECT_EQ(mode(R"("CHEQUE")")->transfer_mode, TransferMode::kCheque);
  EXPECT_EQ(mode(R"("\u0055PI")")->transfer_mode, TransferMode::kUpi);
  for (const std::string_view value :
       {R"("")", R"("neft")", R"("Neft")", R"("NEFT ")", R"("BITCOIN")", R"("\ud800")"}) {
    expect_error(mode(value), Kind::kInvalidTransferMode, "", value);
  }
  for (const std::string_view value : {"1", "true", "[]", "{}", R"(["NEFT"])"}) {
    expect_error(mode(value), Kind::kValidation, "transfer_mode: must be a string\n", value);
  }
}

TEST_F(ValidateTest, AccountNumbers) {
  constexpr auto kType = "account_number: must be an integer\n"sv;
  constexpr auto kDomain = "account_number: must be between 1 and 9223372036854775807\n"sv;
  const struct {
    std::string_view value, fields;
  } kTable[] = {
      {"0", kDomain},
      {"-0", kDomain},
      {"-1", kDomain},
      {"9223372036854775808", kDomain},
      {"18446744073709551615", kDomain},
      {"18446744073709551616", kDomain},
      {"18446744073709551617", kDomain},
      {"-9223372036854775809", kDomain},
      {"1000000000000000000000000000000000000000000", kDomain},
      {"1.0", kType},
      {"1.5", kType},
      {"1e3", kType},
      {"1E3", kType},
      {"1e400", kType},
      {"\"1001\"", kType},
      {"\"\"", kType},
      {"null", kType},
      {"true", kType},
      {"[1001]", kType},
      {"{}", kType},
  };
  for (const auto& [value, fields] : kTable) {
    const std::string body = R"({"amount":1,"account_number":)" + std::string(value) + "}";
    expect_error(parser_.parse_deposit(body), Kind::kValidation, fields, body);
  }
  EXPECT_EQ(parser_.parse_deposit(R"({"amount":1,"account_number":1})")->account_number, 1);
}

TEST_F(ValidateTest, Amounts) {
  const auto deposit = [&](std::string_view value) {
    return parser_.parse_deposit(R"({"account_number":1,"amount":)" + std::string(value) + "}");
  };
  const struct {
    std::string_view value;
    int64_t minor;
  } kGood[] = {
      {"1", 100},
      {"0.01", 1},
      {"1.10", 110},
      {"1.100", 110},
      {"1e2", 10000},
      {"1E-2", 1},
      {"999999999.99", 99'999'999'999},
      {"9.9999999999e8", 99'999'999'999},
      {"\"1\"", 100},
      {"\"0.01\"", 1},
      {"\"999999999.99\"", 99'999'999'999},
      {"\"1e2\"", 10000},
      {"\"\\u0031\"", 100},
      {"0.100000000000000000000000000000000000", 10},
      {"100000000000000000000000000000000000000000e-40", 1000},
  };
  for (const auto& [value, minor] : kGood) {
    const auto operation = deposit(value);
    ASSERT_TRUE(operation.has_value()) << value;
    EXPECT_EQ(operation->amount.minor(), minor) << value;
  }
  for (const std::string_view value : {"0",
                                       "-0",
                                       "0.00",
                                       "-0.01",
                                       "-1",
                                       "0e5",
                                       "\"0\"",
                                       "\"-1\"",
                                       "-1e400",
                                       "0.005",
                                       "0.001",
                                       "1.001",
                                       "1e-3",
                                       "1e-400",
                                       "\"0.005\"",
                                       "1000000000",
                                       "1000000000.00",
                                       "999999999.991",
                                       "1e9",
                                       "1E+15",
                                       "1e400",
                                       "\"1e400\"",
                                       "9223372036854775807",
                                       "9223372036854775808",
                                       "18446744073709551616",
                                       "92233720368547758.08",
                                       "1e99999999999999999999999",
                                       "1e-99999999999999999999999"}) {
    expect_error(deposit(value), Kind::kInvalidAmount, "", value);
  }
  for (const std::string_view value :
       {"null",    "true",     "false",        "[]",       "{}",           "[1]",         "\"\"",
        "\"abc\"", "\"1,00\"", "\" 1\"",       "\"1 \"",   "\"+1\"",       "\"01\"",      "\"1.\"",
        "\".5\"",  "\"NaN\"",  "\"Infinity\"", "\"0x10\"", "\"1\\u0000\"", "\"\\ud800\"", "\"١\""}) {
    expect_error(deposit(value), Kind::kValidation, "amount: must be a number or a decimal string\n", value);
  }
  for (const std::string_view value : {"NaN", "-NaN", "Infinity", "+1", "01", ".5", "1.", "1e", "0x10", "1,5", "--1"}) {
    expect_error(deposit(value), Kind::kMalformedJson, "", value);
  }
}

TEST_F(ValidateTest, AmountLimitsAreThoseOfTheOperation) {
  const auto body = [](std::string_view accounts, std::string_view amount) {
    return std::string("{").append(accounts).append(",\"amount\":").append(amount).append("}");
  };
  constexpr auto kOne = R"("account_number":1)"sv;
  constexpr auto kTwo = R"("from_account":1,"to_account":2)"sv;
  EXPECT_TRUE(parser_.parse_deposit(body(kOne, "999999999.99")).has_value());
  EXPECT_EQ(parser_.parse_deposit(body(kOne, "1000000000.00")).error().kind, Kind::kInvalidAmount);
  EXPECT_TRUE(parser_.parse_withdrawal(body(kOne, "1000000.00")).has_value());
  EXPECT_EQ(parser_.parse_withdrawal(body(kOne, "1000000.01")).error().kind, Kind::kInvalidAmount);
  EXPECT_TRUE(parser_.parse_transfer(body(kTwo, "1000000.00")).has_value());
  EXPECT_EQ(parser_.parse_transfer(body(kTwo, "1000000.01")).error().kind, Kind::kInvalidAmount);
}

TEST_F(ValidateTest, Pins) {
  const auto withdrawal = [&](std::string_view value) {
    return parser_.parse_withdrawal(R"({"account_number":1,"amount":1,"pin":)" + std::string(value) + "}");
  };
  EXPECT_EQ(withdrawal(R"("0000")")->pin, "0000");
  EXPECT_EQ(withdrawal(R"("123456")")->pin, "123456");
  EXPECT_EQ(withdrawal(R"("\u0031234")")->pin, "1234");
  EXPECT_EQ(withdrawal("null")->pin, std::nullopt);
  for (const std::string_view value : {"1234", "true", "[]", R"("")", R"("123")", R"("1234567")", R"("12a4")",
                                       R"(" 1234")", R"("1234\n")", R"("123\u0000")", R"("١٢٣٤")"}) {
    expect_error(withdrawal(value), Kind::kValidation, "pin: must be a string of 4 to 6 digits\n", value);
  }
  // A deposit has no PIN.
  const auto body = R"({"account_number":1,"amount":1,"pin":"1234"})"sv;
  expect_error(parser_.parse_deposit(body), Kind::kValidation, "pin: is not a known field\n", body);
}

TEST_F(ValidateTest, Descriptions) {
  const auto deposit = [&](std::string_view value) {
    return parser_.parse_deposit(R"({"account_number":1,"amount":1,"description":)" + std::string(value) + "}");
  };
  const auto repeated = [](std::string_view piece, size_t count) {
    std::string text = "\"";
    for (size_t i = 0; i < count; ++i) text += piece;
    return text + "\"";
  };
  EXPECT_EQ(deposit("null")->description, "");
  EXPECT_EQ(deposit(R"("")")->description, "");
  EXPECT_EQ(deposit(R"("a\u00e9\ud83d\ude00\n\"/")")->description, "aé😀\n\"/");
  EXPECT_EQ(deposit("\"é😀\"")->description, "é😀");
  EXPECT_EQ(deposit(R"("\ufffe\uffff")")->description, "\xEF\xBF\xBE\xEF\xBF\xBF");

  // Characters are counted, not bytes.
  for (const std::string_view piece : {"x", "é", "😀", "\\u00e9", "\\ud83d\\ude00", "\\n"}) {
    EXPECT_TRUE(deposit(repeated(piece, 255)).has_value()) << piece;
    expect_error(deposit(repeated(piece, 256)), Kind::kValidation, "description: must not exceed 255 characters\n",
                 piece);
  }
  expect_error(deposit(repeated("x", 60'000)), Kind::kValidation, "description: must not exceed 255 characters\n",
               "60k");

  for (const std::string_view value : {R"("\u0000")", R"("a\u0000b")"}) {
    expect_error(deposit(value), Kind::kValidation, "description: must not contain U+0000\n", value);
  }
  for (const std::string_view value : {R"("\ud800")", R"("\udc00")", R"("\ud800x")", R"("\udc00\ud800")"}) {
    expect_error(deposit(value), Kind::kValidation, "description: must not contain a lone surrogate\n", value);
  }
  for (const std::string_view value : {"1", "true", "[]", "{}", R"(["a"])"}) {
    expect_error(deposit(value), Kind::kValidation, "description: must be a string\n", value);
  }
  // Raw: not JSON at all.
  for (const std::string_view value : {"\"\0\""sv, "\"\n\""sv, "\"\xED\xA0\x80\""sv, "\"\xFF\""sv}) {
    expect_error(deposit(value), Kind::kMalformedJson, "", value);
  }
}

TEST_F(ValidateTest, AllThatIsWrongIsToldAtOnce) {
  expect_error(parser_.parse_deposit("{}"), Kind::kValidation, "account_number: is required\namount: is required\n",
               "{}");
  expect_error(parser_.parse_withdrawal("{}"), Kind::kValidation, "account_number: is required\namount: is required\n",
               "{}");
  expect_error(parser_.parse_transfer("{}"), Kind::kValidation,
               "from_account: is required\nto_account: is required\namount: is required\n", "{}");

  const auto body =
      R"({"Amount":1,"x":[{"y":1e999}],"pin":12,"description":7,"to_account":"2","transfer_mode":3,"amount":"a lot"})"sv;
  expect_error(parser_.parse_transfer(body), Kind::kValidation,
               "from_account: is required\n"
               "to_account: must be an integer\n"
               "amount: must be a number or a decimal string\n"
               "transfer_mode: must be a string\n"
               "pin: must be a string of 4 to 6 digits\n"
               "description: must be a string\n"
               "Amount: is not a known field\n"
               "x: is not a known field\n",
               body);
}

TEST_F(ValidateTest, TheListOfErrorsIsBounded) {
  std::string body = "{";
  for (int i = 0; i < 60; ++i)
    body += (i == 0 ? "\"" : ",\"") + std::string(200, static_cast<char>('A' + i % 26)) + std::to_string(i) + "\":0";
  const auto result = parser_.parse_deposit(body + "}");
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().fields.size(), BodyError::kFieldsMax);
  for (const auto& field : result.error().fields) EXPECT_LE(field.field.size(), BodyError::kFieldNameMax);
}

TEST_F(ValidateTest, Precedence) {
  const struct {
    std::string_view body;
    Kind kind;
    std::string_view fields;
  } kTable[] = {
      // Everything at once, then one thing less a line.
      {R"({"from_account":0,"to_account":2,"amount":0,"transfer_mode":"X","z":01})", Kind::kMalformedJson, ""},
      {R"({"from_account":0,"to_account":2,"amount":0,"transfer_mode":"X"})", Kind::kValidation,
       "from_account: must be between 1 and 9223372036854775807\n"},
      {R"({"from_account":1,"to_account":2,"amount":0,"transfer_mode":"X"})", Kind::kInvalidAmount, ""},
      {R"({"from_account":1,"to_account":2,"amount":1,"transfer_mode":"X"})", Kind::kInvalidTransferMode, ""},
  };
  for (const auto& [body, kind, fields] : kTable) expect_error(parser_.parse_transfer(body), kind, fields, body);
}

TEST_F(ValidateTest, MalformedBodies) {
  const std::string_view kTable[] = {
      "",
      " ",
      "null",
      "[]",
      "\"amount\"",
      "account_number=1&amount=1",
      R"([{"account_number":1,"amount":1}])",
      R"({"account_number":1,"amount":1}{"account_number":1,"amount":1})",
      R"({"account_number":1,"amount":1},)",
      R"({"account_number":1,"amount":1}])",
      R"({"account_number":1,"amount":1,})",
      R"({"account_number":1,"amount":1)",
      R"({"account_number":1 "amount":1})",
      "\xEF\xBB\xBF{\"account_number\":1,\"amount\":1}",
      "{\"account_number\":1,\"amount\":1}\0"sv,
      "\0{\"account_number\":1,\"amount\":1}"sv,
      "{\"account_number\":1,\0\"amount\":1}"sv,
      "{\"account_number\":1,\"amount\":1,\"description\":\"\0\"}"sv,
      // Twice.
      R"({"account_number":1,"amount":1,"amount":1})",
      R"({"account_number":1,"amount":1,"amo\u0075nt":1})",
      R"({"account_number":1,"amo\u0075nt":1,"amount":1})",
      R"({"account_number":1,"amo\u0075nt":1,"\u0061mount":1})",
      R"({"account_number":1,"amount":1,"x":1,"x":2})",
      // Inside what nobody asked for.
      R"({"account_number":1,"amount":1,"x":[1,]})",
      R"({"account_number":1,"amount":1,"x":tru})",
      R"({"account_number":1,"amount":1,"x":01})",
      R"({"account_number":1,"amount":1,"x":"\x"})",
      R"({"account_number":1,"amount":1,"x":{"y":NaN}})",
      "{\"account_number\":1,\"amount\":1,\"x\":\"\xFF\"}",
  };
  for (const std::string_view body : kTable) expect_error(parser_.parse_deposit(body), Kind::kMalformedJson, "", body);

  const std::string deep =
      R"({"account_number":1,"amount":1,"x":)" + std::string(20'000, '[') + std::string(20'000, ']') + "}";
  expect_error(parser_.parse_deposit(deep), Kind::kMalformedJson, "", "deep nesting");
  const std::string big =
      R"({"account_number":1,"amount":1,"x":")" + std::string(BodyParser::kBodyBytesMax, 'x') + "\"}";
  expect_error(parser_.parse_deposit(big), Kind::kMalformedJson, "", "too big");
}

TEST_F(ValidateTest, EveryTruncationIsMalformed) {
  const std::string body =
      R"({"from_account": 1, "to_account": 2, "amount": "12.50", "transfer_mode": "UPI", "pin": "1234", "description": "é\u00e9\ud83d\ude00"})";
  ASSERT_TRUE(parser_.parse_transfer(body).has_value());
  for (size_t length = 0; length < body.size(); ++length) {
    ASSERT_TRUE(parser_.parse_transfer(body).has_value());  // leaves its bytes in the buffer
    expect_error(parser_.parse_transfer(body.substr(0, length)), Kind::kMalformedJson, "", body.substr(0, length));
  }
}

// No single changed byte may crash it, and whatever is accepted keeps to the domains.
TEST_F(ValidateTest, EveryChangedByte) {
  const std::string body = R"({"from_account":1,"to_account":2,"amount":12.50,"pin":"1234","description":"\u00e9é"})";
  for (size_t i = 0; i < body.size(); ++i) {
    std::string changed = body;
    for (int byte = 0; byte < 256; ++byte) {
      changed[i] = static_cast<char>(byte);
      const auto result = parser_.parse_transfer(changed);
      if (!result) continue;
      EXPECT_GE(result->account_number, 1) << changed;
      EXPECT_GE(result->to_account, 1) << changed;
      EXPECT_GT(result->amount, Money()) << changed;
      EXPECT_LE(result->amount, kTransferMax) << changed;
      EXPECT_EQ(result->pin.value_or("").size(), 4u) << changed;
    }
  }
}

TEST_F(ValidateTest, KeysMayBeEscaped) {
  const auto deposit = parser_.parse_deposit(R"({"\u0061ccount_number":7,"amo\u0075nt":1})");
  ASSERT_TRUE(deposit.has_value());
  EXPECT_EQ(deposit->account_number, 7);
}

}  // namespace
}  // namespace txn
