// Names to addresses, off the worker: getaddrinfo(3) blocks for as long as name servers are silent, so it runs on a
// thread of its own, which is made when it is first needed and asked for one name at a time.
#pragma once

#include <sys/socket.h>

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/loop.h"

namespace txn {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
};

// An IPv4 or IPv6 address in text, without brackets; nothing when `host` is a name.
std::optional<SocketAddress> parse_socket_address(const std::string& host, uint16_t port);

// Belongs to its loop's thread.
class Resolver {
 public:
  // Addresses in the order in which they should be tried (RFC 6724), at most kAddressesMax, never none. kUnavailable:
  // the name does not exist or nobody could be asked; the message is getaddrinfo's.
  using Answer = Result<std::vector<SocketAddress>>;
  static constexpr size_t kAddressesMax = 8;

  class Waiter {
   public:
    virtual void on_resolved(Answer answer) = 0;

   protected:
    ~Waiter() = default;
  };

  explicit Resolver(Loop& loop) : loop_(loop) {}
  // Does not wait for a question under way: the thread ends by itself when the name servers let go of it.
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // `waiter` hears of the answer in a later turn. A question for the same name that nobody waits for any more but that
  // is still under way is joined, so that silent name servers do not pile up questions. One waiter at a time; always
  // ask the same resolver for the same name.
  void resolve(const std::string& host, uint16_t port, Waiter& waiter);

  // The waiter is not called any more.
  void forget() { waiter_ = nullptr; }

 private:
  struct Shared;  // what the thread and the resolver both hold
  struct Reply;

  static void run(std::shared_ptr<Shared> shared);

  Loop& loop_;
  std::shared_ptr<Shared> shared_;
  std::thread thread_;  // from the first question on
  Waiter* waiter_ = nullptr;
  bool under_way_ = false;
};

}  // namespace txn
