#include "tests/support/scripted_postgres.h"

#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdint>
#include <cstring>

#include "tests/support/private_postgres.h"

namespace txn::test {
namespace {

constexpr int kPatienceMs = 10'000;
constexpr size_t kLengthSize = 4;

void put16(std::string& out, size_t value) {
  for (const unsigned shift : {8U, 0U}) out += static_cast<char>(value >> shift & 0xFF);
}

void put32(std::string& out, size_t value) {
  for (const unsigned shift : {24U, 16U, 8U, 0U}) out += static_cast<char>(value >> shift & 0xFF);
}

size_t read32(std::string_view bytes) {
  size_t value = 0;
  for (const char byte : bytes.substr(0, kLengthSize)) value = value << 8 | static_cast<uint8_t>(byte);
  return value;
}

std::string message(char type, std::string_view body) {
  std::string out(1, type);
  put32(out, body.size() + kLengthSize);
  return out.append(body);
}

std::string zero_ended(std::string_view text) { return std::string(text) + '\0'; }

std::string report_body(const pg::Report& report) {
  std::string body;
  const auto field = [&](char code, const std::string& text) {
    if (!text.empty()) body += code + zero_ended(text);
  };
  field('S', report.severity);
  field('V', report.severity);
  field('C', report.sqlstate);
  field('M', report.text);
  field('R', report.source_function);
  return body + '\0';
}

size_t take16(std::string_view& bytes) {
  const size_t value = static_cast<size_t>(static_cast<uint8_t>(bytes[0])) << 8 | static_cast<uint8_t>(bytes[1]);
  bytes.remove_prefix(2);
  return value;
}

// The parameters in the body of a Bind.
std::vector<std::string> values_of(std::string_view body) {
  for (int name = 0; name < 2; ++name) body.remove_prefix(body.find('\0') + 1);  // portal, statement
  const size_t formats = take16(body);
  body.remove_prefix(2 * formats);
  std::vector<std::string> values(take16(body));
  for (std::string& value : values) {
    const size_t size = read32(body);
    body.remove_prefix(kLengthSize);
    if (size == 0xFFFFFFFF) continue;
    value = body.substr(0, size);
    body.remove_prefix(size);
  }
  return values;
}

void wait_until_readable(int descriptor) {
  pollfd waiting{descriptor, POLLIN, 0};
  if (::poll(&waiting, 1, kPatienceMs) <= 0) fatal("the scripted PostgreSQL has heard nothing of its client");
}

}  // namespace

namespace pg {

std::string parse_complete() { return message('1', ""); }
std::string bind_complete() { return message('2', ""); }
std::string no_data() { return message('n', ""); }

std::string row_description(size_t columns) {
  constexpr size_t kBytea = 17;
  std::string body;
  put16(body, columns);
  for (size_t i = 0; i < columns; ++i) {
    body += zero_ended("c");
    put32(body, 0);           // table
    put16(body, 0);           // column of it
    put32(body, kBytea);      // type
    put16(body, 0xFFFF);      // of any length
    put32(body, 0xFFFFFFFF);  // no modifier
    put16(body, 1);           // binary
  }
  return message('T', body);
}

std::string data_row(const std::vector<std::string>& values) {
  std::string body;
  put16(body, values.size());
  for (const std::string& value : values) {
    put32(body, value.size());
    body += value;
  }
  return message('D', body);
}

std::string command_complete(std::string_view tag) { return message('C', zero_ended(tag)); }
std::string ready_for_query(char transaction) { return message('Z', {&transaction, 1}); }
std::string parameter_status(std::string_view name, std::string_view value) {
  return message('S', zero_ended(name) + zero_ended(value));
}
std::string error_response(const Report& report) { return message('E', report_body(report)); }
std::string notice_response(const Report& report) { return message('N', report_body(report)); }

}  // namespace pg

ScriptedPostgres::ScriptedPostgres() : listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  const std::string path = directory_.path() + "/.s.PGSQL." + std::to_string(kSocketPort);
  if (path.size() >= sizeof address.sun_path) fatal("too long a path for a socket: " + path);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener_.get(), 1) != 0)
    fatal("the scripted PostgreSQL cannot listen on " + path);
}

std::string ScriptedPostgres::conninfo() const {
  return "host=" + directory_.path() + " port=" + std::to_string(kSocketPort) + " user=scripted dbname=scripted";
}

void ScriptedPostgres::accept() {
  wait_until_readable(listener_.get());
  client_ = UniqueFd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!client_) fatal("the scripted PostgreSQL cannot accept");
  received_.clear();
}

void ScriptedPostgres::turn_away() {
  wait_until_readable(listener_.get());
  const UniqueFd other(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
}

void ScriptedPostgres::let_in() {
  read(read32(read(kLengthSize)) - kLengthSize);  // version, user, database and the like
  std::string key(2 * kLengthSize, '\1');
  send(message('R', std::string(kLengthSize, '\0')) + pg::parameter_status("server_version", "15.0") +
       pg::parameter_status("client_encoding", "UTF8") + message('K', key) + pg::ready_for_query('I'));
}

std::vector<ScriptedPostgres::Asked> ScriptedPostgres::read_to_sync() {
  std::vector<Asked> asked;
  bool is_parsed = false;  // the last of them, and not run yet
  while (true) {
    const std::string bytes = read_message();
    const char* body = bytes.c_str() + 1;
    switch (bytes.front()) {
      case 'P':
        asked.push_back({.statement = body, .is_parsed = true});
        is_parsed = true;
        break;
      case 'B': {
        const std::string statement = body + std::strlen(body) + 1;  // behind the portal's name
        if (!is_parsed || asked.back().statement != statement) asked.push_back({.statement = statement});
        asked.back().is_run = true;
        asked.back().values = values_of(std::string_view(bytes).substr(1));
        is_parsed = false;
        break;
      }
      case 'S':
        return asked;
      default:
        break;  // Describe, Execute, Flush
    }
  }
}

// Type and body, without the length.
std::string ScriptedPostgres::read_message() {
  const std::string head = read(1 + kLengthSize);
  return head.front() + read(read32(std::string_view(head).substr(1)) - kLengthSize);
}

std::string ScriptedPostgres::read(size_t count) {
  char some[16'384];
  while (received_.size() < count) {
    wait_until_readable(client_.get());
    const ssize_t got = ::recv(client_.get(), some, sizeof some, 0);
    if (got <= 0) fatal("the scripted PostgreSQL has lost its client");
    received_.append(some, static_cast<size_t>(got));
  }
  const std::string bytes = received_.substr(0, count);
  received_.erase(0, count);
  return bytes;
}

bool ScriptedPostgres::has_input() const {
  pollfd now{client_.get(), POLLIN, 0};
  return !received_.empty() || ::poll(&now, 1, 0) > 0;
}

void ScriptedPostgres::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(client_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) fatal("the scripted PostgreSQL cannot send");
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

bool ScriptedPostgres::is_read() const {
  int unread = 0;
  if (::ioctl(client_.get(), SIOCOUTQ, &unread) != 0) fatal("the scripted PostgreSQL cannot see what was read");
  return unread == 0;
}

}  // namespace txn::test
