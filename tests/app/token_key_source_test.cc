#include "app/token_key_source.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/app/key_pair.h"

namespace txn {
namespace {

namespace fs = std::filesystem;
using test::jwks;
using test::KeyPair;
using testing::HasSubstr;

class TokenKeySourceTest : public testing::Test {
 protected:
  TokenKeySourceTest() {
    std::string name = (fs::temp_directory_path() / "txn-keys-XXXXXX").string();
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
    settings_.jwt_algorithm = JwtAlgorithm::kEdDsa;
    settings_.jwt_jwks_file = path();
  }
  ~TokenKeySourceTest() override { fs::remove_all(directory_); }

  std::string path() const { return directory_ / "jwks.json"; }
  void write(const std::string& content) const { std::ofstream(path(), std::ios::binary) << content; }
  void replace(const std::string& content) const {
    std::ofstream(directory_ / "new", std::ios::binary) << content;
    fs::rename(directory_ / "new", path());
  }
  static std::string set_of(const KeyPair& pair, std::string_view kid) {
    return jwks({pair.jwk(",\"kid\":\"" + std::string(kid) + "\"")});
  }

  fs::path directory_;
  Settings settings_;
  const KeyPair a_{JwtAlgorithm::kEdDsa}, b_{JwtAlgorithm::kEdDsa};
};

TEST_F(TokenKeySourceTest, FollowsTheFile) {
  replace(set_of(a_, "a"));
  TokenKeySource source(settings_);
  ASSERT_TRUE(source.load().has_value());
  EXPECT_FALSE(source.poll()) << "nothing has changed";
  replace(set_of(b_, "b"));
  EXPECT_TRUE(source.poll());
  EXPECT_EQ(source.make_keys()->find("a"), nullptr);
  EXPECT_NE(source.make_keys()->find("b"), nullptr);
  EXPECT_FALSE(source.poll());
  replace(set_of(b_, "b"));
  EXPECT_FALSE(source.poll()) << "another file, the same content";
  EXPECT_EQ(source.counters().replaced, 1u);
  EXPECT_EQ(source.counters().failed, 0u);
}

// In place, of the same size, perhaps within one tick of the file system's clock.
TEST_F(TokenKeySourceTest, SeesAFileThatIsOverwrittenAtOnce) {
  write(set_of(a_, "a"));
  TokenKeySource source(settings_);
  ASSERT_TRUE(source.load().has_value());
  for (int i = 0; i < 20; ++i) {
    const char* const kid = i % 2 == 0 ? "b" : "a";
    write(set_of(a_, kid));
    EXPECT_TRUE(source.poll()) << i;
    EXPECT_NE(source.make_keys()->find(kid), nullptr);
  }
}

TEST_F(TokenKeySourceTest, WhatIsOfNoUseLeavesTheOldKeys) {
  replace(set_of(a_, "a"));
  TokenKeySource source(settings_);
  ASSERT_TRUE(source.load().has_value());
  uint64_t failures = 0;
  const auto expect_failure = [&](const char* what) {
    for (int i = 0; i < 3; ++i) EXPECT_FALSE(source.poll()) << what;
    EXPECT_EQ(source.counters().failed, ++failures) << what << ": told once";
    EXPECT_NE(source.make_keys()->find("a"), nullptr);
    const auto reloaded = source.reload(settings_);
    EXPECT_FALSE(reloaded.has_value()) << what;
    EXPECT_EQ(source.counters().failed, ++failures);
  };
  replace("{}");
  expect_failure("no set");
  replace(std::string(kKeyFileBytesMax + 1, ' '));
  expect_failure("too long");
  fs::remove(path());
  expect_failure("missing");
  fs::create_directory(path());
  expect_failure("a directory");
  fs::remove(path());
  replace(set_of(a_, "a"));
  EXPECT_FALSE(source.poll()) << "back again, and never away";
  fs::remove(path());
  ASSERT_EQ(mkfifo(path().c_str(), 0600), 0);
  expect_failure("a pipe that nobody writes to");
  fs::remove(path());
  replace(set_of(a_, "a"));
  EXPECT_FALSE(source.poll()) << "back again, and never away";
  replace(set_of(b_, "b"));
  EXPECT_TRUE(source.poll());
}

// The rotation that takes a key away works however the new file is spelt.
TEST_F(TokenKeySourceTest, AWithdrawnKeyIsGoneWhateverTheSpelling) {
  replace(jwks({a_.jwk(R"(,"kid":"a")"), b_.jwk(R"(,"kid":"b")")}));
  TokenKeySource source(settings_);
  ASSERT_TRUE(source.load().has_value());
  std::string padded = b_.jwk(R"(,"kid":"b")");
  padded.insert(padded.find('"', padded.find("\"x\":\"") + 5), "=");
  replace("\xEF\xBB\xBF" + jwks({padded, padded}));
  EXPECT_TRUE(source.poll());
  EXPECT_EQ(source.make_keys()->find("a"), nullptr);
  EXPECT_NE(source.make_keys()->find("b"), nullptr);
  EXPECT_EQ(source.counters().failed, 0u);
}

TEST_F(TokenKeySourceTest, ASecretAmongThePublicKeysIsRefused) {
  replace(jwks({a_.jwk(R"(,"kid":"a")"), R"({"kty":"oct","k":"c2VjcmV0"})"}));
  EXPECT_THAT(TokenKeySource(settings_).load().error().message, HasSubstr("key 2 has a private or secret part, `k`"));
  replace(set_of(a_, "a"));
  TokenKeySource source(settings_);
  ASSERT_TRUE(source.load().has_value());
  replace(jwks({b_.jwk(R"(,"kid":"b")"), R"({"kty":"oct","k":"c2VjcmV0"})"}));
  EXPECT_FALSE(source.poll());
  EXPECT_EQ(source.counters().failed, 1u);
  EXPECT_NE(source.make_keys()->find("a"), nullptr) << "the old keys stay";
}

TEST_F(TokenKeySourceTest, ReloadSaysWhatItCannotDo) {
  replace(set_of(a_, "a"));
  TokenKeySource source(settings_);
  ASSERT_TRUE(source.load().has_value());
  EXPECT_FALSE(source.reload(settings_).value());
  replace(set_of(b_, "b"));
  EXPECT_TRUE(source.reload(settings_).value());
  EXPECT_FALSE(source.poll()) << "the reload has seen it";

  Settings other = settings_;
  other.jwt_jwks_file = path() + ".other";
  EXPECT_THAT(source.reload(other).error().message, HasSubstr("at the start"));
  other = settings_;
  other.jwt_algorithm = JwtAlgorithm::kEs256;
  EXPECT_THAT(source.reload(other).error().message, HasSubstr("at the start"));
}

TEST_F(TokenKeySourceTest, TheSecretChangesOnlyWhereNoPinHangsOnIt) {
  Settings settings;
  settings.jwt_secret_key = std::string(32, 'a');
  Settings changed = settings;
  changed.jwt_secret_key = std::string(32, 'b');
  Settings too_short = settings;
  too_short.jwt_secret_key = "short";
  {
    TokenKeySource source(settings);
    ASSERT_TRUE(source.load().has_value());
    EXPECT_FALSE(source.poll());
    EXPECT_FALSE(source.reload(settings).value());
    EXPECT_THAT(source.reload(changed).error().message, HasSubstr("PIN_SECRET_KEY"));
  }
  settings.pin_secret_key = std::string(32, 'p');
  TokenKeySource source(settings);
  ASSERT_TRUE(source.load().has_value());
  EXPECT_TRUE(source.reload(changed).value());
  EXPECT_FALSE(source.reload(changed).value());
  EXPECT_FALSE(source.reload(too_short).has_value());
  EXPECT_TRUE(source.reload(settings).value());
}

}  // namespace
}  // namespace txn
