#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "app/idempotency.h"

namespace txn {
namespace {

constexpr std::string_view kSecret = "0123456789abcdef0123456789abcdef";
constexpr std::string_view kOther = "fedcba9876543210fedcba9876543210";

RequestFingerprinter under(std::string_view secret) {
  return RequestFingerprinter({reinterpret_cast<const uint8_t*>(secret.data()), secret.size()});
}

Operation transfer() {
  return {.type = OperationType::kTransfer,
          .transfer_mode = TransferMode::kNeft,
          .account_number = 1001,
          .to_account = 1002,
          .amount = Money::from_minor(7500),
          .pin = "1234",
          .description = "rent"};
}

// What the comparison finds of two requests, each as it was hashed.
struct Hashed {
  Fingerprint fingerprint;
  RequestDigest digest;
  Hashed(std::string_view secret, const Operation& operation)
      : fingerprint(under(secret).fingerprint(operation)), digest(under(secret).digest(operation)) {}
};

bool is_same(const Hashed& kept, const Hashed& asked) {
  return is_same_request(kept.fingerprint, kept.digest, asked.fingerprint, asked.digest);
}
bool is_same_without_digest(const Hashed& kept, const Hashed& asked) {
  return is_same_request(kept.fingerprint, std::nullopt, asked.fingerprint, asked.digest);
}

TEST(IsSameRequest, Table) {
  const Operation rent = transfer();
  Operation other_amount = rent;
  other_amount.amount = Money::from_minor(7501);
  Operation other_pin = rent;
  other_pin.pin = "1235";
  Operation no_pin = rent;
  no_pin.pin.reset();
  struct Row {
    const char* name;
    const Operation& kept;
    const Operation& asked;
    bool with_same_secret;  // what is expected
    bool with_another;
  };
  const Row rows[] = {
      {"itself", rent, rent, true, true},
      {"itself without a PIN", no_pin, no_pin, true, true},
      {"another amount", rent, other_amount, false, false},
      {"another amount, no PIN before", no_pin, other_amount, false, false},
      {"another PIN", rent, other_pin, false, true},  // cannot be told
      {"a PIN where there was none", no_pin, rent, false, true},
      {"no PIN where there was one", rent, no_pin, false, true},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(is_same({kSecret, row.kept}, {kSecret, row.asked}), row.with_same_secret) << row.name;
    EXPECT_EQ(is_same({kSecret, row.kept}, {kOther, row.asked}), row.with_another) << row.name;
    // Written by the release before: as that release did.
    EXPECT_EQ(is_same_without_digest({kSecret, row.kept}, {kSecret, row.asked}), row.with_same_secret) << row.name;
    EXPECT_FALSE(is_same_without_digest({kSecret, row.kept}, {kOther, row.asked})) << row.name;
  }
  // That release has used the key again after a day, and left the digest of the request before.
  EXPECT_TRUE(is_same_request(Hashed(kSecret, rent).fingerprint, Hashed(kSecret, other_amount).digest,
                              Hashed(kSecret, rent).fingerprint, Hashed(kSecret, rent).digest));
}

TEST(RequestDigest, EveryFieldOfTheRequestCounts) {
  const std::function<void(Operation&)> changes[] = {
      [](Operation&) {},
      [](Operation& o) { o.type = OperationType::kWithdrawal; },
      [](Operation& o) { o.transfer_mode = TransferMode::kUpi; },
      [](Operation& o) { o.account_number = 1003; },
      [](Operation& o) { o.to_account = 1003; },
      [](Operation& o) { o.amount = Money::from_minor(7600); },
      [](Operation& o) { o.description = "Rent"; },
      [](Operation& o) { o.description = ""; },
  };
  std::set<std::string> requests;
  for (const auto& change : changes) {
    Operation operation = transfer();
    change(operation);
    const RequestDigest digest = under(kSecret).digest(operation);
    requests.insert(std::string(digest.begin(), digest.begin() + kDigestRequestBytes));
  }
  EXPECT_EQ(requests.size(), std::size(changes));
}

TEST(RequestDigest, SaysNothingOfAPinThatTheTableCouldShow) {
  Operation other = transfer();
  other.amount = Money::from_minor(1);
  const auto pin_part = [](const RequestDigest& digest) {
    return std::string(digest.end() - kDigestPinBytes, digest.end());
  };
  // The same PIN looks another in another request, and under another secret.
  EXPECT_NE(pin_part(under(kSecret).digest(transfer())), pin_part(under(kSecret).digest(other)));
  EXPECT_NE(pin_part(under(kSecret).digest(transfer())), pin_part(under(kOther).digest(transfer())));
  other.pin.reset();
  EXPECT_EQ(pin_part(under(kSecret).digest(other)), std::string(kDigestPinBytes, '\0'));
}

}  // namespace
}  // namespace txn
