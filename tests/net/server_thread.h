// The HTTP server on a loop and a thread of its own, with a service made for tests.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <coroutine>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "net/http_server.h"
#include "net/listen.h"

namespace txn::test {

// Paths say what to do: /now answers at once, /later/N after N milliseconds, /big/N with N bytes, /hold when released,
// /bulky as well, and says that its answer may be big; /settled needs no body to be answered; what is below /keep/
// holds its request, and answers with all of it when released.
class TestService final : public HttpService {
 public:
  explicit TestService(Loop& loop) : loop_(loop) {}
  ~TestService() { EXPECT_TRUE(held_.empty()); }

  void on_request(Exchange& exchange) override {
    ++requests;
    const std::string path(exchange.request().path);
    if (path.starts_with("/later/")) {
      tasks_.spawn(answer_later(exchange, std::stoll(path.substr(7)), path));
    } else if (path.starts_with("/big/")) {
      answer(exchange, std::string(std::stoul(path.substr(5)), 'b'));
    } else if (path == "/hold" || path == "/bulky") {
      if (path == "/bulky") exchange.set_bulky();
      held_.push_back(&exchange);
    } else if (path.starts_with("/keep/")) {
      exchange.hold_request();
      held_.push_back(&exchange);
    } else {
      answer(exchange, path + " " + std::string(exchange.request().body));
    }
  }
  bool is_settled(const HttpRequest& head) override { return head.path == "/settled"; }
  void on_bad_request(Exchange& exchange, int status, std::string_view detail) override {
    exchange.respond({.status = status, .content_type = "text/plain", .body = detail});
  }
  void release_held() {
    for (Exchange* exchange : std::exchange(held_, {})) {
      const HttpRequest* request = exchange->has_client() ? &exchange->request() : nullptr;
      answer(*exchange, request != nullptr && request->path.starts_with("/keep/") ? described(*request) : "held");
    }
  }
  size_t held() const { return held_.size(); }
  Scope& tasks() { return tasks_; }

  std::atomic<int> requests{0};

 private:
  static void answer(Exchange& exchange, const std::string& body) {
    exchange.respond({.content_type = "text/plain", .body = body});
  }
  static std::string described(const HttpRequest& request) {
    std::string text = std::string(request.path) + "?" + std::string(request.query);
    for (size_t i = 0; i < request.header_count(); ++i)
      text += " " + std::string(request.header(i).name) + ":" + std::string(request.header(i).value);
    return text + " " + std::string(request.body);
  }
  Task<void> answer_later(Exchange& exchange, int64_t after_ms, std::string body) {
    co_await loop_.sleep_for(after_ms * kNanosPerMilli);
    answer(exchange, body);
  }

  Loop& loop_;
  Scope tasks_;
  std::vector<Exchange*> held_;
};

// A server on a thread of its own. do_on_loop() runs something over there and waits for it.
class ServerThread {
 public:
  explicit ServerThread(HttpServerOptions options = {}, RingOptions ring = {},
                        const std::shared_ptr<const TlsContext>& tls = nullptr) {
    auto listeners = open_listeners("127.0.0.1", 0, 1);
    EXPECT_TRUE(listeners.has_value());
    port_ = listeners->port;
    std::promise<void> started;
    auto ready = started.get_future();
    thread_ = std::thread([this, options, ring, tls, socket = listeners->sockets[0], &started] {
      SystemClock clock;
      Loop loop(std::move(*Ring::create(ring)), clock);
      TestService service(loop);
      HttpServer server(loop, service, options);
      loop_ = &loop;
      service_ = &service;
      server_ = &server;
      server.set_tls(tls);
      server.start(socket);
      started.set_value();
      Scope scope;
      scope.spawn(stop_when_drained(loop, service, server));
      loop.run();
    });
    ready.wait();
  }
  ~ServerThread() {
    begin_drain();
    thread_.join();
  }

  void do_on_loop(const std::function<void()>& action) {
    struct Action final : Message {
      void run() override {
        (*action)();
        done.set_value();
      }
      const std::function<void()>* action = nullptr;
      std::promise<void> done;
    } message;
    message.action = &action;
    auto done = message.done.get_future();
    loop_->post(message);
    done.wait();
  }
  void begin_drain() {
    if (draining_) return;
    draining_ = true;
    do_on_loop([this] {
      service_->release_held();
      server_->begin_drain();
      wanted_ = true;
      if (waiter_) std::exchange(waiter_, nullptr).resume();
    });
  }
  template <class Value>
  Value ask(const std::function<Value()>& question) {
    Value value{};
    do_on_loop([&] { value = question(); });
    return value;
  }
  // Until `condition`, asked on the loop, holds.
  bool eventually(const std::function<bool()>& condition) {
    for (int i = 0; i < 2000; ++i) {
      if (ask<bool>(condition)) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }

  uint16_t port() const { return port_; }
  TestService& service() { return *service_; }
  HttpServer& server() { return *server_; }
  Loop& loop() { return *loop_; }
  pthread_t handle() { return thread_.native_handle(); }

 private:
  Task<void> stop_when_drained(Loop& loop, TestService& service, HttpServer& server) {
    struct Wanted {
      ServerThread& self;
      bool await_ready() const { return self.wanted_; }
      void await_suspend(std::coroutine_handle<> handle) const { self.waiter_ = handle; }
      void await_resume() const {}
    };
    co_await Wanted{*this};
    co_await server.drained();
    co_await service.tasks().join();
    loop.stop();
  }

  uint16_t port_ = 0;
  Loop* loop_ = nullptr;
  TestService* service_ = nullptr;
  HttpServer* server_ = nullptr;
  bool wanted_ = false;
  bool draining_ = false;
  std::coroutine_handle<> waiter_;
  std::thread thread_;
};

}  // namespace txn::test
