// What the documents tell a newcomer to type, typed: every command of README's first part and of docs/own-database.md.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <sstream>

#include "tests/integration/bank.h"

namespace txn::test {
namespace {

using ::testing::HasSubstr;

constexpr Milliseconds kPatience{60'000};

std::string text_of(const std::string& name) {
  std::ifstream file(std::string(TXN_SOURCE_DIR) + "/" + name);
  std::ostringstream text;
  text << file.rdbuf();
  if (text.str().empty()) throw std::runtime_error(name + " is missing");
  return text.str();
}

// The commands, which are indented by four, of one section or of all. `heading`: "## Try it"; empty: all.
std::string commands_of(const std::string& name, const std::string& heading = "") {
  std::istringstream lines(text_of(name));
  std::string commands;
  bool is_inside = heading.empty();
  for (std::string line; std::getline(lines, line);) {
    if (!heading.empty() && line.starts_with("#")) is_inside = line == heading;
    if (is_inside && line.starts_with("    ")) commands += line.substr(4) + "\n";
  }
  if (commands.empty()) throw std::runtime_error("no commands in " + name + " " + heading);
  return commands;
}

void replace_all(std::string& text, const std::string& what, const std::string& by) {
  ASSERT_NE(text.find(what), std::string::npos) << "not found: " << what;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
    text.replace(at, what.size(), by);
}

RunResult run_script(const std::string& script, const TempDirectory& directory, std::vector<std::string> environment) {
  SpawnOptions shell;
  shell.argv = {"/bin/bash", "-eu", "-o", "pipefail", directory.write("script.sh", script)};
  shell.env = std::move(environment);
  shell.directory = directory.path();
  return run_program(shell, kPatience);
}

std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

TEST(Documents, ADatabaseOfOnesOwn) {
  PrivatePostgres& server = postgres();
  TempDirectory directory;
  std::string script = commands_of("docs/own-database.md");
  // The server is this one, the port one that is free, and the service steps aside once it is up.
  replace_all(script, "@db.example/gdb_transactions?sslmode=verify-full",
              "@/gdb_transactions?host=" + server.socket_directory() + "&port=" + std::to_string(server.port()));
  replace_all(script, "http://localhost:8002", "\"$URL\"");
  replace_all(
      script, "transactions-service serve\n",
      "transactions-service serve >serve.log 2>&1 &\n"
      "trap 'kill $!; wait $!' EXIT\n"
      "for i in $(seq 300); do\n"
      "  URL=http://127.0.0.1:$(sed -n 's/.*Transactions service started.*\"port\":\\([0-9]*\\).*/\\1/p' serve.log)\n"
      "  ! curl -fs \"$URL/readyz\" || break\n"
      "  sleep 0.1\n"
      "done\n");
  const RunResult result =
      run_script(script, directory,
                 {"PATH=" + folder_of(service_binary()) + ":/usr/bin:/bin", "HOME=" + directory.path(),
                  "LC_ALL=C.UTF-8", "PGHOST=" + server.socket_directory(), "PGPORT=" + std::to_string(server.port()),
                  "PGUSER=txn_superuser", "PGDATABASE=postgres", "SERVICE_PORT=0", "SERVICE_HOST=127.0.0.1"});
  EXPECT_TRUE(result.ok()) << result;
  EXPECT_THAT(result.out, HasSubstr("2 accounts imported"));
  EXPECT_THAT(result.out, HasSubstr("\"new_balance\":2600.00"));
  EXPECT_THAT(result.out, HasSubstr("UPDATE 1"));
  // What the page says of the service's role.
  const RunResult refused = run_service(
      {"account", "create", "--account-number", "1", "--owner-id", "1", "--privilege", "GOLD", "--balance", "1"},
      {{"DATABASE_URL", "postgresql://bank_service@/gdb_transactions?host=" + server.socket_directory() +
                            "&port=" + std::to_string(server.port())}});
  EXPECT_EQ(refused.status.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("permission denied for table accounts"));
  EXPECT_THAT(refused.err, HasSubstr("The role that owns the tables may: the one that `migrate` ran as"));
}

// `make run` in a checkout of its own, beside whatever runs in this one.
class MakeRun {
 public:
  explicit MakeRun(std::vector<std::string> settings) {
    const RunResult copied =
        run_script("mkdir -p build/release\ncp -r " + std::string(TXN_SOURCE_DIR) + "/deploy .\nln -s " +
                       service_binary() + " build/release/transactions-service\ndeploy/dev/certificate.sh\n",
                   directory_, {"PATH=/usr/bin:/bin"});
    EXPECT_TRUE(copied.ok()) << copied;
    Pipe pipe = Pipe::create();
    SpawnOptions spawn;
    spawn.argv = {directory_.path() + "/deploy/dev/run.sh"};
    spawn.env = std::move(settings);
    spawn.env.insert(spawn.env.end(),
                     {"PATH=/usr/bin:/bin", "HOME=" + directory_.path(), "LC_ALL=C.UTF-8", "SERVICE_PORT=0"});
    spawn.directory = directory_.path();
    spawn.stdout_fd = pipe.write_end.get();
    spawn.death_signal = SIGTERM;
    output_ = std::make_unique<OutputCollector>(std::move(pipe.read_end));
    process_ = std::make_unique<ChildProcess>(spawn);
    pipe.write_end.reset();
    const auto last = output_->wait_for_line(
        [](const std::string& line) { return line.find("Ctrl-C stops") != std::string::npos; }, kPatience);
    EXPECT_TRUE(last.has_value()) << output_->text();
    const auto ready = output_->wait_for_line(
        [](const std::string& line) { return line.find("transactions-service is ready on ") != std::string::npos; },
        Milliseconds(0));
    if (ready) url_ = ready->substr(ready->rfind(' ') + 1);
  }
  const TempDirectory& directory() const { return directory_; }
  const std::string& url() const { return url_; }
  std::string said() const { return output_->text(); }
  void expect_to_stop() {
    process_->send_signal(SIGTERM);
    EXPECT_EQ(process_->wait_for(kPatience), ExitStatus{}) << said();
  }

 private:
  TempDirectory directory_;
  std::string url_;
  std::unique_ptr<OutputCollector> output_;
  std::unique_ptr<ChildProcess> process_;
};

TEST(Documents, TheReadme) {
  MakeRun run({"SERVICE_HOST=::1"});
  const std::string said = run.said();
  EXPECT_THAT(run.url(), HasSubstr("http://[::1]:"));

  // The line that it prints is good as it is.
  const size_t curl = said.find("\ncurl ") + 1;
  const RunResult printed =
      run_script(said.substr(curl, said.find('\n', curl) - curl), run.directory(), {"PATH=/usr/bin:/bin"});
  EXPECT_THAT(printed.out, HasSubstr("\"new_balance\":1000100.00")) << printed;

  std::string script = commands_of("README.md", "## Try it");
  const size_t https = script.find("make certificate");
  ASSERT_NE(https, std::string::npos);
  script.resize(https);  // the next test
  const size_t token = said.find("valid for a day):\n") + std::string("valid for a day):\n").size();
  replace_all(script, "TOKEN=…", "TOKEN=" + said.substr(token, said.find('\n', token) - token));
  replace_all(script, "http://localhost:8002", run.url());
  replace_all(script, "curl ", "curl -gfsS ");
  script += commands_of("README.md", "## Its log");
  const RunResult result = run_script(script, run.directory(), {"PATH=/usr/bin:/bin"});
  EXPECT_TRUE(result.ok()) << result;
  EXPECT_THAT(result.out, HasSubstr("\"status\":\"healthy\""));
  EXPECT_THAT(result.out, HasSubstr("\"outcome\":\"success\""));

  run.expect_to_stop();
}

TEST(Documents, TheReadmeOverHttps) {
  const std::string commands = commands_of("README.md", "## Try it");
  EXPECT_THAT(commands, HasSubstr("make certificate\n"));
  EXPECT_THAT(commands, HasSubstr("TLS_CERT_FILE=build/tls/certificate.pem TLS_KEY_FILE=build/tls/key.pem make run\n"));
  MakeRun run({"TLS_CERT_FILE=build/tls/certificate.pem", "TLS_KEY_FILE=build/tls/key.pem"});
  std::string script = commands.substr(commands.find("curl --cacert"));
  replace_all(script, "https://localhost:8002", "https://localhost" + run.url().substr(run.url().rfind(':')));
  const RunResult result = run_script(script, run.directory(), {"PATH=/usr/bin:/bin"});
  EXPECT_THAT(result.out, HasSubstr("\"status\":\"healthy\"")) << result;
  run.expect_to_stop();
}

}  // namespace
}  // namespace txn::test
