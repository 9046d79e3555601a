// Method and path to a route number. The table is built once at start and never changes, so any thread may look up.
//
// A pattern is "/", or segments that are literal or a parameter: "/transaction-logs/{account_number}". A literal wins
// over a parameter in the same place; when the literal turns out to lead nowhere the parameter is tried. Paths are
// compared as they were sent: no percent-decoding, no folding of case, no normalisation of "//" or "..", and a trailing
// slash makes another path. A parameter is never empty. Dispatch on anything more would let two spellings of a path
// differ between this service and a proxy in front of it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "net/http_request.h"

namespace txn {

struct RouteSpec {
  Method method = Method::kGet;  // not kOther
  std::string_view pattern;
};

struct RouteMatch {
  enum class Kind : uint8_t { kFound, kNotFound, kMethodNotAllowed };
  static constexpr size_t kMaxParams = 2;

  Kind kind = Kind::kNotFound;
  size_t route = 0;        // kFound: index in the table given to Router::build(); kMethodNotAllowed: one of that path
  size_t param_count = 0;  // kFound: how many of `params` are set
  std::array<std::string_view, kMaxParams> params = {};  // raw, in order of the pattern; live as long as the path
  std::string_view
      allow;  // kFound, kMethodNotAllowed: what the path takes, "GET, HEAD, OPTIONS"; lives with the Router
};

class Router {
 public:
  static constexpr size_t kMaxSegments = 8;

  // kInvalidArgument names the first pattern that is malformed, has too many segments or parameters, or stands for the
  // same paths and method as an earlier one. Nothing of `routes` is referred to afterwards.
  static Result<Router> build(std::span<const RouteSpec> routes);

  // HEAD finds the route of GET unless it has its own. OPTIONS is in every Allow list and is for the caller to answer:
  // without a route of its own it comes back as kMethodNotAllowed.
  RouteMatch find(Method method, std::string_view path) const;

  // The pattern of a route, for metrics and logs. REQUIRES: route < size(). Lives as long as the Router.
  std::string_view pattern(size_t route) const { return patterns_[route]; }
  size_t size() const { return patterns_.size(); }

 private:
  static constexpr uint16_t kNone = 0xffff;

  struct Child {
    std::string segment;
    uint16_t node;
  };

  // One segment of the tree; the root is nodes_[0] and stands for the "/" that begins every path.
  struct Node {
    std::vector<Child> literals;
    uint16_t parameter = kNone;  // the node behind "{...}"
    std::array<uint16_t, kMethodCount> routes;
    std::string allow;  // empty when no pattern ends here
    Node() { routes.fill(kNone); }
  };

  Router() = default;
  uint16_t find_node(uint16_t node, std::string_view rest, RouteMatch& match) const;
  uint16_t add_child(uint16_t node, std::string_view segment);
  void fill_allow();

  std::vector<Node> nodes_;
  std::vector<std::string> patterns_;
};

}  // namespace txn
