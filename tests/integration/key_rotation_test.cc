// Keys of tokens that change while the service runs: by SIGHUP and by themselves, under traffic, with files that are
// broken, missing, swapped behind a link.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "tests/integration/answers.h"
#include "tests/integration/bank.h"
#include "tests/support/signing_key.h"

namespace txn::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr Milliseconds kTakeover{15'000};
constexpr const char* kPath = "/transfer-limits/GOLD";

class KeyRotation : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { bank_ = std::make_unique<Bank>("rotation"); }
  static void TearDownTestSuite() { bank_.reset(); }
  static Bank& bank() { return *bank_; }

  // Written beside it and renamed over it: readers see the old or the new.
  void replace(const std::string& name, const std::string& content) {
    const std::string temporary = directory_.write(name + ".new", content);
    std::filesystem::rename(temporary, directory_.path() + "/" + name);
  }
  std::string path(const std::string& name) const { return directory_.path() + "/" + name; }

  static int status_of(const ServiceProcess& service, const std::string& token) {
    return ApiClient(service.port(), token).get(kPath).status;
  }
  // On connections enough to meet every worker.
  static bool all_say(const ServiceProcess& service, const std::string& token, int status) {
    for (int i = 0; i < 12; ++i) {
      if (status_of(service, token) != status) return false;
    }
    return true;
  }
  static bool comes_to(const ServiceProcess& service, const std::string& token, int status) {
    return wait_until([&] { return all_say(service, token, status); }, kTakeover);
  }
  static size_t count_in_log(const ServiceProcess& service, const std::string& text) {
    size_t count = 0;
    for (const std::string& line : service.log_lines()) count += line.find(text) != std::string::npos;
    return count;
  }

  const TempDirectory directory_;

 private:
  static inline std::unique_ptr<Bank> bank_;
};

// Clients with one connection each, so one worker each. Old and new tokens take turns on it, and what has happened to a
// token once must stay so: a new key that was known is known from then on, an old one that has gone is gone.
class Traffic {
 public:
  enum Phase { kOldOnly, kBoth, kNewOnly };

  Traffic(uint16_t port, std::string old_token, std::string new_token)
      : port_(port), old_token_(std::move(old_token)), new_token_(std::move(new_token)) {
    for (int i = 0; i < kClients; ++i) threads_.emplace_back([this] { run(); });
  }
  Traffic(const Traffic&) = delete;
  ~Traffic() { stop(); }

  // From kBoth on new tokens may be accepted, from kNewOnly on old ones may be refused.
  void enter(Phase phase) {
    settled_ = 0;
    phase_ = phase;
  }
  // Every client has seen the phase's change.
  bool wait_until_settled() {
    return wait_until([this] { return settled_.load() >= kClients || !faults().empty(); }, kTakeover) &&
           faults().empty();
  }
  int64_t requests() const { return requests_.load(); }
  void stop() {
    stopping_ = true;
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }
  std::string faults() const {
    const std::lock_guard lock(mutex_);
    return faults_;
  }

 private:
  static constexpr int kClients = 6;

  void fault(const std::string& what, const HttpResponse& response) {
    const std::lock_guard lock(mutex_);
    faults_ += what + ": " + std::to_string(response.status) + " " + response.error + "\n";
  }

  void run() {
    ApiClient client(port_);
    bool new_is_known = false;
    bool old_is_gone = false;
    while (!stopping_) {
      const int phase = phase_;
      client.set_token(old_token_);
      const HttpResponse by_old = client.get(kPath);
      if (by_old.status == 401 && phase == kNewOnly) {
        if (!old_is_gone) ++settled_;
        old_is_gone = true;
      } else if (by_old.status != 200 || old_is_gone) {
        if (phase_ == phase) fault("by the old key", by_old);
      }
      client.set_token(new_token_);
      const HttpResponse by_new = client.get(kPath);
      if (by_new.status == 200 && phase != kOldOnly) {
        if (!new_is_known) ++settled_;
        new_is_known = true;
      } else if (by_new.status != 401 || new_is_known) {
        if (phase_ == phase) fault("by the new key", by_new);
      }
      requests_ += 2;
    }
  }

  const uint16_t port_;
  const std::string old_token_;
  const std::string new_token_;
  std::atomic<int> phase_ = kOldOnly;
  std::atomic<int> settled_ = 0;
  std::atomic<int64_t> requests_ = 0;
  std::atomic<bool> stopping_ = false;
  mutable std::mutex mutex_;
  std::string faults_;
  std::vector<std::thread> threads_;
};

TEST_F(KeyRotation, UnderTrafficNoRequestFails) {
  for (const bool by_signal : {true, false}) {
    const SigningKey old_key("ES256"), new_key("ES256");
    replace("jwks.json", jwks({old_key.jwk("old")}));
    ServiceProcess service(bank().settings_with({{"JWT_ALGORITHM", "ES256"}, {"JWT_JWKS_FILE", path("jwks.json")}}));
    Traffic traffic(service.port(), old_key.token(1, "CUSTOMER", "old"), new_key.token(1, "CUSTOMER", "new"));
    ASSERT_TRUE(wait_until([&] { return traffic.requests() > 100; }, kTakeover));

    traffic.enter(Traffic::kBoth);
    replace("jwks.json", jwks({old_key.jwk("old"), new_key.jwk("new")}));
    if (by_signal) service.send_signal(SIGHUP);
    EXPECT_TRUE(traffic.wait_until_settled()) << traffic.faults();

    traffic.enter(Traffic::kNewOnly);
    replace("jwks.json", jwks({new_key.jwk("new")}));
    if (by_signal) service.send_signal(SIGHUP);
    EXPECT_TRUE(traffic.wait_until_settled()) << traffic.faults();
    const int64_t then = traffic.requests();
    EXPECT_TRUE(wait_until([&] { return traffic.requests() > then + 100; }, kTakeover));
    traffic.stop();
    EXPECT_EQ(traffic.faults(), "");
    EXPECT_EQ(service.terminate(), ExitStatus{});
  }
}

TEST_F(KeyRotation, BrokenFilesKeepTheOldKeys) {
  const SigningKey key("EdDSA"), other("EdDSA");
  const std::string token = key.token(1, "CUSTOMER", "a");
  replace("jwks.json", jwks({key.jwk("a")}));
  ServiceProcess service(bank().settings_with({{"JWT_ALGORITHM", "EdDSA"}, {"JWT_JWKS_FILE", path("jwks.json")}}));
  ASSERT_TRUE(all_say(service, token, 200));
  const auto failures = [&] { return count_in_log(service, "cannot be used; the old keys stay"); };

  const std::string marker = "not-to-be-logged";
  const std::string broken[] = {
      "{\"keys\":[\"" + marker + "\"]",
      "",
      jwks({key.jwk("a"), key.jwk()}),
      jwks({R"({"kty":"EC","crv":"P-256","kid":")" + marker + "\"}"}),
      jwks({key.jwk("a").insert(1, R"("d":")" + marker + R"(",)")}),
      jwks({key.jwk("a"), R"({"kty":"oct","k":")" + marker + "\"}"}),
  };
  size_t seen = 0;
  for (const std::string& content : broken) {
    replace("jwks.json", content);
    ASSERT_TRUE(wait_until([&] { return failures() > seen; }, kTakeover)) << content;
    seen = failures();
    EXPECT_TRUE(all_say(service, token, 200)) << content;
  }
  // Missing, and something that is no file.
  std::filesystem::remove(path("jwks.json"));
  ASSERT_TRUE(wait_until([&] { return failures() > seen; }, kTakeover));
  seen = failures();
  EXPECT_TRUE(all_say(service, token, 200));
  ASSERT_EQ(mkfifo(path("jwks.json").c_str(), 0600), 0);
  ASSERT_TRUE(wait_until([&] { return failures() > seen; }, kTakeover));
  EXPECT_TRUE(all_say(service, token, 200));
  // SIGHUP says so again, and changes nothing either.
  service.send_signal(SIGHUP);
  ASSERT_TRUE(wait_until([&] { return count_in_log(service, "SIGHUP: a part keeps what it has") == 1; }, kTakeover));
  EXPECT_TRUE(all_say(service, token, 200));

  replace("jwks.json", jwks({other.jwk("b")}));
  EXPECT_TRUE(comes_to(service, other.token(1, "CUSTOMER", "b"), 200));
  EXPECT_TRUE(comes_to(service, token, 401));
  EXPECT_THAT(service.log_text(), Not(HasSubstr(marker)));
  EXPECT_EQ(service.terminate(), ExitStatus{});
}

// How Kubernetes brings a new secret: a link to a directory of data is exchanged, the file's own name stays a link.
TEST_F(KeyRotation, AFileBehindLinksIsFollowed) {
  const SigningKey a("RS256"), b("RS256");
  namespace fs = std::filesystem;
  for (const auto& [name, key] : {std::pair("..one", &a), std::pair("..two", &b)}) {
    fs::create_directory(path(name));
    directory_.write(std::string(name) + "/key.pem", key->public_pem());
  }
  fs::create_directory_symlink("..one", path("..data"));
  fs::create_symlink("..data/key.pem", path("key.pem"));
  ServiceProcess service(bank().settings_with({{"JWT_ALGORITHM", "RS256"}, {"JWT_PUBLIC_KEY_FILE", path("key.pem")}}));
  const std::string by_a = a.token(1, "CUSTOMER"), by_b = b.token(1, "CUSTOMER");
  EXPECT_TRUE(all_say(service, by_a, 200));
  EXPECT_TRUE(all_say(service, by_b, 401));
  fs::create_directory_symlink("..two", path("..data.new"));
  fs::rename(path("..data.new"), path("..data"));
  EXPECT_TRUE(comes_to(service, by_b, 200));
  EXPECT_TRUE(comes_to(service, by_a, 401)) << "remembered or not, its key has gone";
  // Written over in place, which nobody should do.
  directory_.write("..two/key.pem", a.public_pem());
  EXPECT_TRUE(comes_to(service, by_a, 200));
  EXPECT_TRUE(comes_to(service, by_b, 401));
  EXPECT_EQ(service.terminate(), ExitStatus{});
}

TEST_F(KeyRotation, TheSecretOfHs256ChangesBySignal) {
  const std::string old_secret = "the-first-secret-of-more-than-32-bytes";
  const std::string new_secret = "the-second-secret-of-more-than-32-bytes";
  const std::string by_old = make_token(1, "CUSTOMER", 3600, old_secret);
  const std::string by_new = make_token(1, "CUSTOMER", 3600, new_secret);
  Settings settings = bank().settings_with({});
  settings.erase("JWT_SECRET_KEY");
  settings["JWT_SECRET_KEY_FILE"] = path("secret");
  {
    replace("secret", old_secret + "\n");
    settings["PIN_SECRET_KEY"] = "a-key-for-pins-of-more-than-32-bytes";
    ServiceProcess service(settings);
    EXPECT_TRUE(all_say(service, by_old, 200));
    replace("secret", new_secret + "\n");
    service.send_signal(SIGHUP);
    EXPECT_TRUE(comes_to(service, by_new, 200));
    EXPECT_TRUE(comes_to(service, by_old, 401));
    EXPECT_THAT(service.log_text(), Not(HasSubstr("secret-of-more")));
    EXPECT_EQ(service.terminate(), ExitStatus{});
  }
  {
    // PINs are hashed with it: it must not change under them.
    replace("secret", old_secret);
    settings.erase("PIN_SECRET_KEY");
    ServiceProcess service(settings);
    replace("secret", new_secret);
    service.send_signal(SIGHUP);
    ASSERT_TRUE(wait_until([&] { return count_in_log(service, "SIGHUP: a part keeps what it has") == 1; }, kTakeover));
    EXPECT_THAT(service.log_text(), HasSubstr("set PIN_SECRET_KEY"));
    EXPECT_TRUE(all_say(service, by_old, 200));
    EXPECT_TRUE(all_say(service, by_new, 401));
    EXPECT_EQ(service.terminate(), ExitStatus{});
  }
}

TEST_F(KeyRotation, FilesOfNoUseAreRefusedAtTheStart) {
  const SigningKey rsa("RS256"), ed("EdDSA");
  const std::string good = directory_.write("good.pem", rsa.public_pem());
  const std::string foreign = directory_.write("foreign.pem", ed.public_pem());
  const std::string set = directory_.write("set.json", jwks({rsa.jwk("a")}));
  const std::string foreign_set = directory_.write("foreign.json", jwks({ed.jwk("a")}));
  struct Case {
    Settings changes;
    const char* says;  // "": all is well
  };
  const Case cases[] = {
      {{{"JWT_PUBLIC_KEY_FILE", good}}, ""},
      {{{"JWT_JWKS_FILE", set}}, ""},
      {{}, "set JWT_PUBLIC_KEY_FILE or JWT_JWKS_FILE"},
      {{{"JWT_PUBLIC_KEY_FILE", good}, {"JWT_JWKS_FILE", set}}, "both set"},
      {{{"JWT_PUBLIC_KEY_FILE", "/no/such/key"}}, "JWT_PUBLIC_KEY_FILE: /no/such/key"},
      {{{"JWT_PUBLIC_KEY_FILE", directory_.path()}}, "is not a regular file"},
      {{{"JWT_PUBLIC_KEY_FILE", foreign}}, "not a key for RS256"},
      {{{"JWT_PUBLIC_KEY_FILE", rsa.private_key_file()}}, "a private key"},
      {{{"JWT_PUBLIC_KEY_FILE", set}}, "no PEM block"},
      {{{"JWT_JWKS_FILE", good}}, "not one JSON object"},
      {{{"JWT_JWKS_FILE", foreign_set}}, "no key for RS256 among 1"},
  };
  for (const Case& item : cases) {
    Settings settings = bank().settings_with(item.changes);
    settings["JWT_ALGORITHM"] = "RS256";
    const RunResult checked = run_service({"check-config"}, settings);
    EXPECT_EQ(checked.ok(), *item.says == '\0') << checked;
    EXPECT_THAT(checked.out, HasSubstr(item.says));
    if (*item.says == '\0') {
      EXPECT_THAT(checked.out, HasSubstr("1 key for RS256"));
      continue;
    }
    const RunResult refused = run_service({"serve"}, settings);
    EXPECT_NE(refused.status, ExitStatus{}) << refused;
    EXPECT_THAT(refused.err, HasSubstr(item.says));
    EXPECT_THAT(refused.err, HasSubstr("JWT_"));
  }
}

TEST_F(KeyRotation, TokensOfTheCommandAreAccepted) {
  for (const char* algorithm : {"RS256", "ES256", "EdDSA"}) {
    const SigningKey key(algorithm);
    Settings settings = bank().settings_with({{"JWT_ALGORITHM", algorithm},
                                              {"JWT_JWKS_FILE", directory_.write("set", jwks({key.jwk("a")}))},
                                              {"JWT_ISSUER", "the bank"},
                                              {"JWT_AUDIENCE", "transactions"}});
    const auto token = [&](std::vector<std::string> more) {
      std::vector<std::string> args = {"token", "--private-key-file", key.private_key_file()};
      args.insert(args.end(), more.begin(), more.end());
      const RunResult result = run_service(args, settings);
      EXPECT_TRUE(result.ok()) << result;
      return result.out.substr(0, result.out.find('\n'));
    };
    ServiceProcess service(settings);
    EXPECT_EQ(status_of(service, token({"--sub", "5", "--role", "TELLER"})), 200);
    EXPECT_EQ(status_of(service, token({"--kid", "a"})), 200);
    EXPECT_EQ(status_of(service, token({"--kid", "b"})), 401);
    EXPECT_EQ(status_of(service, token({"--issuer", "another bank"})), 401);
    EXPECT_EQ(status_of(service, token({"--audience", "accounts"})), 401);
    EXPECT_EQ(status_of(service, token({"--issuer", "the bank", "--audience", "transactions"})), 200);
    EXPECT_EQ(service.terminate(), ExitStatus{});
    EXPECT_NE(run_service({"token"}, settings).status, ExitStatus{});
    settings["JWT_ALGORITHM"] = std::string(algorithm) == "EdDSA" ? "RS256" : "EdDSA";
    EXPECT_NE(run_service({"token", "--private-key-file", key.private_key_file()}, settings).status, ExitStatus{});
  }
}

}  // namespace
}  // namespace txn::test
