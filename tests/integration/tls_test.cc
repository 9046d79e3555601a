// HTTPS as clients and operators meet it: the real binary, its files, SIGHUP, and a database behind TLS of another
// library in the same process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <fstream>
#include <regex>
#include <thread>

#include "tests/integration/bank.h"
#include "tests/support/certificates.h"
#include "tests/support/tls_client.h"

namespace txn::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr uint16_t kTls12 = 0x0303;
constexpr uint16_t kTls13 = 0x0304;
constexpr const char* kHsts = "Strict-Transport-Security";

const Certificate& authority() {
  static const Certificate made = make_certificate({.name = "authority", .is_authority = true});
  return made;
}

// The files of one service, which tests replace.
struct TlsFilesOnDisk {
  explicit TlsFilesOnDisk(const Certificate& pair) { write(pair); }
  void write(const Certificate& pair) const {
    directory.write("certificate.pem", pair.certificate);
    ::chmod(directory.write("key.pem", pair.key).c_str(), 0600);
  }
  std::string path(const std::string& name) const { return directory.path() + "/" + name; }
  Settings settings() const { return {{"TLS_CERT_FILE", path("certificate.pem")}, {"TLS_KEY_FILE", path("key.pem")}}; }
  TempDirectory directory;
};

bool answers_over_tls(uint16_t port, const TlsClientOptions& options = {}) {
  TlsConnection client = tls_connect(port, options);
  return client.http.exchange(format_request("GET", "/readyz", {{"Connection", "close"}})).status == 200;
}

// A service that speaks TLS, ready.
std::unique_ptr<ServiceProcess> start(const Settings& settings, const TlsClientOptions& options = {},
                                      const std::vector<std::string>& args = {"serve"}) {
  auto service =
      std::make_unique<ServiceProcess>(settings, ServiceProcess::Options{.args = args, .wait_for_readiness = false});
  EXPECT_TRUE(wait_until([&] { return !service->running() || answers_over_tls(service->port(), options); },
                         Milliseconds(30'000)));
  return service;
}

size_t count_in(const std::string& text, const std::string& what) {
  size_t count = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++count;
  return count;
}

// SIGHUP, and until the log says what came of it once more.
void reload(ServiceProcess& service) {
  const std::string done = "SIGHUP: settings read again";
  const size_t before = count_in(service.log_text(), done);
  service.send_signal(SIGHUP);
  ASSERT_TRUE(wait_until([&] { return count_in(service.log_text(), done) > before; }, Milliseconds(10'000)));
}

ApiClient api_over_tls(uint16_t port, const std::string& token) {
  ApiClient client(port, token);
  client.set_connect([port] { return tls_connect(port).http; });
  return client;
}

class Tls : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { bank_ = std::make_unique<Bank>("tls"); }
  static void TearDownTestSuite() { bank_.reset(); }
  static Bank& bank() { return *bank_; }
  static Settings settings_with(const TlsFilesOnDisk& files, const Settings& more = {}) {
    Settings all = bank().settings_with(files.settings());
    for (const auto& [key, value] : more) all[key] = value;
    return all;
  }

 private:
  static inline std::unique_ptr<Bank> bank_;
};

TEST_F(Tls, MoneyMovesAndEveryAnswerSaysStrictTransportSecurity) {
  const TlsFilesOnDisk files(make_certificate());
  const auto service = start(settings_with(files));
  const int64_t account = bank().open_account();
  ApiClient client = api_over_tls(service->port(), customer());
  for (int i = 0; i < 5; ++i) {
    const HttpResponse response = client.post(kDeposits, deposit_body(account, "1.00"));
    EXPECT_EQ(response.status, 200) << response;
    EXPECT_EQ(response.header(kHsts), "max-age=63072000; includeSubDomains");
  }
  EXPECT_EQ(bank().balance(account), "1005.00");
  ApiClient nobody = api_over_tls(service->port(), "");
  for (const char* target : {"/health", "/livez", "/no-such-path", "/transaction-logs/1"})
    EXPECT_EQ(nobody.get(target).count(kHsts), 1u) << target;
  EXPECT_EQ(service->terminate(), ExitStatus{});

  ApiClient plain(bank().service().port());
  EXPECT_FALSE(plain.get("/health").has(kHsts));
  bank().stop_service();
}

TEST_F(Tls, PlainHttpOnTheTlsPortIsToldSo) {
  const TlsFilesOnDisk files(make_certificate());
  const auto service = start(settings_with(files));
  RawClient client(service->port());
  const HttpResponse response = client.exchange(format_request("POST", kDeposits, {}, deposit_body(1, "1")));
  EXPECT_EQ(response.status, 400) << response;
  EXPECT_EQ(response.error_code(), "MALFORMED_REQUEST");
  EXPECT_EQ(response.json()["detail"].text(), "This port speaks HTTPS only.");
  EXPECT_FALSE(response.has(kHsts));
  EXPECT_EQ(client.wait_for_ending(Milliseconds(10'000)), RawClient::Ending::kEndOfStream);
}

TEST_F(Tls, SessionsResumeOnEveryWorkerAndAcrossReloads) {
  const TlsFilesOnDisk files(make_certificate());
  const auto service = start(settings_with(files, {{"WORKERS", "2"}}));
  for (const uint16_t version : {kTls12, kTls13}) {
    TlsClientOptions options{.min_version = version, .max_version = version};
    TlsConnection first = tls_connect(service->port(), options);
    ASSERT_EQ(first.http.exchange(format_request("GET", "/livez")).status, 200);
    ASSERT_FALSE(first.tls->sessions().empty());
    options.session = first.tls->sessions().front();
    // Two workers share out connections by a hash of their ports: this many do not all meet the same one.
    for (int i = 0; i < 30; ++i) {
      TlsConnection again = tls_connect(service->port(), options);
      EXPECT_EQ(again.http.exchange(format_request("GET", "/livez")).status, 200);
      EXPECT_TRUE(again.tls->is_resumed()) << i;
    }
    reload(*service);
    for (int i = 0; i < 10; ++i) EXPECT_TRUE(tls_connect(service->port(), options).tls->is_resumed()) << i;
  }
}

TEST_F(Tls, ReloadTakesNewFilesAndBreaksNoConnection) {
  const Certificate first = make_certificate();
  const Certificate second = make_certificate({.key = CertificateSpec::Key::kRsa2048});
  const TlsFilesOnDisk files(first);
  const auto service = start(settings_with(files));
  const int64_t account = bank().open_account();

  std::atomic<bool> stop{false};
  std::atomic<int> done{0};
  std::atomic<int> failed{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back([&] {
      TlsConnection kept = tls_connect(service->port());
      const std::string request = format_request(
          "POST", kDeposits, {{"Authorization", "Bearer " + customer()}, {"Content-Type", "application/json"}},
          deposit_body(account, "1.00"));
      while (!stop) {
        if (kept.http.exchange(request).status == 200) {
          ++done;
        } else {
          ++failed;
        }
      }
    });
  }
  for (int i = 0; i < 10; ++i) {
    files.write(i % 2 == 0 ? second : first);
    reload(*service);
    EXPECT_EQ(tls_connect(service->port()).tls->peer_certificate(), (i % 2 == 0 ? second : first).certificate);
  }
  const int before = done;
  EXPECT_TRUE(wait_until([&] { return done > before + 10; }, Milliseconds(10'000)));
  stop = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(bank().balance(account), std::to_string(1000 + done) + ".00");
}

TEST_F(Tls, ABrokenPairChangesNothing) {
  const Certificate first = make_certificate();
  const Certificate second = make_certificate();
  const TlsFilesOnDisk files(first);
  const auto service = start(settings_with(files));
  const Certificate expired = make_certificate({.not_before_s = -7200, .not_after_s = -3600});
  for (const auto& [broken, why] :
       {std::pair<Certificate, std::string>{{second.certificate, first.key}, "does not belong to the certificate"},
        {{"", first.key}, "holds no certificate"},
        {expired, "has expired"}}) {
    files.write(broken);
    reload(*service);
    EXPECT_THAT(service->log_text(), HasSubstr(why));
    EXPECT_EQ(tls_connect(service->port()).tls->peer_certificate(), first.certificate);
    EXPECT_TRUE(answers_over_tls(service->port()));
  }
  files.write(second);
  reload(*service);
  EXPECT_EQ(tls_connect(service->port()).tls->peer_certificate(), second.certificate);
}

TEST_F(Tls, SighupDoesNotTurnItOffOrOn) {
  const Certificate pair = make_certificate();
  const TlsFilesOnDisk files(pair);
  const std::string with = "TLS_CERT_FILE=" + files.path("certificate.pem") + "\nTLS_KEY_FILE=" + files.path("key.pem");
  const std::string config = files.directory.write("config", with + "\n");
  const auto service = start(bank().settings(), {}, {"serve", "--config", config});
  files.directory.write("config", "");
  reload(*service);
  EXPECT_THAT(service->log_text(), HasSubstr("TLS is turned on or off by a restart only"));
  EXPECT_TRUE(answers_over_tls(service->port()));

  ServiceProcess plain(bank().settings(), {.args = {"serve", "--config", config}});
  files.directory.write("config", with + "\n");
  reload(plain);
  EXPECT_TRUE(plain.ready());
  EXPECT_FALSE(answers_over_tls(plain.port()));
}

TEST_F(Tls, ClientCertificatesAreDemandedAndTheirAuthoritiesReloaded) {
  const Certificate other_authority = make_certificate({.name = "other authority", .is_authority = true});
  const Certificate right = make_certificate({.name = "client"}, &authority());
  const Certificate wrong = make_certificate({.name = "client"}, &other_authority);
  const TlsFilesOnDisk files(make_certificate());
  const std::string authorities = files.directory.write("clients.pem", authority().certificate);
  const auto service = start(settings_with(files, {{"TLS_CLIENT_CA_FILE", authorities}}), {.certificate = &right});
  for (const uint16_t version : {kTls12, kTls13}) {
    const auto answers = [&](const Certificate* certificate) {
      return answers_over_tls(service->port(),
                              {.min_version = version, .max_version = version, .certificate = certificate});
    };
    EXPECT_TRUE(answers(&right));
    EXPECT_FALSE(answers(&wrong));
    EXPECT_FALSE(answers(nullptr));
  }
  TlsConnection kept = tls_connect(service->port(), {.certificate = &right});
  ASSERT_EQ(kept.http.exchange(format_request("GET", "/livez")).status, 200);
  files.directory.write("clients.pem", other_authority.certificate);
  reload(*service);
  EXPECT_TRUE(answers_over_tls(service->port(), {.certificate = &wrong}));
  EXPECT_FALSE(answers_over_tls(service->port(), {.certificate = &right}));
  // A ticket of before does not get round it.
  EXPECT_FALSE(answers_over_tls(service->port(), {.certificate = &right, .session = kept.tls->sessions().front()}));
  EXPECT_EQ(kept.http.exchange(format_request("GET", "/livez")).status, 200) << "live connections stay";
}

TEST_F(Tls, ServeRefusesABrokenPairInOneLine) {
  const Certificate pair = make_certificate();
  const TlsFilesOnDisk files({.certificate = pair.certificate, .key = make_certificate().key});
  RunResult result = run_service({"serve"}, settings_with(files), Milliseconds(20'000));
  EXPECT_EQ(result.status, (ExitStatus{1, 0})) << result;
  EXPECT_EQ(count_in(result.err, "\"level\":\"ERROR\""), 1u) << result;
  EXPECT_THAT(result.err, HasSubstr("TLS_KEY_FILE: the key does not belong to the certificate"));
  result = run_service({"serve"}, settings_with(files, {{"TLS_KEY_FILE", "/no/such/key"}}), Milliseconds(20'000));
  EXPECT_EQ(result.status, (ExitStatus{1, 0})) << result;
  EXPECT_THAT(result.err, AllOf(HasSubstr("TLS_KEY_FILE: /no/such/key"), Not(HasSubstr("PRIVATE KEY"))));
}

TEST_F(Tls, CheckConfigLooksIntoTheFiles) {
  TlsFilesOnDisk files(make_certificate({.not_after_s = 200 * 86400 + 3600}));
  RunResult result = run_service({"check-config"}, settings_with(files));
  EXPECT_TRUE(result.ok()) << result;
  EXPECT_THAT(result.out, HasSubstr("ok      TLS_CERT_FILE, TLS_KEY_FILE: the key belongs to the certificate\n"));
  EXPECT_THAT(result.out, HasSubstr("ok      TLS_CERT_FILE: valid for 200 days\n"));
  EXPECT_THAT(result.out, Not(HasSubstr("TLS_KEY_FILE: others")));

  files.write(make_certificate({.not_after_s = 20 * 86400 + 3600}));
  ::chmod(files.path("key.pem").c_str(), 0644);
  result = run_service({"check-config"}, settings_with(files));
  EXPECT_TRUE(result.ok()) << result;
  EXPECT_THAT(result.out, HasSubstr("warning TLS_CERT_FILE: expires in 20 days\n"));
  EXPECT_THAT(result.out, HasSubstr("warning TLS_KEY_FILE: others than its owner have access to the key"));

  files.write(make_certificate({.not_before_s = -7200, .not_after_s = -3600}));
  result = run_service({"check-config"}, settings_with(files));
  EXPECT_EQ(result.status, (ExitStatus{1, 0})) << result;
  EXPECT_THAT(result.out, HasSubstr("error   TLS_CERT_FILE: certificate 1 has expired\n"));
}

// BoringSSL towards clients, libpq's OpenSSL towards the database, in one process and at the same time.
TEST_F(Tls, TheDatabaseBehindIsReachedOverTlsToo) {
  PrivatePostgres cluster(PrivatePostgres::Listen::kTlsToo);
  cluster.create_role_with_password("tls_role", "a secret of its own");
  const Database database = cluster.create_database("tls");
  Settings settings = settings_for(database);
  ASSERT_TRUE(run_service({"migrate"}, settings).ok());
  ASSERT_TRUE(run_service({"seed-demo"}, settings).ok());
  settings["DATABASE_URL"] = "host=127.0.0.1 port=" + std::to_string(cluster.port()) + " dbname=" + database.name() +
                             " user=tls_role password='a secret of its own' sslmode=require";
  const TlsFilesOnDisk files(make_certificate());
  for (const auto& [key, value] : files.settings()) settings[key] = value;
  const auto service = start(settings);
  std::vector<std::thread> clients;
  std::atomic<int> failed{0};
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      for (int n = 0; n < 20; ++n) {
        ApiClient client = api_over_tls(service->port(), customer());
        if (client.post(kDeposits, deposit_body(1001, "1")).status != 200) ++failed;
        if (client.get("/transaction-logs/1001").status != 200) ++failed;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(database.value("SELECT balance FROM accounts WHERE account_number = 1001"), "1000080.00");
  EXPECT_EQ(database.value("SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
                           "WHERE usename = 'tls_role'"),
            "t");
  EXPECT_EQ(service->terminate(), ExitStatus{});
}

// Were any of BoringSSL's names visible, libpq's OpenSSL would find them instead of its own.
TEST_F(Tls, NoNameOfBoringSslLeavesTheBinary) {
  const char* chosen = std::getenv("TXN_SERVICE");
  const std::string binary = chosen != nullptr ? chosen : TXN_BINARY_DIR "/transactions-service";
  const RunResult dynamic = run_program({.argv = {"/usr/bin/nm", "-D", binary}, .env = {}}, Milliseconds(60'000));
  ASSERT_TRUE(dynamic.ok()) << dynamic.err;
  ASSERT_THAT(dynamic.out, HasSubstr(" U PQconnectStart")) << "nm reads the table";
  // U, w and v are names that the binary asks for and does not have.
  const std::regex defined(R"( [A-TV-Za-ux-z] (SSL|EVP|CRYPTO|BIO|X509|ERR|RSA|EC|OPENSSL|HMAC|RAND)_\w+)");
  std::smatch match;
  EXPECT_FALSE(std::regex_search(dynamic.out, match, defined)) << match.str();
}

TEST_F(Tls, OtherPeoplesClientsGetAlong) {
  const TempDirectory made;
  const RunResult certificate =
      run_program({.argv = {TXN_SOURCE_DIR "/deploy/dev/certificate.sh", made.path()}, .env = {"PATH=/usr/bin:/bin"}},
                  Milliseconds(30'000));
  ASSERT_TRUE(certificate.ok()) << certificate;
  struct stat key{};
  ASSERT_EQ(::stat((made.path() + "/key.pem").c_str(), &key), 0);
  EXPECT_EQ(key.st_mode & 0777, 0600u);
  const auto service = start(bank().settings_with(
      {{"TLS_CERT_FILE", made.path() + "/certificate.pem"}, {"TLS_KEY_FILE", made.path() + "/key.pem"}}));
  const std::string port = std::to_string(service->port());
  for (const char* host : {"localhost", "127.0.0.1"}) {
    for (const std::vector<std::string>& version : {std::vector<std::string>{"--tls-max", "1.2"}, {"--tlsv1.3"}}) {
      std::vector<std::string> argv{"/usr/bin/curl", "-sS", "--fail", "--cacert", made.path() + "/certificate.pem"};
      argv.insert(argv.end(), version.begin(), version.end());
      argv.push_back(std::string("https://").append(host).append(":").append(port).append("/livez"));
      const RunResult result = run_program({.argv = argv, .env = {}}, Milliseconds(30'000));
      EXPECT_TRUE(result.ok()) << result;
    }
  }
  // s_client resumes five times by itself.
  const RunResult openssl = run_program({.argv = {"/usr/bin/openssl", "s_client", "-connect", "127.0.0.1:" + port,
                                                  "-reconnect", "-tls1_2", "-alpn", "http/1.1"},
                                         .env = {}},
                                        Milliseconds(30'000));
  EXPECT_EQ(count_in(openssl.out, "Reused, TLSv1.2"), 5u) << openssl;
  EXPECT_THAT(openssl.out, HasSubstr("ALPN protocol: http/1.1"));
}

}  // namespace
}  // namespace txn::test
