#include "net/router.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "core/concat.h"

namespace txn {
namespace {

const std::vector<RouteSpec> kRoutes = {
    {Method::kPost, "/api/v1/deposits"},
    {Method::kGet, "/api/v1/transfer-limits/rules/all"},
    {Method::kGet, "/api/v1/transfer-limits/{account_number}"},
    {Method::kGet, "/transaction-logs/{account_number}"},
    {Method::kGet, "/transaction-logs/transaction/{transaction_id}"},
    {Method::kGet, "/health"},
    {Method::kGet, "/a/{x}/b/{y}"},
    {Method::kPut, "/a/{x}/b/{y}"},
    {Method::kDelete, "/a/{other}"},
    {Method::kHead, "/head"},
    {Method::kGet, "/head"},
    {Method::kOptions, "/options"},
    {Method::kGet, "/"},
};

Router make_router() {
  auto router = Router::build(kRoutes);
  EXPECT_TRUE(router.has_value());
  return std::move(*router);
}

// "pattern(param, param) allow", "not found" or "not allowed: allow".
std::string find(Method method, std::string_view path) {
  static const Router router = make_router();
  const RouteMatch match = router.find(method, path);
  switch (match.kind) {
    case RouteMatch::Kind::kNotFound:
      EXPECT_EQ(match.param_count, 0U);
      return "not found";
    case RouteMatch::Kind::kMethodNotAllowed:
      return concat("not allowed: ", match.allow);
    case RouteMatch::Kind::kFound:
      break;
  }
  std::string text(router.pattern(match.route));
  EXPECT_EQ(text, kRoutes[match.route].pattern);
  for (size_t i = 0; i < match.param_count; ++i) {
    text += " " + std::string(match.params[i]);
  }
  return text;
}

TEST(Router, Found) {
  EXPECT_EQ(find(Method::kPost, "/api/v1/deposits"), "/api/v1/deposits");
  EXPECT_EQ(find(Method::kGet, "/health"), "/health");
  EXPECT_EQ(find(Method::kGet, "/"), "/");
  EXPECT_EQ(find(Method::kGet, "/transaction-logs/1001"), "/transaction-logs/{account_number} 1001");
  EXPECT_EQ(find(Method::kGet, "/transaction-logs/transaction/7"), "/transaction-logs/transaction/{transaction_id} 7");
  EXPECT_EQ(find(Method::kPut, "/a/1/b/2"), "/a/{x}/b/{y} 1 2");
  EXPECT_EQ(find(Method::kDelete, "/a/1"), "/a/{other} 1");
}

TEST(Router, LiteralsWinAndParametersAreTheFallback) {
  EXPECT_EQ(find(Method::kGet, "/api/v1/transfer-limits/rules/all"), "/api/v1/transfer-limits/rules/all");
  EXPECT_EQ(find(Method::kGet, "/api/v1/transfer-limits/1001"), "/api/v1/transfer-limits/{account_number} 1001");
  // "rules" and "transaction" begin longer patterns but end none.
  EXPECT_EQ(find(Method::kGet, "/api/v1/transfer-limits/rules"), "/api/v1/transfer-limits/{account_number} rules");
  EXPECT_EQ(find(Method::kGet, "/transaction-logs/transaction"), "/transaction-logs/{account_number} transaction");
}

TEST(Router, NotFound) {
  for (std::string_view path : {"",
                                "*",
                                "health",
                                "//",
                                "//health",
                                "/health/",
                                "/Health",
                                "/healt",
                                "/healthy",
                                "/health/x",
                                "/transaction-logs",
                                "/transaction-logs/",
                                "/transaction-logs//",
                                "/transaction-logs/transaction/",
                                "/transaction-logs/1/2",
                                "/api/v1",
                                "/api/v1/transfer-limits/rules/none",
                                "/a//b/1",
                                "/a/1/b",
                                "/a/1/b/",
                                "/a/1/b/2/",
                                "/%68ealth",
                                "/./health",
                                "/../health",
                                "a:443"}) {
    EXPECT_EQ(find(Method::kGet, path), "not found") << path;
  }
}

TEST(Router, ParametersAreRaw) {
  EXPECT_EQ(find(Method::kGet, "/transaction-logs/%31"), "/transaction-logs/{account_number} %31");
  EXPECT_EQ(find(Method::kGet, "/transaction-logs/.."), "/transaction-logs/{account_number} ..");
}

TEST(Router, MethodNotAllowed) {
  EXPECT_EQ(find(Method::kGet, "/api/v1/deposits"), "not allowed: POST, OPTIONS");
  EXPECT_EQ(find(Method::kPost, "/health"), "not allowed: GET, HEAD, OPTIONS");
  EXPECT_EQ(find(Method::kOther, "/a/1/b/2"), "not allowed: GET, HEAD, PUT, OPTIONS");
  EXPECT_EQ(find(Method::kOptions, "/health"), "not allowed: GET, HEAD, OPTIONS");
  EXPECT_EQ(find(Method::kOptions, "/options"), "/options");
  EXPECT_EQ(find(Method::kHead, "/options"), "not allowed: OPTIONS");
  EXPECT_EQ(find(Method::kPost, "/"), "not allowed: GET, HEAD, OPTIONS");
}

TEST(Router, GetImpliesHead) {
  EXPECT_EQ(find(Method::kHead, "/transaction-logs/1"), "/transaction-logs/{account_number} 1");
  const Router router = make_router();
  EXPECT_EQ(router.find(Method::kHead, "/head").route, 9U);
  EXPECT_EQ(router.find(Method::kGet, "/head").route, 10U);
  EXPECT_EQ(router.find(Method::kHead, "/api/v1/deposits").kind, RouteMatch::Kind::kMethodNotAllowed);
  EXPECT_EQ(router.size(), kRoutes.size());
  EXPECT_EQ(router.find(Method::kGet, "/health").allow, "GET, HEAD, OPTIONS");
}

TEST(Router, MovesWithItsTable) {
  Router first = make_router();
  const Router second = std::move(first);
  EXPECT_EQ(second.find(Method::kPost, "/health").allow, "GET, HEAD, OPTIONS");
}

std::string build_error(const std::vector<RouteSpec>& routes) {
  const auto router = Router::build(routes);
  return router ? "" : router.error().message;
}

TEST(Router, TablesThatCannotBeRight) {
  EXPECT_EQ(build_error({}), "");
  EXPECT_EQ(build_error({{Method::kGet, "/a/{x}"}, {Method::kGet, "/a/{y}"}}),
            "route GET /a/{y}: same as an earlier route");
  EXPECT_EQ(build_error({{Method::kOther, "/a"}}), "route OTHER /a: no method that could be routed");
  EXPECT_EQ(build_error({{Method::kGet, ""}}), "route GET : does not begin with a slash");
  EXPECT_EQ(build_error({{Method::kGet, "a"}}), "route GET a: does not begin with a slash");
  for (std::string_view pattern : {"/a/", "//", "/a//b", "/{}", "/{a", "/a}", "/{a}b", "/a b", "/a?b", "/%41"}) {
    EXPECT_EQ(build_error({{Method::kGet, pattern}}), concat("route GET ", pattern, ": empty or malformed segment"));
  }
  EXPECT_EQ(build_error({{Method::kGet, "/{a}/{b}/{c}"}}), "route GET /{a}/{b}/{c}: too many parameters");
  EXPECT_EQ(build_error({{Method::kGet, "/1/2/3/4/5/6/7/8"}}), "");
  EXPECT_EQ(build_error({{Method::kGet, "/1/2/3/4/5/6/7/8/9"}}), "route GET /1/2/3/4/5/6/7/8/9: too many segments");
}

}  // namespace
}  // namespace txn
