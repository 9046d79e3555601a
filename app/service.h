// From an exchange to its handler: route, limit, authenticate, start. And what is no request gets its error.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "app/auth.h"
#include "app/context.h"
#include "app/request_log.h"
#include "app/routes.h"
#include "app/tracer.h"
#include "core/task.h"
#include "net/exchange.h"
#include "net/router.h"

namespace txn {

// Which port a service answers on.
enum class ServicePort : uint8_t { kService, kOperations };

class Service final : public HttpService {
 public:
  // Handlers run in `handlers`. Both must outlive the service. Has the routes that are exposed on `port`.
  Service(Context& context, Scope& handlers, ServicePort port);

  void on_request(Exchange& exchange) override;
  bool is_settled(const HttpRequest& head) override;
  void on_bad_request(Exchange& exchange, int status, std::string_view detail) override;
  void on_answered(const Exchange& exchange, int status) override;
  std::unique_ptr<ExchangeData> make_data() override;

 private:
  RouteMatch find(Method method, std::string_view path) const;
  RequestRecord& begin_record(Exchange& exchange, const HttpRequest* request);
  void answer_options(Exchange& exchange, std::string_view allow) const;
  Task<void> start_limited(Exchange& exchange, const Route& route, RouteMatch match);
  void start(Exchange& exchange, const Route& route, const RouteMatch& match);
  void start_as(Exchange& exchange, const Route& route, const RouteMatch& match, const Principal& caller);
  void refuse(Exchange& exchange, const AuthRefusal& refusal);

  Context& context_;
  Scope& handlers_;
  const std::vector<size_t> routes_;       // those of this port, by their place in routes()
  const Router router_;                    // counts as routes_ does: only find() asks it
  const std::vector<uint16_t> endpoints_;  // by route
  RequestLog request_log_;
  Tracer tracer_;
};

}  // namespace txn
