// Replicas that are restarted one after the other behind real balancers, under load: no client gets to see it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <regex>

#include "tests/integration/balancing.h"
#include "tests/integration/load.h"
#include "tests/support/free_port.h"
#include "tests/support/metrics.h"
#include "tests/support/private_proxy.h"

namespace txn::test {
namespace {

using ::testing::IsEmpty;

constexpr Milliseconds kPatience{60'000};
// As long as a container takes to start, and longer than HAProxy tries one server (3 times, a second apart).
constexpr Milliseconds kAway{5'000};

// A machine that has more to do than this would be told from a balancer's mistakes by nothing: both are 503.
const std::pair<const std::string, std::string> kPatientQueue{"LEDGER_QUEUE_DELAY_MAX", "10s"};

// What nginx has in its own nginx.conf on a machine where it is installed.
std::string whole_nginx(const std::string& server) {
  return "daemon off;\nmaster_process off;\npid @DIRECTORY@/nginx.pid;\nevents {}\nhttp {\n  access_log off;\n"
         "  client_body_temp_path @DIRECTORY@/body;\n  proxy_temp_path @DIRECTORY@/proxy;\n"
         "  fastcgi_temp_path @DIRECTORY@/fastcgi;\n  uwsgi_temp_path @DIRECTORY@/uwsgi;\n"
         "  scgi_temp_path @DIRECTORY@/scgi;\n" +
         server + "}\n";
}

// The settings of ingress-nginx in `text`, a line each, by the name that follows `prefix`.
std::map<std::string, std::string> ingress_settings(const std::string& text, const std::string& prefix) {
  std::map<std::string, std::string> settings;
  const std::regex line("^ +" + prefix + R"re(([a-z-]+): "?([^"#]*[^"# ])"? *$)re");
  std::istringstream lines(text);
  std::smatch match;
  for (std::string one; std::getline(lines, one);) {
    if (std::regex_match(one, match, line)) settings[match[1]] = match[2];
  }
  return settings;
}

// What the controller makes of them, in an nginx.conf for two replicas. Its own balancing (in Lua) has no max_fails: a
// pod that refuses is passed over for that request alone.
std::string nginx_of_the_cluster(const std::string& one, const std::string& two) {
  auto annotations =
      ingress_settings(deployed("kubernetes/ingress-nginx/ingress.yaml"), "nginx\\.ingress\\.kubernetes\\.io/");
  auto data = ingress_settings(deployed("kubernetes/ingress-nginx/controller-settings.yaml"), "");
  const auto take = [](std::map<std::string, std::string>& settings, const std::string& name) {
    const auto found = settings.find(name);
    if (found == settings.end()) throw std::runtime_error("ingress-nginx is not told " + name);
    std::string value = found->second;
    settings.erase(found);
    return value;
  };
  std::string conf = "upstream transactions {\n  server " + one + " max_fails=0;\n  server " + two + " max_fails=0;\n";
  conf += "  keepalive " + take(data, "upstream-keepalive-connections") + ";\n";
  conf += "  keepalive_timeout " + take(data, "upstream-keepalive-timeout") + "s;\n}\n";
  conf += "server {\n  listen 127.0.0.1:@PORT@;\n  location / {\n    proxy_pass http://transactions;\n";
  conf += "    proxy_http_version 1.1;\n    proxy_set_header Connection \"\";\n";
  for (const char* name : {"proxy-connect-timeout", "proxy-read-timeout", "proxy-send-timeout"})
    conf += "    " + std::regex_replace(name, std::regex("-"), "_") + " " + take(annotations, name) + "s;\n";
  for (const char* name : {"proxy-next-upstream", "proxy-next-upstream-tries"})
    conf += "    " + std::regex_replace(name, std::regex("-"), "_") + " " + take(annotations, name) + ";\n";
  conf += "    client_max_body_size " + take(annotations, "proxy-body-size") + ";\n  }\n}\n";
  // Whatever else is written there is to be tried here as well.
  for (const auto& [name, value] : annotations) ADD_FAILURE() << "not tried: " << name << ": " << value;
  return conf;
}

double deposits_of(uint16_t port) {
  return scrape(port)[R"(http_requests_total{method="POST",endpoint="/api/v1/deposits",status="200"})"];
}

class Balancer : public ::testing::Test {
 protected:
  // Restarts each of two replicas once, with 16 clients before the balancer.
  void expect_no_client_notices(const std::string& drain_delay, PrivateProxy::Kind kind,
                                const std::function<std::string(const std::string&, const std::string&)>& configure) {
    Bank bank("balancer", {{"DRAIN_DELAY", drain_delay}, {"KEEPALIVE_TIMEOUT", "75s"}, kPatientQueue});
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
        replaced(replaced(replaced(deployed("balancers/nginx.conf"), "listen 8000", "listen 127.0.0.1:@PORT@"),
                          "10.0.0.11:8002", one),
                 "10.0.0.12:8002", two));
  });
}

TEST_F(Balancer, IngressNginxAsDeployed) {
  expect_no_client_notices("5s", PrivateProxy::Kind::kNginx, [](const std::string& one, const std::string& two) {
    return whole_nginx(nginx_of_the_cluster(one, two));
  });
}

// Names of a cluster's DNS give way to addresses; all else is as deployed.
std::string haproxy_of_the_cluster(const std::vector<std::string>& stable, const std::string& canary) {
  std::string text =
      replaced(replaced(deployed("kubernetes/haproxy/haproxy.cfg"), "bind :8000", "bind 127.0.0.1:@PORT@"),
               "bind :8404", "bind 127.0.0.1:" + std::to_string(free_port()));
  const std::string slots = "server-template stable 10 transactions-service-pods:8002";
  std::string servers;
  std::string backups;
  for (size_t i = 0; i < stable.size(); ++i) {
    servers += "server stable" + std::to_string(i) + " " + stable[i] + "\n  ";
    backups += "server stable" + std::to_string(i) + " " + stable[i] + " backup\n  ";
  }
  text = replaced(text, slots + " backup", backups);
  text = replaced(text, slots, servers);
  return replaced(text, "server-template canary 1 transactions-service-canary-pods:8002", "server canary1 " + canary);
}

// A canary gets its share, leaves, and a replica is restarted; probes are on a port of their own.
TEST_F(Balancer, HaproxyOfTheClusterWithACanary) {
  Bank bank("canary", {{"DRAIN_DELAY", "5s"}, kPatientQueue});
  const auto accounts = bank.open_accounts(std::vector<AccountSpec>(20, {.privilege = "PREMIUM"}));
  std::vector<Settings> settings;
  std::vector<std::unique_ptr<ServiceProcess>> replicas;
  std::vector<std::string> addresses;
  for (int i = 0; i < 3; ++i) {
    const std::string operations = std::to_string(free_port());
    replicas.push_back(std::make_unique<ServiceProcess>(bank.settings_with({{"OPERATIONS_PORT", operations}})));
    settings.push_back(bank.settings_with(
        {{"OPERATIONS_PORT", operations}, {"SERVICE_PORT", std::to_string(replicas.back()->port())}}));
    addresses.push_back(address(*replicas.back()) + " port " + operations);
  }
  ServiceProcess& canary = *replicas[2];
  PrivateProxy proxy(PrivateProxy::Kind::kHaproxy, haproxy_of_the_cluster({addresses[0], addresses[1]}, addresses[2]));
  ASSERT_TRUE(wait_until([&] { return ApiClient(proxy.port()).get("/readyz").status == 200; }, kPatience))
      << proxy.output();
  Load load({.ports = {proxy.port()}, .accounts = accounts, .clients = 16});
  // The canary is let in after two checks.
  ASSERT_TRUE(wait_until([&] { return deposits_of(canary.port()) > 0; }, kPatience)) << proxy.output();

  const auto deposits = [&] {
    return deposits_of(replicas[0]->port()) + deposits_of(replicas[1]->port()) + deposits_of(canary.port());
  };
  const double before = deposits();
  const double before_canary = deposits_of(canary.port());
  // Of 2,000, 100 give or take 10: what is allowed is six times as wide.
  ASSERT_TRUE(wait_until([&] { return deposits() - before >= 2000; }, kPatience));
  const double share = (deposits_of(canary.port()) - before_canary) / (deposits() - before);
  EXPECT_GT(share, 0.02);
  EXPECT_LT(share, 0.08);

  EXPECT_EQ(canary.terminate(kPatience), ExitStatus{});
  ASSERT_TRUE(load.wait_for_successes(500, kPatience));
  EXPECT_EQ(replicas[0]->terminate(kPatience), ExitStatus{});
  std::this_thread::sleep_for(kAway);
  replicas[0] = std::make_unique<ServiceProcess>(settings[0]);
  ASSERT_TRUE(wait_until([&] { return is_served_from(*replicas[0]); }, kPatience));
  std::vector<std::string> errors;
  for (const Attempt& attempt : load.stop()) {
    if (attempt.status == 0 || attempt.status >= 500) errors.push_back(attempt.where);
  }
  EXPECT_THAT(errors, IsEmpty()) << proxy.output();
  EXPECT_TRUE(bank.ledger_verifies());
}

}  // namespace
}  // namespace txn::test
