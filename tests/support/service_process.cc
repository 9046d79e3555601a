#include "tests/support/service_process.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "tests/support/json.h"
#include "tests/support/jwt.h"
#include "tests/support/kept_logs.h"
#include "tests/support/raw_client.h"

namespace txn::test {

namespace {

// Sanitized builds need several times as long.
constexpr Milliseconds kStartTimeout{30'000};
constexpr Milliseconds kReadyTimeout{30'000};

SpawnOptions spawn_options(const std::string& binary, const std::vector<std::string>& args, const Settings& settings,
                           const TempDirectory& directory) {
  SpawnOptions options;
  options.argv = {binary};
  options.argv.insert(options.argv.end(), args.begin(), args.end());
  options.directory = directory.path();
  Settings environment = settings;
  environment.try_emplace("PATH", "/usr/bin:/bin");
  environment.try_emplace("HOME", directory.path());
  environment.try_emplace("LOG_DIR", directory.path() + "/logs");
  // How a sanitized binary is told what to do.
  for (const char* name : {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"}) {
    if (const char* value = std::getenv(name)) environment.try_emplace(name, value);
  }
  for (const auto& [name, value] : environment) options.env.push_back(std::string(name).append("=").append(value));
  return options;
}

std::optional<uint16_t> port_in(const std::string& line) {
  if (line.empty() || line.front() != '{' || !Json::valid(line)) return std::nullopt;
  const Json entry = Json::parse(line);
  if (!entry.has("port") || !entry["port"].is_integer()) return std::nullopt;
  const int64_t port = entry["port"].integer();
  if (port <= 0 || port > UINT16_MAX) return std::nullopt;
  return static_cast<uint16_t>(port);
}

}  // namespace

Settings settings_for(const Database& database) {
  return {{"DATABASE_URL", database.conninfo()},
          {"JWT_SECRET_KEY", std::string(kJwtKey)},
          {"RATE_LIMIT_ENABLED", "false"},
          {"SERVICE_HOST", "127.0.0.1"},
          {"SERVICE_PORT", "0"},
          {"WORKERS", "2"}};
}

std::string service_binary() {
  // Another build of it than ours, when the tests themselves are tested.
  const char* chosen = std::getenv("TXN_SERVICE");
  return chosen != nullptr ? chosen : TXN_SERVICE_BINARY;
}

RunResult run_service(const std::vector<std::string>& args, const Settings& settings, Milliseconds timeout,
                      const std::string& binary) {
  const TempDirectory directory;
  RunResult result = run_program(spawn_options(binary, args, settings, directory), timeout);
  // What subcommands print is for people, and what refuses to serve may not have come as far as logging.
  WrittenLog written{.name = args.empty() ? "" : args.front(), .secrets = secrets_of(settings, args)};
  written.text["stderr.txt"] = result.err;
  if (written.name != "token") written.text["stdout.txt"] = result.out;
  keep(written);
  return result;
}

ServiceProcess::ServiceProcess(const Settings& settings, const Options& options)
    : log_directory_(settings.contains("LOG_DIR") ? settings.at("LOG_DIR") : directory_.path() + "/logs"),
      secrets_(secrets_of(settings, options.args)),
      host_(options.host) {
  Pipe out = Pipe::create();
  Pipe err = Pipe::create();
  SpawnOptions spawn = spawn_options(options.binary, options.args, settings, directory_);
  spawn.stdout_fd = out.write_end.get();
  spawn.stderr_fd = err.write_end.get();
  spawn.max_open_files = options.max_open_files;
  stdout_ = std::make_unique<OutputCollector>(std::move(out.read_end));
  stderr_ = std::make_unique<OutputCollector>(std::move(err.read_end));
  process_ = std::make_unique<ChildProcess>(spawn);
  out.write_end.reset();
  err.write_end.reset();

  // The object may not outlive a throwing constructor's members in the wrong order, so the process ends first.
  const auto give_up = [this](const std::string& why) {
    const auto status = process_->wait_for(Milliseconds(0));
    process_->kill_and_wait();
    stderr_->wait_for_end(Milliseconds(5'000));
    throw std::runtime_error("the service " + why + (status ? " (it has ended)" : "") + "\n" + output());
  };
  const auto line =
      stderr_->wait_for_line([](const std::string& text) { return port_in(text).has_value(); }, kStartTimeout);
  if (!line) give_up("does not log its port");
  port_ = *port_in(*line);
  if (options.wait_for_readiness && !wait_until_ready(kReadyTimeout)) give_up("does not become ready");
}

ServiceProcess::~ServiceProcess() {
  const auto status = process_->wait_for(Milliseconds(0));
  const bool by_itself = status && (!told_to_end_ || (*status != ExitStatus{} && *status != ExitStatus{0, SIGKILL}));
  const bool was_killed = process_->kill_and_wait().signal == SIGKILL;
  stderr_->wait_for_end(Milliseconds(5'000));
  WrittenLog written{.name = "serve", .secrets = secrets_, .was_killed = was_killed};
  written.text["stderr.json"] = stderr_->text();
  written.text["stdout.txt"] = stdout_->text();
  add_log_files(written, log_directory_);
  keep(written);
  expect_no_secrets();
  check_log();
  if (by_itself) ADD_FAILURE() << "the service has ended badly, " << *status << "\n" << output();
}

void ServiceProcess::check_log() const {
  for (const std::string& line : log_lines())
    if (!Json::valid(line)) ADD_FAILURE() << "the log has a line that is not JSON: " << line;
}

void ServiceProcess::send_signal(int signal) {
  told_to_end_ = told_to_end_ || signal == SIGTERM || signal == SIGINT;
  process_->send_signal(signal);
}

void ServiceProcess::kill9() {
  told_to_end_ = true;
  process_->kill_and_wait();
}

bool ServiceProcess::ready() {
  RawClient client(port_, RawClient::Options{.host = host_});
  return client.connected() &&
         client.exchange(format_request("GET", "/readyz", {{"Connection", "close"}}), Milliseconds(5'000)).status ==
             200;
}

bool ServiceProcess::wait_until_ready(Milliseconds timeout) {
  return wait_until([this] { return !running() || ready(); }, timeout) && running();
}

std::optional<ExitStatus> ServiceProcess::terminate(Milliseconds timeout) {
  send_signal(SIGTERM);
  const auto status = process_->wait_for(timeout);
  if (status) stderr_->wait_for_end(Milliseconds(5'000));  // so that log_text() is all of it
  return status;
}

void ServiceProcess::expect_no_secrets() const {
  std::string written = stdout_->text() + stderr_->text();
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory_.path())) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    written.append(std::istreambuf_iterator<char>(file), {});
  }
  std::vector<std::string> forbidden = {"eyJ", R"("pin":)"};  // every token begins like this; a request's PIN
  forbidden.insert(forbidden.end(), secrets_.begin(), secrets_.end());
  for (const std::string& secret : forbidden) {
    const size_t at = written.find(secret);
    if (at == std::string::npos) continue;
    const size_t line = written.rfind('\n', at) + 1;
    ADD_FAILURE() << "the service has written a secret: " << written.substr(line, written.find('\n', at) - line);
  }
}

std::string ServiceProcess::output() const {
  return "--- stdout:\n" + stdout_->text() + "\n--- stderr:\n" + stderr_->text();
}

}  // namespace txn::test
