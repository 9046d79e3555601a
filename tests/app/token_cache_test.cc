#include "app/token_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "app/token.h"
#include "app/token_signer.h"

namespace txn {
namespace {

constexpr int64_t kNow = 1'700'000'000;
constexpr int64_t kLeeway = 30;
constexpr std::string_view kSecret = "0123456789abcdef0123456789abcdef";

TokenStatement statement_of(int64_t subject) {
  return {.principal = {.subject = subject, .role = Role::kTeller, .expires_at = kNow + subject},
          .valid_from = -subject};
}

// A digest that falls into the set `set` of a small cache, told apart from others there by `name`.
TokenDigest digest_in(uint8_t set, uint8_t name) {
  TokenDigest digest{};
  digest[0] = set;
  digest[31] = name;
  return digest;
}

TEST(TokenCache, GivesBackWhatWasStored) {
  TokenCache cache(64);
  EXPECT_EQ(cache.capacity(), 64u);
  EXPECT_FALSE(cache.find(digest_of("a")).has_value());
  cache.store(digest_of("a"), statement_of(1));
  cache.store(digest_of("b"), statement_of(2));
  for (const auto& [text, subject] : {std::pair("a", int64_t{1}), std::pair("b", int64_t{2})}) {
    const auto found = cache.find(digest_of(text));
    ASSERT_TRUE(found.has_value());
    EXPECT_EQ(found->principal.subject, subject);
    EXPECT_EQ(found->principal.role, Role::kTeller);
    EXPECT_EQ(found->principal.expires_at, kNow + subject);
    EXPECT_EQ(found->valid_from, -subject);
  }
  cache.erase(digest_of("a"));
  cache.erase(digest_of("never there"));
  EXPECT_FALSE(cache.find(digest_of("a")).has_value());
  EXPECT_TRUE(cache.find(digest_of("b")).has_value());
  cache.clear();
  EXPECT_FALSE(cache.find(digest_of("b")).has_value());
}

TEST(TokenCache, EveryBitOfTheDigestCounts) {
  TokenCache cache(8);
  const TokenDigest digest = digest_of("token");
  cache.store(digest, statement_of(1));
  for (size_t bit = 0; bit < 8 * digest.size(); ++bit) {
    TokenDigest other = digest;
    other[bit / 8] = static_cast<uint8_t>(other[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(cache.find(other).has_value()) << bit;
  }
  EXPECT_TRUE(cache.find(digest).has_value());
}

TEST(TokenCache, TheLeastRecentlyUsedOfASetMakesRoom) {
  TokenCache cache(4 * TokenCache::kWays);
  for (uint8_t i = 0; i < TokenCache::kWays; ++i) EXPECT_FALSE(cache.store(digest_in(2, i), statement_of(i + 1)));
  cache.store(digest_in(3, 0), statement_of(100));
  EXPECT_TRUE(cache.find(digest_in(2, 0)).has_value());  // so that 1 is the oldest
  EXPECT_TRUE(cache.store(digest_in(2, 50), statement_of(50)));
  EXPECT_FALSE(cache.find(digest_in(2, 1)).has_value());
  for (const uint8_t i : {0, 2, 3, 4, 5, 6, 7, 50}) EXPECT_TRUE(cache.find(digest_in(2, i)).has_value()) << +i;
  EXPECT_TRUE(cache.find(digest_in(3, 0)).has_value()) << "another set";
  // What has been erased goes first.
  cache.erase(digest_in(2, 7));
  EXPECT_FALSE(cache.store(digest_in(2, 51), statement_of(51)));
}

TEST(TokenCache, IsFullAtItsCapacity) {
  TokenCache cache(100);
  EXPECT_EQ(cache.capacity(), 128u);  // 16 sets
  int evictions = 0;
  for (int i = 0; i < 10'000; ++i) evictions += cache.store(digest_of(std::to_string(i)), statement_of(i + 1));
  int found = 0;
  for (int i = 0; i < 10'000; ++i) {
    const auto statement = cache.find(digest_of(std::to_string(i)));
    if (!statement) continue;
    EXPECT_EQ(statement->principal.subject, i + 1);
    ++found;
  }
  EXPECT_EQ(found, 128);
  EXPECT_EQ(evictions, 10'000 - 128);
}

// --- In the verifier -------------------------------------------------------------------------------------------------

class CachingVerifier : public testing::Test {
 protected:
  static std::unique_ptr<TokenVerifier> make(size_t cache_entries) {
    return TokenVerifier::create(TokenKeys::from_secret(kSecret).value(), {}, cache_entries).value();
  }
  static std::string token(int64_t subject, std::string_view times) {
    return TokenSigner::with_secret(kSecret)->sign_text(
        R"({"alg":"HS256"})",
        R"({"sub":)" + std::to_string(subject) + R"(,"role":"CUSTOMER",)" + std::string(times) + "}");
  }

  std::unique_ptr<TokenVerifier> verifier_ = make(16);
};

TEST_F(CachingVerifier, ATokenThatExpiresWhileRememberedIsExpired) {
  const std::string expiring = token(7, "\"exp\":1000");
  EXPECT_TRUE(verifier_->verify(expiring, 900).has_value());
  EXPECT_TRUE(verifier_->verify(expiring, 1000 + kLeeway - 1).has_value());
  EXPECT_EQ(verifier_->counters().cache_hits, 1u);
  EXPECT_EQ(kind_of(verifier_->verify(expiring, 1000 + kLeeway).error()), TokenErrorKind::kExpired);
  EXPECT_EQ(verifier_->counters().cache_hits, 2u) << "the cache itself must have known";
  // It has left; with the clock set back it is verified afresh, and good.
  EXPECT_EQ(kind_of(verifier_->verify(expiring, 1000 + kLeeway).error()), TokenErrorKind::kExpired);
  EXPECT_EQ(verifier_->counters().cache_hits, 2u);
  EXPECT_TRUE(verifier_->verify(expiring, 900).has_value());
  EXPECT_EQ(verifier_->counters().accepted, 3u);
  EXPECT_EQ(verifier_->counters().refused[static_cast<size_t>(TokenErrorKind::kExpired)], 2u);
}

TEST_F(CachingVerifier, AClockThatStepsBackBeforeNbfIsNoticed) {
  for (const char* claim : {"nbf", "iat"}) {
    const std::string beginning = token(7, "\"exp\":5000,\"" + std::string(claim) + "\":1000");
    EXPECT_TRUE(verifier_->verify(beginning, 2000).has_value());
    EXPECT_EQ(kind_of(verifier_->verify(beginning, 1000 - kLeeway - 1).error()), TokenErrorKind::kNotYetValid);
    EXPECT_TRUE(verifier_->verify(beginning, 1000 - kLeeway).has_value());
    EXPECT_EQ(verifier_->counters().cache_misses, claim[0] == 'n' ? 1u : 2u);
  }
}

TEST_F(CachingVerifier, FailuresAreNotRemembered) {
  const std::string good = token(7, "\"exp\":1000");
  std::string forged = good;
  forged[forged.size() - 5] = forged[forged.size() - 5] == 'A' ? 'B' : 'A';
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(verifier_->verify(forged, 900).has_value());
    EXPECT_FALSE(verifier_->verify(good, 2000).has_value());                                  // expired
    EXPECT_FALSE(verifier_->verify(token(7, "\"exp\":9000,\"nbf\":5000"), 900).has_value());  // not yet
    EXPECT_FALSE(verifier_->verify("x.y.z", 900).has_value());
    EXPECT_FALSE(verifier_->verify(std::string(kTokenBytesMax + 1, 'a'), 900).has_value());
  }
  EXPECT_EQ(verifier_->counters().cache_hits, 0u);
  EXPECT_TRUE(verifier_->verify(good, 900).has_value());
  EXPECT_FALSE(verifier_->verify(forged, 900).has_value()) << "one character off a remembered one";
}

// More tokens than places: every answer must be what it is without a cache, whoever had to leave.
TEST_F(CachingVerifier, FullItStillAnswersAsWithoutOne) {
  const auto plain = make(0);
  uint32_t state = 1;
  for (int i = 0; i < 20'000; ++i) {
    state = state * 1'664'525 + 1'013'904'223;
    const auto subject = static_cast<int64_t>(state >> 16) % 60 + 1;
    const int64_t now = 900 + static_cast<int64_t>(state >> 8) % 300;
    const std::string some = token(subject, "\"exp\":" + std::to_string(1000 + subject) + ",\"nbf\":950");
    const auto expected = plain->verify(some, now);
    const auto actual = verifier_->verify(some, now);
    ASSERT_EQ(actual.has_value(), expected.has_value());
    if (expected) {
      ASSERT_EQ(actual->subject, subject);
      ASSERT_EQ(actual->expires_at, expected->expires_at);
    } else {
      ASSERT_EQ(actual.error(), expected.error());
    }
  }
  EXPECT_GT(verifier_->counters().cache_hits, 100u);
  EXPECT_GT(verifier_->counters().cache_evictions, 100u);
}

}  // namespace
}  // namespace txn
