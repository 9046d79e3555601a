#include "net/connection_quota.h"

#include <functional>
#include <string_view>

#include "core/check.h"

namespace txn {

// An attacker who finds addresses that collide has to own them, and still meets the limit of all connections.
size_t ConnectionQuota::Hash::operator()(const IpAddress& address) const {
  return std::hash<std::string_view>()({reinterpret_cast<const char*>(address.bytes.data()), address.bytes.size()});
}

bool ConnectionQuota::try_take(const IpAddress& peer) {
  if (!is_counted(peer)) return true;
  const IpAddress address = peer.network();
  Stripe& stripe = stripe_of(address);
  const std::lock_guard lock(stripe.mutex);
  size_t& count = stripe.counts[address];
  if (count >= limit_) return false;
  ++count;
  return true;
}

void ConnectionQuota::give_back(const IpAddress& peer) {
  if (!is_counted(peer)) return;
  const IpAddress address = peer.network();
  Stripe& stripe = stripe_of(address);
  const std::lock_guard lock(stripe.mutex);
  const auto found = stripe.counts.find(address);
  CHECK(found != stripe.counts.end(), "only what was taken is given back");
  if (--found->second == 0) stripe.counts.erase(found);
}

size_t ConnectionQuota::count(const IpAddress& peer) {
  const IpAddress address = peer.network();
  Stripe& stripe = stripe_of(address);
  const std::lock_guard lock(stripe.mutex);
  const auto found = stripe.counts.find(address);
  return found == stripe.counts.end() ? 0 : found->second;
}

}  // namespace txn
