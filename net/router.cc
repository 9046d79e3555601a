#include "net/router.h"

#include <algorithm>

namespace txn {
namespace {

bool is_parameter(std::string_view segment) {
  return segment.size() > 2 && segment.front() == '{' && segment.back() == '}';
}

bool is_literal(std::string_view segment) {
  return !segment.empty() && std::all_of(segment.begin(), segment.end(), [](char c) {
    return is_visible(c) && std::string_view("{}/?#%").find(c) == std::string_view::npos;
  });
}

// The first segment of `rest`, and what follows its slash. `more` tells "a" from "a/".
struct Split {
  std::string_view segment;
  std::string_view rest;
  bool more;
};

Split split_segment(std::string_view rest) {
  const size_t slash = rest.find('/');
  if (slash == std::string_view::npos) {
    return {rest, {}, false};
  }
  return {rest.substr(0, slash), rest.substr(slash + 1), true};
}

}  // namespace

Result<Router> Router::build(std::span<const RouteSpec> routes) {
  Router router;
  router.nodes_.emplace_back();
  if (routes.size() >= kNone) {
    return fail(ErrorKind::kInvalidArgument, "too many routes");
  }
  for (const RouteSpec& spec : routes) {
    auto refuse = [&spec](const char* why) {
      return fail(ErrorKind::kInvalidArgument,
                  "route " + std::string(to_string(spec.method)) + " " + std::string(spec.pattern) + ": " + why);
    };
    if (spec.method == Method::kOther) {
      return refuse("no method that could be routed");
    }
    if (spec.pattern.empty() || spec.pattern.front() != '/') {
      return refuse("does not begin with a slash");
    }
    uint16_t node = 0;
    size_t segments = 0;
    size_t params = 0;
    std::string_view rest = spec.pattern.substr(1);
    bool more = !rest.empty();
    while (more) {
      const Split split = split_segment(rest);
      if (++segments > kMaxSegments) {
        return refuse("too many segments");
      }
      if (is_parameter(split.segment)) {
        if (++params > RouteMatch::kMaxParams) {
          return refuse("too many parameters");
        }
      } else if (!is_literal(split.segment)) {
        return refuse("empty or malformed segment");
      }
      if (router.nodes_.size() >= kNone) {
        return refuse("table too large");
      }
      node = router.add_child(node, split.segment);
      rest = split.rest;
      more = split.more;
    }
    uint16_t& route = router.nodes_[node].routes[static_cast<size_t>(spec.method)];
    if (route != kNone) {
      return refuse("same as an earlier route");
    }
    route = static_cast<uint16_t>(router.patterns_.size());
    router.patterns_.emplace_back(spec.pattern);
  }
  router.fill_allow();
  return router;
}

uint16_t Router::add_child(uint16_t node, std::string_view segment) {
  const auto fresh = static_cast<uint16_t>(nodes_.size());
  if (is_parameter(segment)) {
    if (nodes_[node].parameter != kNone) {
      return nodes_[node].parameter;
    }
    nodes_[node].parameter = fresh;
  } else {
    for (const Child& child : nodes_[node].literals) {
      if (child.segment == segment) {
        return child.node;
      }
    }
    nodes_[node].literals.push_back({std::string(segment), fresh});
  }
  nodes_.emplace_back();
  return fresh;
}

void Router::fill_allow() {
  constexpr auto kGet = static_cast<size_t>(Method::kGet);
  constexpr auto kHead = static_cast<size_t>(Method::kHead);
  constexpr auto kOptions = static_cast<size_t>(Method::kOptions);
  for (Node& node : nodes_) {
    if (std::all_of(node.routes.begin(), node.routes.end(), [](uint16_t route) { return route == kNone; })) {
      continue;
    }
    if (node.routes[kHead] == kNone) {
      node.routes[kHead] = node.routes[kGet];
    }
    for (size_t method = 0; method < kMethodCount; ++method) {
      if (node.routes[method] != kNone || method == kOptions) {
        node.allow += node.allow.empty() ? "" : ", ";
        node.allow += to_string(static_cast<Method>(method));
      }
    }
  }
}

RouteMatch Router::find(Method method, std::string_view path) const {
  RouteMatch match;
  if (path.empty() || path.front() != '/') {
    return match;
  }
  path.remove_prefix(1);
  uint16_t index = 0;
  if (path.empty()) {
    index = nodes_[0].allow.empty() ? kNone : 0;
  } else {
    index = find_node(0, path, match);
  }
  if (index == kNone) {
    match.param_count = 0;
    return match;
  }
  const Node& node = nodes_[index];
  match.allow = node.allow;
  const uint16_t route = node.routes[static_cast<size_t>(method)];
  if (route == kNone) {
    match.kind = RouteMatch::Kind::kMethodNotAllowed;
    match.route = *std::find_if(node.routes.begin(), node.routes.end(), [](uint16_t other) { return other != kNone; });
    return match;
  }
  match.kind = RouteMatch::Kind::kFound;
  match.route = route;
  return match;
}

// The node that `rest` leads to from `node`, if a pattern ends there. The recursion is as deep as the deepest pattern.
uint16_t Router::find_node(uint16_t node, std::string_view rest, RouteMatch& match) const {
  const Split split = split_segment(rest);
  auto descend = [&](uint16_t child) -> uint16_t {
    if (split.more) {
      return find_node(child, split.rest, match);
    }
    return nodes_[child].allow.empty() ? kNone : child;
  };
  for (const Child& child : nodes_[node].literals) {
    if (child.segment == split.segment) {
      if (const uint16_t found = descend(child.node); found != kNone) {
        return found;
      }
      break;
    }
  }
  if (nodes_[node].parameter != kNone && !split.segment.empty()) {
    match.params[match.param_count++] = split.segment;
    if (const uint16_t found = descend(nodes_[node].parameter); found != kNone) {
      return found;
    }
    --match.param_count;
  }
  return kNone;
}

}  // namespace txn
