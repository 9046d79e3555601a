// How many connections each client address has open, over all workers: so that one address cannot take them all.
//
// What counts as one address is IpAddress::network(): an IPv4 address, an IPv6 /64. Exempt are networks that many
// clients come through: trusted proxies, and the machine itself.
//
// Exact, and so shared: an address is counted under the lock of its stripe for some tens of nanoseconds, once when a
// connection is accepted and once when it is closed, never on behalf of a request. Memory is bounded by the connections
// that there are.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "core/config.h"
#include "net/client_address.h"

namespace txn {

class ConnectionQuota {
 public:
  // `limit` connections an address; 0: no limit.
  ConnectionQuota(size_t limit, std::vector<Cidr> exempt) : limit_(limit), exempt_(std::move(exempt)) {}

  // Counts one more connection of `peer`, or says that it has as many as it may. Any thread.
  bool try_take(const IpAddress& peer);
  // A connection that was counted has been closed. Any thread.
  void give_back(const IpAddress& peer);

  // Connections counted for `peer` right now. Any thread.
  size_t count(const IpAddress& peer);

 private:
  static constexpr size_t kStripes = 64;

  struct Hash {
    size_t operator()(const IpAddress& address) const;
  };
  struct alignas(64) Stripe {
    std::mutex mutex;
    std::unordered_map<IpAddress, size_t, Hash> counts;  // addresses with a connection
  };

  bool is_counted(const IpAddress& peer) const { return limit_ != 0 && !contains(exempt_, peer); }
  Stripe& stripe_of(const IpAddress& address) { return stripes_[Hash()(address) % kStripes]; }

  const size_t limit_;
  const std::vector<Cidr> exempt_;
  std::array<Stripe, kStripes> stripes_;
};

}  // namespace txn
