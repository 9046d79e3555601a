// The table of what the service answers: method, path, who may call, and the handler.
//
// Anatomy of a handler. It is a coroutine that ends its exchange exactly once, by one of respond.h:
//
//   Task<void> handle_x(Context& context, Exchange& exchange, RouteMatch match, Principal caller) {
//     // 1. Take what is needed from path, query and body: the request is gone after the first co_await.
//     const auto number = ...match.params[0]...;
//     if (!number) co_return respond_invalid(...);
//     // 2. Wait.
//     auto rows = co_await context.reader.query(...);
//     // 3. Answer.
//     respond_json(exchange, ...);
//   }
//
// By then the path has been found, the method allowed and the caller authenticated, with a role that the table admits.
#pragma once

#include <span>

#include "app/auth.h"
#include "app/context.h"
#include "app/rate_limit.h"
#include "core/task.h"
#include "net/exchange.h"
#include "net/router.h"

namespace txn {

using Handler = Task<void> (*)(Context& context, Exchange& exchange, RouteMatch match, Principal caller);

// The listeners that a route is on.
enum class Exposure : uint8_t {
  kClients,    // SERVICE_PORT
  kProbes,     // both
  kOperators,  // OPERATIONS_PORT, and SERVICE_PORT as METRICS_PUBLIC says
};

struct Route {
  Method method;
  std::string_view pattern;
  Access access;
  Handler handler;
  LimitedRoute limit = LimitedRoute::kNone;
  Exposure exposure = Exposure::kClients;
  bool is_bulky = false;  // answers may be beyond what a connection keeps for a slow reader (kOutputMaxBytes)
  // The query parameters that it knows. Others, and one twice, are 422; not on public routes, whose callers are
  // machines that append what they like.
  std::span<const std::string_view> parameters = {};
};

std::span<const Route> routes();

// The first route with the same pattern: what metrics know a route by.
size_t endpoint_of_route(size_t route);

// The handlers, by the file they are in.
// handle_money.cc
Task<void> handle_deposit(Context& context, Exchange& exchange, RouteMatch match, Principal caller);
Task<void> handle_withdrawal(Context& context, Exchange& exchange, RouteMatch match, Principal caller);
Task<void> handle_transfer(Context& context, Exchange& exchange, RouteMatch match, Principal caller);
// handle_limits.cc
Task<void> handle_privilege_limit(Context& context, Exchange& exchange, RouteMatch match, Principal caller);
Task<void> handle_limit_rules(Context& context, Exchange& exchange, RouteMatch match, Principal caller);
Task<void> handle_limit(Context& context, Exchange& exchange, RouteMatch match, Principal caller);
// handle_logs.cc
Task<void> handle_account_logs(Context& context, Exchange& exchange, RouteMatch match, Principal caller);
Task<void> handle_transaction_logs(Context& context, Exchange& exchange, RouteMatch match, Principal caller);
// handle_docs.cc
Task<void> handle_docs(Context& context, Exchange& exchange, RouteMatch match, Principal caller);
// handle_health.cc
Task<void> handle_health(Context& context, Exchange& exchange, RouteMatch match, Principal caller);
Task<void> handle_livez(Context& context, Exchange& exchange, RouteMatch match, Principal caller);
Task<void> handle_readyz(Context& context, Exchange& exchange, RouteMatch match, Principal caller);
// handle_metrics.cc
Task<void> handle_metrics(Context& context, Exchange& exchange, RouteMatch match, Principal caller);

}  // namespace txn
