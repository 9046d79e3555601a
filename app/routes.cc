#include "app/routes.h"

namespace txn {

std::span<const Route> routes() {
  static constexpr bool kBulky = true;
  static constexpr std::string_view kPage[] = {"limit", "cursor", "skip", "start_date", "end_date"};
  static constexpr Route kRoutes[] = {
      {Method::kPost, "/api/v1/deposits", Access::kMoneyMover, handle_deposit, LimitedRoute::kDeposits},
      {Method::kPost, "/api/v1/withdrawals", Access::kMoneyMover, handle_withdrawal, LimitedRoute::kWithdrawals},
      {Method::kPost, "/api/v1/transfers", Access::kMoneyMover, handle_transfer, LimitedRoute::kTransfers},

      {Method::kGet, "/transfer-limits/{privilege_level}", Access::kAnyRole, handle_privilege_limit},
      {Method::kGet, "/api/v1/transfer-limits/rules/all", Access::kStaff, handle_limit_rules},
      {Method::kGet, "/api/v1/transfer-limits/{account_number}", Access::kAnyRole, handle_limit},

      {Method::kGet, "/transaction-logs/{account_number}", Access::kAnyRole, handle_account_logs, LimitedRoute::kNone,
       Exposure::kClients, kBulky, kPage},
      {Method::kGet, "/api/v1/transaction-logs/{account_number}", Access::kAnyRole, handle_account_logs,
       LimitedRoute::kNone, Exposure::kClients, kBulky, kPage},
      {Method::kGet, "/api/v1/transaction-logs/transaction/{transaction_id}", Access::kAnyRole,
       handle_transaction_logs},

      {Method::kGet, "/api/v1/docs", Access::kPublic, handle_docs},
      {Method::kGet, "/health", Access::kPublic, handle_health, LimitedRoute::kNone, Exposure::kOperators},
      {Method::kGet, "/livez", Access::kPublic, handle_livez, LimitedRoute::kNone, Exposure::kProbes},
      {Method::kGet, "/readyz", Access::kPublic, handle_readyz, LimitedRoute::kNone, Exposure::kProbes},
      {Method::kGet, "/metrics", Access::kPublic, handle_metrics, LimitedRoute::kNone, Exposure::kOperators, kBulky},
  };
  return kRoutes;
}

size_t endpoint_of_route(size_t route) {
  size_t first = 0;
  while (routes()[first].pattern != routes()[route].pattern) ++first;
  return first;
}

}  // namespace txn
