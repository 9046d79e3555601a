#include "app/service.h"

#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "app/auth.h"
#include "app/problem.h"
#include "app/query_names.h"
#include "app/respond.h"
#include "app/routes.h"
#include "net/client_address.h"

namespace txn {
namespace {

bool is_on(ServicePort port, Exposure exposure, const Settings& settings) {
  switch (exposure) {
    case Exposure::kClients:
      return port == ServicePort::kService;
    case Exposure::kProbes:
      return true;
    case Exposure::kOperators:
      return port == ServicePort::kOperations || settings.metrics_public;
  }
  return false;
}

std::vector<size_t> routes_on(ServicePort port, const Settings& settings) {
  std::vector<size_t> found;
  for (size_t route = 0; route < routes().size(); ++route) {
    if (is_on(port, routes()[route].exposure, settings)) found.push_back(route);
  }
  return found;
}

Router build_router(std::span<const size_t> which) {
  std::vector<RouteSpec> specs;
  for (const size_t route : which) specs.push_back({routes()[route].method, routes()[route].pattern});
  auto router = Router::build(specs);
  CHECK(router.has_value(), "the table of routes is well-formed");
  return std::move(*router);
}

std::vector<uint16_t> endpoints_by_route() {
  std::vector<uint16_t> endpoints;
  for (size_t route = 0; route < routes().size(); ++route)
    endpoints.push_back(static_cast<uint16_t>(endpoint_of_route(route)));
  return endpoints;
}

Problem problem_of_status(int status) {
  switch (status) {
    case 408:
      return Problem::kRequestTimeout;
    case 413:
      return Problem::kContentTooLarge;
    case 417:
      return Problem::kExpectationFailed;
    case 431:
      return Problem::kRequestHeaderFieldsTooLarge;
    case 501:
      return Problem::kNotImplemented;
    case 503:
      return Problem::kServiceUnavailable;
    case 505:
      return Problem::kHttpVersionNotSupported;
    default:
      return Problem::kMalformedRequest;
  }
}

// The content coding that a body must not have (RFC 9110 section 8.4); empty: none.
std::string_view coding_of(const HttpRequest& request) {
  const auto coding = request.find(KnownHeader::kContentEncoding).value_or("");
  return equals_ignore_case(coding, "identity") ? "" : coding;
}

// A body must say that it is JSON.
bool is_json(const HttpRequest& request) {
  constexpr std::string_view kJson = "application/json";
  const auto type = request.find(KnownHeader::kContentType);
  if (!type || type->size() < kJson.size() || !equals_ignore_case(type->substr(0, kJson.size()), kJson)) return false;
  const std::string_view rest = type->substr(kJson.size());
  return rest.empty() || rest.front() == ';' || rest.front() == ' ' || rest.front() == '\t';
}

// RFC 9110 section 15.5.16: a 415 over a coding says which ones would do.
void refuse_coding(Context& context, Exchange& exchange, std::string_view coding) {
  constexpr size_t kCodingMax = 64;
  std::string detail = "The content coding ";
  detail += coding.substr(0, kCodingMax);
  detail += " is not supported; send the body as it is";
  const HeaderField accept{"Accept-Encoding", "identity"};
  record_of(exchange).reason = "a content coding";
  respond_problem(context, exchange, Problem::kUnsupportedMediaType, {.detail = detail}, {&accept, 1});
}

}  // namespace

// Which methods a path takes, and for a browser that asks on behalf of a page, what that may send.
void Service::answer_options(Exchange& exchange, std::string_view allow) const {
  const HeaderField headers[] = {{"Allow", allow},
                                 {"Access-Control-Allow-Methods", allow},
                                 {"Access-Control-Allow-Headers", context_.settings.cors_allowed_headers},
                                 {"Access-Control-Max-Age", kCorsMaxAgeSeconds}};
  const bool is_granted = exchange.is_cors_allowed() && is_preflight(exchange.request());
  exchange.respond({.status = 204, .headers = {headers, is_granted ? std::size(headers) : 1}});
}

Service::Service(Context& context, Scope& handlers, ServicePort port)
    : context_(context),
      handlers_(handlers),
      routes_(routes_on(port, context.settings)),
      router_(build_router(routes_)),
      endpoints_(endpoints_by_route()),
      request_log_(context.settings.access_log, context.clock),
      tracer_(context.settings, context.spans, context.clock) {}

// `route` of what comes back is a place in routes().
RouteMatch Service::find(Method method, std::string_view path) const {
  RouteMatch match = router_.find(method, path);
  if (match.kind != RouteMatch::Kind::kNotFound) match.route = routes_[match.route];
  return match;
}

// `request` is nullptr for what was none.
RequestRecord& Service::begin_record(Exchange& exchange, const HttpRequest* request) {
  RequestRecord& record = record_of(exchange);
  record.clear();
  tracer_.begin(record, request);
  const IpAddress peer = IpAddress::of(exchange.peer());
  record.client = request != nullptr ? client_address(peer, *request, context_.settings.trusted_proxies) : peer;
  return record;
}

void Service::on_request(Exchange& exchange) {
  const HttpRequest& request = exchange.request();
  RequestRecord& record = begin_record(exchange, &request);
  const RouteMatch match = find(request.method, request.path);
  exchange.set_endpoint(match.kind == RouteMatch::Kind::kNotFound ? kUnmatchedEndpoint : endpoints_[match.route]);
  // Only what is the same for everybody may be kept by caches, and errors are nobody's to keep.
  if (match.kind != RouteMatch::Kind::kFound || routes()[match.route].access != Access::kPublic)
    exchange.set_no_store();
  if (!request.is_known_method) {
    record.reason = "an unknown method";
    return respond_problem(context_, exchange, Problem::kNotImplemented,
                           {.detail = "The method is none that this service knows"});
  }
  switch (match.kind) {
    case RouteMatch::Kind::kFound:
      break;
    case RouteMatch::Kind::kNotFound:
      // RFC 9110 section 9.3.7: the server as a whole. Of "/" load balancers ask the same: HAProxy's own check does.
      if (request.method == Method::kOptions && request.target_form == TargetForm::kAsterisk)
        return answer_options(exchange, "GET, HEAD, POST, OPTIONS");
      if (request.method == Method::kOptions && request.path == "/") return answer_options(exchange, "OPTIONS");
      return respond_problem(context_, exchange, Problem::kNotFound);
    case RouteMatch::Kind::kMethodNotAllowed: {
      const HeaderField allow{"Allow", match.allow};
      if (request.method == Method::kOptions) return answer_options(exchange, match.allow);
      return respond_problem(context_, exchange, Problem::kMethodNotAllowed, {}, {&allow, 1});
    }
  }
  const Route& route = routes()[match.route];
  record.route = &route;
  if (route.is_bulky) exchange.set_bulky();
  if (route.limit != LimitedRoute::kNone && context_.limits.is_enabled()) {
    if (!context_.limits.is_shared()) {
      handlers_.spawn(start_limited(exchange, route, match));
    } else {
      // The parameters of `match` are views of the request where it came in, which will be gone when Redis has
      // answered.
      exchange.hold_request();
      handlers_.spawn(start_limited(exchange, route, find(request.method, exchange.request().path)));
    }
  } else {
    start(exchange, route, match);
  }
}

// Holds a request to the limit of its route. Every answer from here on says what is left of it.
Task<void> Service::start_limited(Exchange& exchange, const Route& route, RouteMatch match) {
  RateLimiter& limits = context_.limits;
  const IpAddress& address = record_of(exchange).client;
  std::optional<std::expected<Principal, AuthRefusal>> caller;
  RateLimitDecision decision;
  // What is turned away for overload takes nothing from its client's limit, and is told what is left of it all the
  // same.
  const bool is_shed = route.access == Access::kMoneyMover && context_.ledger.is_overloaded();
  if (is_shed || limits.wants_subject()) {
    decision = limits.peek(route.limit, limits.client(address, std::nullopt));
    if (decision.admitted && !is_shed) caller = authenticate(context_, exchange.request());
  }
  if (decision.admitted && !is_shed) {
    const bool is_known = caller && caller->has_value();
    const std::optional<int64_t> subject = is_known ? std::optional((*caller)->subject) : std::nullopt;
    const RateLimitClient client = limits.client(address, subject);
    if (limits.is_shared()) {
      decision = co_await limits.take_shared(route.limit, client);
    } else {
      decision = limits.take(route.limit, client);
    }
  }

  // Whoever has left while Redis was asked has nothing begun for them.
  if (!exchange.has_client()) {
    exchange.respond({});
    co_return;
  }

  const RateLimitFields fields(route.limit, limits.policy(route.limit), decision, context_.clock.wall_us());
  exchange.set_lines(fields.lines());
  if (!decision.admitted) {
    respond_problem(context_, exchange, Problem::kRateLimitExceeded, {.retry_after = fields.retry_after()});
  } else if (!caller) {
    start(exchange, route, match);
  } else if (!*caller) {
    refuse(exchange, caller->error());
  } else {
    start_as(exchange, route, match, **caller);
  }
  co_return;
}

void Service::start(Exchange& exchange, const Route& route, const RouteMatch& match) {
  if (route.access == Access::kPublic) return start_as(exchange, route, match, {});
  // Under overload what cannot be carried out costs as little as possible.
  if (route.access == Access::kMoneyMover && context_.ledger.sheds())
    return respond_problem(context_, exchange, Problem::kServiceUnavailable);
  const auto caller = authenticate(context_, exchange.request());
  if (!caller) return refuse(exchange, caller.error());
  start_as(exchange, route, match, *caller);
}

void Service::refuse(Exchange& exchange, const AuthRefusal& refusal) {
  record_of(exchange).reason = refusal.reason;
  respond_problem(context_, exchange, refusal.problem, {.detail = refusal.detail});
}

void Service::start_as(Exchange& exchange, const Route& route, const RouteMatch& match, const Principal& caller) {
  if (route.access != Access::kPublic) record_of(exchange).caller = caller;
  if (!may_call(caller.role, route.access)) return respond_problem(context_, exchange, Problem::kForbidden);
  const HttpRequest& request = exchange.request();
  if (route.access != Access::kPublic) {
    if (const auto error = find_query_error(request.query, route.parameters))
      return respond_invalid(context_, exchange, "query", error->field, error->message);
  }
  if (request.method == Method::kPost) {
    if (const std::string_view coding = coding_of(request); !coding.empty())
      return refuse_coding(context_, exchange, coding);
    if (!is_json(request)) {
      const HeaderField accept{"Accept", "application/json"};
      return respond_problem(context_, exchange, Problem::kUnsupportedMediaType, {}, {&accept, 1});
    }
  }
  handlers_.spawn(route.handler(context_, exchange, match, caller));
}

// The same checks as in on_request(), in any order: it only matters whether one of them will refuse.
bool Service::is_settled(const HttpRequest& head) {
  const RouteMatch match = find(head.method, head.path);
  if (!head.is_known_method || match.kind != RouteMatch::Kind::kFound) return true;
  const Route& route = routes()[match.route];
  if (route.access == Access::kPublic) return false;
  if (head.method == Method::kPost && (!is_json(head) || !coding_of(head).empty())) return true;
  const auto caller = authenticate(context_, head);
  return !caller || !may_call(caller->role, route.access) || find_query_error(head.query, route.parameters);
}

void Service::on_bad_request(Exchange& exchange, int status, std::string_view detail) {
  exchange.set_endpoint(kUnmatchedEndpoint);
  exchange.set_no_store();
  begin_record(exchange, nullptr).reason = detail;
  respond_problem(context_, exchange, problem_of_status(status), {.detail = detail});
}

void Service::on_answered(const Exchange& exchange, int status) {
#ifndef TXN_WITHOUT_METRICS
  ServiceCounters::Requests& requests = context_.counters.requests(exchange.endpoint(), exchange.method());
  ++requests.by_status[index_of_status(status)];
  // What never became a whole request has no time that would mean anything.
  if (exchange.is_complete())
    requests.duration_ns.observe(static_cast<uint64_t>(context_.clock.read_ns() - exchange.received_ns()));
#endif
  const RequestRecord& record = record_of(exchange);
  request_log_.on_answered(exchange, record, status);
  tracer_.on_answered(exchange, record, status);
}

std::unique_ptr<ExchangeData> Service::make_data() { return std::make_unique<RequestRecord>(); }

}  // namespace txn
