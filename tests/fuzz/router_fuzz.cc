// Paths against a router over a table of patterns that overlap: what is found is what a slow matcher finds, which tries
// every pattern and prefers literals from left to right.
//
// Input: the method, then the path.
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/routes.h"
#include "core/check.h"
#include "net/router.h"
#include "tests/fuzz/fuzz_input.h"

namespace txn {
namespace {

constexpr RouteSpec kOverlapping[] = {
    {Method::kGet, "/"},          {Method::kGet, "/a"},          {Method::kPost, "/a"},        {Method::kGet, "/a/{x}"},
    {Method::kGet, "/a/b"},       {Method::kPut, "/{y}/b"},      {Method::kGet, "/{y}/b/{z}"}, {Method::kGet, "/a/c/d"},
    {Method::kGet, "/a/{x}/e"},   {Method::kHead, "/a/{x}/e"},   {Method::kPost, "/{y}/c/d"},  {Method::kGet, "/{y}"},
    {Method::kOptions, "/a/b/c"}, {Method::kDelete, "/a/{x}/c"},
};

struct Table {
  std::vector<RouteSpec> specs;
  std::optional<Router> router;
};

Table make_table(std::vector<RouteSpec> specs) {
  Table table{.specs = std::move(specs), .router = {}};
  auto router = Router::build(table.specs);
  CHECK(router.has_value(), "the table is well-formed");
  table.router.emplace(std::move(*router));
  return table;
}

std::vector<std::string_view> split(std::string_view path) {
  std::vector<std::string_view> segments;
  path.remove_prefix(1);
  while (true) {
    const size_t slash = path.find('/');
    segments.push_back(path.substr(0, slash));
    if (slash == std::string_view::npos) return segments;
    path.remove_prefix(slash + 1);
  }
}

// How well a pattern fits: for each segment '0' for a literal, '1' for a parameter. Nothing when it does not.
std::optional<std::string> fit(std::string_view pattern, std::string_view path) {
  if (path.empty() || path.front() != '/') return std::nullopt;
  const auto wanted = split(pattern);
  const auto given = split(path);
  if (wanted.size() != given.size()) return std::nullopt;
  std::string result;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const bool is_parameter = wanted[i].starts_with('{');
    if (is_parameter ? given[i].empty() : wanted[i] != given[i]) return std::nullopt;
    result += is_parameter ? '1' : '0';
  }
  return result;
}

void check(const Table& table, Method method, std::string_view path) {
  const RouteMatch match = table.router->find(method, path);
  std::optional<std::string> best;
  for (const RouteSpec& spec : table.specs) {
    const auto quality = fit(spec.pattern, path);
    if (quality && (!best || *quality < *best)) best = quality;
  }
  CHECK(best.has_value() == (match.kind != RouteMatch::Kind::kNotFound), "found, or not");
  if (!best) return;
  CHECK(!match.allow.empty(), "a path that exists allows something");
  std::optional<size_t> expected;
  for (const Method candidate : {method, method == Method::kHead ? Method::kGet : method}) {
    for (size_t i = 0; i < table.specs.size() && !expected; ++i)
      if (table.specs[i].method == candidate && fit(table.specs[i].pattern, path) == best) expected = i;
  }
  CHECK(expected.has_value() == (match.kind == RouteMatch::Kind::kFound), "the method fits, or not");
  if (!expected) return;
  CHECK(match.route == *expected, "the right route");
  CHECK(match.param_count == static_cast<size_t>(std::ranges::count(*best, '1')), "all parameters");
  for (size_t i = 0; i < match.param_count; ++i) {
    CHECK(!match.params[i].empty(), "no parameter is empty");
    CHECK(match.params[i].find('/') == std::string_view::npos, "a parameter is one segment");
  }
}

Table service_table() {
  std::vector<RouteSpec> specs;
  for (const Route& route : routes()) specs.push_back({route.method, route.pattern});
  return make_table(std::move(specs));
}

}  // namespace
}  // namespace txn

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace txn;
  static const Table overlapping = make_table({std::begin(kOverlapping), std::end(kOverlapping)});
  static const Table service = service_table();
  fuzz::FuzzInput input(data, size);
  const auto method = static_cast<Method>(input.byte() % kMethodCount);
  const std::string_view path = input.rest();
  check(overlapping, method, path);
  check(service, method, path);
  return 0;
}
