// Files of public keys, PEM and JSON Web Key Sets. What is taken has keys within bounds that can be told apart, reads
// the same a second time, and accepts no signature of zeros.
//
// Input: algorithm and form, then the text.
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "app/token_keys.h"
#include "core/check.h"
#include "tests/fuzz/fuzz_input.h"

namespace txn {
namespace {

void check_keys(const TokenKeys& keys) {
  CHECK(keys.size() > 0, "a set that is taken has a key");
  CHECK(keys.size() <= kJwksKeysMax, "and not too many");
  CHECK((keys.find(std::nullopt) != nullptr) == (keys.size() == 1), "a token without a kid has the only key");
  const std::vector<uint8_t> zeros(kSignatureBytesMax, 0);
  if (const TokenKey* const key = keys.find(std::nullopt)) {
    CHECK(!key->id() || keys.find(*key->id()) == key, "and so has one that names it");
    for (const size_t length : {size_t{0}, size_t{32}, size_t{64}, size_t{256}, size_t{512}}) {
      CHECK(!key->verifies("a.b", std::span(zeros).first(length)), "zeros sign nothing");
    }
  }
}

}  // namespace
}  // namespace txn

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace txn;
  fuzz::FuzzInput input(data, size);
  constexpr JwtAlgorithm kAlgorithms[] = {JwtAlgorithm::kRs256, JwtAlgorithm::kEs256, JwtAlgorithm::kEdDsa,
                                          JwtAlgorithm::kHs256};
  const uint8_t choice = input.byte();
  const JwtAlgorithm algorithm = kAlgorithms[choice & 3];
  const auto read = (choice & 4) != 0 ? TokenKeys::from_pem : TokenKeys::from_jwks;
  const std::string_view text = input.rest();
  const auto keys = read(algorithm, text);
  const auto again = read(algorithm, text);
  CHECK(keys.has_value() == again.has_value(), "the same text is taken again");
  if (!keys) {
    CHECK(keys.error().message == again.error().message, "or refused for the same reason");
    return 0;
  }
  CHECK((*keys)->algorithm() == algorithm, "keys are of the algorithm asked for");
  CHECK((*keys)->size() == (*again)->size(), "with as many keys");
  check_keys(**keys);
  return 0;
}
