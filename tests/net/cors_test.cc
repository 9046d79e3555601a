#include "net/cors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "net/http_parser.h"

namespace txn {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr std::string_view kVaryOnly = "Vary: Origin\r\n";

class Cors : public testing::Test {
 protected:
  const HttpRequest& parse(const std::string& fields, const std::string& method = "GET") {
    parser_.reset();
    bytes_ = method + " / HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n";
    bytes_.reserve(bytes_.size() + 64);  // the parser may look a little beyond
    EXPECT_EQ(parser_.feed({bytes_.data(), bytes_.size()}), HttpParser::Status::kRequest) << bytes_;
    return parser_.request();
  }
  // The origin that an answer is opened to; "" for none.
  static std::string opened_to(const CorsPolicy::Match& match) {
    constexpr std::string_view kName = "Access-Control-Allow-Origin: ";
    EXPECT_EQ(match.allowed, match.lines.find(kName) != std::string_view::npos);
    if (!match.allowed) return "";
    EXPECT_THAT(std::string(match.lines), StartsWith(std::string(kName)));
    return std::string(match.lines.substr(kName.size(), match.lines.find('\r') - kName.size()));
  }

  std::string bytes_;
  HttpParser parser_;
};

TEST_F(Cors, NothingIsSaidWithoutOrigins) {
  const CorsPolicy policy({});
  EXPECT_FALSE(policy.is_enabled());
  EXPECT_EQ(policy.match(parse("Origin: https://bank.example\r\n")).lines, "");
}

TEST_F(Cors, OnlyAnExactOriginIsAllowed) {
  const std::string origins[] = {"https://bank.example", "http://localhost:3000", "https://[::1]:8443"};
  const CorsPolicy policy(origins);
  EXPECT_TRUE(policy.is_enabled());
  for (const std::string& origin : origins)
    EXPECT_EQ(opened_to(policy.match(parse("Origin: " + origin + "\r\n"))), origin);
  for (const char* other :
       {"https://bank.example.", "https://bank.example/", "https://bank.example:443", "https://bank.example:8443",
        "http://bank.example", "https://www.bank.example", "https://bank.example.evil.example",
        "https://evilbank.example", "https://BANK.example", "HTTPS://bank.example", "http://localhost",
        "http://localhost:300", "null", "*", "", "https://bank.example https://evil.example",
        "https://bank.example, https://evil.example"}) {
    const auto match = policy.match(parse(std::string("Origin: ") + other + "\r\n"));
    EXPECT_FALSE(match.allowed) << other;
    EXPECT_EQ(match.lines, kVaryOnly) << other;
  }
  EXPECT_EQ(policy.match(parse("")).lines, kVaryOnly) << "a cache must not keep it for everybody";
  EXPECT_FALSE(policy.match(parse("Origin: https://bank.example\r\nOrigin: https://bank.example\r\n")).allowed);
}

// Browsers write scheme and host in lower case and leave the scheme's own port out (RFC 6454 section 6.2).
TEST_F(Cors, SettingsAreBroughtToTheFormThatBrowsersSend) {
  const std::string origins[] = {"HTTPS://Bank.Example:443", "http://Shop.example:80", "http://shop.example:443",
                                 "https://a.example:4430"};
  const CorsPolicy policy(origins);
  for (const char* sent :
       {"https://bank.example", "http://shop.example", "http://shop.example:443", "https://a.example:4430"})
    EXPECT_EQ(opened_to(policy.match(parse(std::string("Origin: ") + sent + "\r\n"))), sent);
}

TEST_F(Cors, EverybodyMeansTheSameAnswerForEverybody) {
  const std::string origins[] = {"*"};
  const CorsPolicy policy(origins);
  const std::string without(policy.match(parse("")).lines);
  EXPECT_EQ(opened_to(policy.match(parse("Origin: null\r\n"))), "*");
  EXPECT_EQ(policy.match(parse("Origin: https://x.example\r\n")).lines, without);
  EXPECT_THAT(without, Not(HasSubstr("Vary")));
}

TEST_F(Cors, PagesMayReadWhatTheyNeedAndNeverWithCredentials) {
  for (const char* setting : {"*", "https://bank.example"}) {
    const std::string origins[] = {setting};
    const CorsPolicy policy(origins);
    const std::string lines(policy.match(parse("Origin: https://bank.example\r\n")).lines);
    for (const char* name : {"X-Request-ID", "Retry-After", "RateLimit", "RateLimit-Policy", "X-RateLimit-Limit",
                             "X-RateLimit-Remaining", "X-RateLimit-Reset", "Idempotency-Replayed"})
      EXPECT_THAT(lines, HasSubstr(name));
    EXPECT_THAT(lines, HasSubstr("\r\nAccess-Control-Expose-Headers: "));
    EXPECT_THAT(lines, EndsWith("\r\n"));
    EXPECT_THAT(lines, Not(HasSubstr("Credentials")));
  }
}

TEST_F(Cors, APreflightAsksForAMethod) {
  const std::string origin = "Origin: https://bank.example\r\n";
  const std::string asks = "Access-Control-Request-Method: POST\r\n";
  EXPECT_TRUE(is_preflight(parse(origin + asks, "OPTIONS")));
  EXPECT_FALSE(is_preflight(parse(origin, "OPTIONS")));
  EXPECT_FALSE(is_preflight(parse(asks, "OPTIONS")));
  EXPECT_FALSE(is_preflight(parse(origin + asks, "GET")));
}

}  // namespace
}  // namespace txn
