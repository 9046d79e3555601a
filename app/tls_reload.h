// The process's TLS: loaded at start, loaded again by SIGHUP, handed to the workers.
//
// Belongs to the main thread, which may block on files; counters() may be asked by any. Live connections keep what they
// began under, tickets stay valid, and what cannot be loaded changes nothing.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>

#include "core/config.h"
#include "net/tls_context.h"

namespace txn {

class Worker;

// An expiry nearer than this is warned of.
inline constexpr int64_t kExpiryWarningSeconds = 30 * 86400;

TlsFiles tls_files(const Settings& settings);
inline bool serves_tls(const Settings& settings) { return !settings.tls_cert_file.empty(); }

class TlsReload {
 public:
  struct Counters {
    uint64_t reloads = 0;
    uint64_t reloads_failed = 0;
    int64_t certificate_not_after = 0;  // Unix seconds; 0 without TLS
  };

  // At start: what the workers serve with; null when TLS is not configured.
  Result<std::shared_ptr<const TlsContext>> load(const Settings& settings);

  // The files once more, or others: every worker serves new connections with them. An error changes nothing; turning
  // TLS on or off is one, because a port does not change its protocol under its clients.
  Result<void> reload(const Settings& settings, std::span<const std::unique_ptr<Worker>> workers);

  Counters counters() const;

 private:
  void note(const TlsContext& context);

  const std::shared_ptr<TlsTicketKeys> tickets_ = std::make_shared<TlsTicketKeys>();
  std::atomic<uint64_t> reloads_{0};
  std::atomic<uint64_t> reloads_failed_{0};
  std::atomic<int64_t> certificate_not_after_{0};
};

}  // namespace txn
