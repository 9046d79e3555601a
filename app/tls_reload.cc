#include "app/tls_reload.h"

#include <ctime>

#include "app/worker.h"
#include "core/log.h"

namespace txn {

TlsFiles tls_files(const Settings& settings) {
  return {
      .chain = settings.tls_cert_file, .key = settings.tls_key_file, .client_authorities = settings.tls_client_ca_file};
}

Result<std::shared_ptr<const TlsContext>> TlsReload::load(const Settings& settings) {
  if (!serves_tls(settings)) return nullptr;
  auto context = TlsContext::load(tls_files(settings), tickets_);
  if (context) note(**context);
  return context;
}

Result<void> TlsReload::reload(const Settings& settings, std::span<const std::unique_ptr<Worker>> workers) {
  const bool serves = counters().certificate_not_after != 0;
  if (!serves && !serves_tls(settings)) return {};
  const auto context = serves == serves_tls(settings)
                           ? load(settings)
                           : fail(ErrorKind::kInvalidArgument, "TLS is turned on or off by a restart only");
  if (!context) {
    reloads_failed_.fetch_add(1, std::memory_order_relaxed);
    return std::unexpected(context.error());
  }
  for (const auto& worker : workers) worker->set_tls(*context);
  reloads_.fetch_add(1, std::memory_order_relaxed);
  return {};
}

void TlsReload::note(const TlsContext& context) {
  certificate_not_after_.store(context.certificate_not_after(), std::memory_order_relaxed);
  for (const std::string& warning : context.warnings())
    LOG(kWarning, "app.tls", "A certificate is not sent").field("reason", warning);
  const int64_t left_s = context.certificate_not_after() - std::time(nullptr);
  if (left_s < kExpiryWarningSeconds)
    LOG(kWarning, "app.tls", "The TLS certificate expires soon").field("days_left", left_s / 86400);
}

TlsReload::Counters TlsReload::counters() const {
  return {.reloads = reloads_.load(std::memory_order_relaxed),
          .reloads_failed = reloads_failed_.load(std::memory_order_relaxed),
          .certificate_not_after = certificate_not_after_.load(std::memory_order_relaxed)};
}

}  // namespace txn
