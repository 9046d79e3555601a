// Replicas that are restarted one after the other behind real balancers, under load: no client gets to see it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/integration/balancing.h"
#include "tests/integration/load.h"
#include "tests/support/private_proxy.h"

namespace txn::test {
namespace {

using ::testing::IsEmpty;

constexpr Milliseconds kPatience{60'000};
// As long as a container takes to start, and longer than HAProxy tries one server (3 times, a second apart).
constexpr Milliseconds kAway{5'000};

// What nginx has in its own nginx.conf on a machine where it is installed.
std::string whole_nginx(const std::string& server) {
  return "daemon off;\nmaster_process off;\npid @DIRECTORY@/nginx.pid;\nevents {}\nhttp {\n  access_log off;\n"
         "  client_body_temp_path @DIRECTORY@/body;\n  proxy_temp_path @DIRECTORY@/proxy;\n"
         "  fastcgi_temp_path @DIRECTORY@/fastcgi;\n  uwsgi_temp_path @DIRECTORY@/uwsgi;\n"
         "  scgi_temp_path @DIRECTORY@/scgi;\n" +
         server + "}\n";
}

class Balancer : public ::testing::Test {
 protected:
  // Restarts each of two replicas once, with 16 clients before the balancer.
  void expect_no_client_notices(const std::string& drain_delay, PrivateProxy::Kind kind,
                                const std::function<std::string(const std::string&, const std::string&)>& configure) {
    Bank bank("balancer", {{"DRAIN_DELAY", drain_delay}, {"KEEPALIVE_TIMEOUT", "75s"}});
    const auto accounts = bank.open_accounts(std::vector<AccountSpec>(20, {.privilege = "PREMIUM"}));
    std::vector<std::unique_ptr<ServiceProcess>> replicas;
    for (int i = 0; i < 2; ++i) replicas.push_back(std::make_unique<ServiceProcess>(bank.settings()));
    PrivateProxy proxy(kind, configure(address(*replicas[0]), address(*replicas[1])));
    ASSERT_TRUE(wait_until([&] { return ApiClient(proxy.port()).get("/readyz").status == 200; }, kPatience))
        << proxy.output();

    Load load({.ports = {proxy.port()}, .accounts = accounts, .clients = 16});
    ASSERT_TRUE(load.wait_for_successes(200, kPatience));
    for (auto& replica : replicas) {
      const Settings settings = bank.settings_with({{"SERVICE_PORT", std::to_string(replica->port())}});
      EXPECT_EQ(replica->terminate(kPatience), ExitStatus{});
      std::this_thread::sleep_for(kAway);
      replica = std::make_unique<ServiceProcess>(settings);
      // Until it is served from again, as an operator's roll-out waits for a new pod to be ready.
      ASSERT_TRUE(wait_until([&] { return is_served_from(*replica); }, kPatience));
      ASSERT_TRUE(load.wait_for_successes(200, kPatience));
    }
    std::vector<std::string> errors;
    for (const Attempt& attempt : load.stop()) {
      if (attempt.status == 0 || attempt.status >= 500) errors.push_back(attempt.where);
    }
    EXPECT_THAT(errors, IsEmpty()) << proxy.output();
    EXPECT_TRUE(bank.ledger_verifies());
  }
};

TEST_F(Balancer, HaproxyWithItsDefaults) {
  // A server is down after three checks, two seconds apart.
  expect_no_client_notices("8s", PrivateProxy::Kind::kHaproxy, [](const std::string& one, const std::string& two) {
    return "defaults\n  mode http\n  timeout connect 5s\n  timeout client 40s\n  timeout server 40s\n"
           "frontend in\n  bind 127.0.0.1:@PORT@\n  default_backend out\n"
           "backend out\n  option httpchk GET /readyz\n  server one " +
           one + " check\n  server two " + two + " check\n";
  });
}

TEST_F(Balancer, HaproxyAsDeployed) {
  expect_no_client_notices("5s", PrivateProxy::Kind::kHaproxy,
                           [](const std::string& one, const std::string& two) { return deployed_haproxy(one, two); });
}

TEST_F(Balancer, NginxAsDeployed) {
  expect_no_client_notices("2s", PrivateProxy::Kind::kNginx, [](const std::string& one, const std::string& two) {
    return whole_nginx(
        replaced(replaced(replaced(deployed_balancer("nginx.conf"), "listen 8000", "listen 127.0.0.1:@PORT@"),
                          "10.0.0.11:8002", one),
                 "10.0.0.12:8002", two));
  });
}

}  // namespace
}  // namespace txn::test
