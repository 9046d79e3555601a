#include "net/resolver.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>

#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>

#include "core/check.h"

namespace txn {

std::optional<SocketAddress> parse_socket_address(const std::string& host, uint16_t port) {
  SocketAddress address;
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&address.storage, &v4, sizeof v4);
    address.length = sizeof v4;
    return address;
  }
  if (inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&address.storage, &v6, sizeof v6);
    address.length = sizeof v6;
    return address;
  }
  return std::nullopt;
}

namespace {

Resolver::Answer look_up(const std::string& host, uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (error != 0) return fail(ErrorKind::kUnavailable, gai_strerror(error));
  std::vector<SocketAddress> addresses;
  for (const addrinfo* entry = found; entry != nullptr && addresses.size() < Resolver::kAddressesMax;
       entry = entry->ai_next) {
    SocketAddress& address = addresses.emplace_back();
    std::memcpy(&address.storage, entry->ai_addr, entry->ai_addrlen);
    address.length = entry->ai_addrlen;
  }
  freeaddrinfo(found);
  if (addresses.empty()) return fail(ErrorKind::kUnavailable, "the name has no address");
  return addresses;
}

}  // namespace

// Held by both, because the thread may be stuck in getaddrinfo when the worker has gone.
struct Resolver::Shared {
  std::mutex mutex;
  std::condition_variable wake;
  std::string host;           // guarded by mutex, as are all of these
  uint16_t port = 0;          //
  bool asked = false;         // there is a question for the thread
  bool is_looking = false;    // the thread is at one
  Loop* loop = nullptr;       // null: the resolver has gone, and perhaps the loop
  Resolver* owner = nullptr;  // only touched on the loop's thread
};

// Carries an answer to the loop and deletes itself there, also when the resolver has gone meanwhile.
struct Resolver::Reply final : Message {
  Reply(std::shared_ptr<Shared> origin, Answer result) : shared(std::move(origin)), answer(std::move(result)) {}
  void run() override {
    if (Resolver* const owner = shared->owner) {
      owner->under_way_ = false;
      if (Waiter* const waiter = std::exchange(owner->waiter_, nullptr)) waiter->on_resolved(std::move(answer));
    }
    delete this;
  }
  std::shared_ptr<Shared> shared;
  Answer answer;
};

void Resolver::run(std::shared_ptr<Shared> shared) {
  pthread_setname_np(pthread_self(), "resolver");
  while (true) {
    std::string host;
    uint16_t port = 0;
    {
      std::unique_lock lock(shared->mutex);
      shared->wake.wait(lock, [&] { return shared->loop == nullptr || shared->asked; });
      if (shared->loop == nullptr) return;
      shared->asked = false;
      shared->is_looking = true;
      host = shared->host;
      port = shared->port;
    }
    auto reply = std::make_unique<Reply>(shared, look_up(host, port));
    const std::lock_guard lock(shared->mutex);
    shared->is_looking = false;
    if (shared->loop == nullptr) return;
    shared->loop->post(*reply.release());
  }
}

Resolver::~Resolver() {
  if (!shared_) return;
  shared_->owner = nullptr;
  bool is_looking = false;
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->loop = nullptr;
    shared_->wake.notify_one();
    is_looking = shared_->is_looking;
  }
  // What it holds it shares, and waiting for it could take as long as name servers do.
  is_looking ? thread_.detach() : thread_.join();
}

void Resolver::resolve(const std::string& host, uint16_t port, Waiter& waiter) {
  CHECK(waiter_ == nullptr, "one waiter per resolver");
  waiter_ = &waiter;
  if (std::exchange(under_way_, true)) return;
  if (!shared_) {
    shared_ = std::make_shared<Shared>();
    shared_->loop = &loop_;
    shared_->owner = this;
    thread_ = std::thread(run, shared_);
  }
  const std::lock_guard lock(shared_->mutex);
  shared_->host = host;
  shared_->port = port;
  shared_->asked = true;
  shared_->wake.notify_one();
}

}  // namespace txn
