#include "tests/support/kept_logs.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <regex>
#include <set>

#include "tests/support/child_process.h"

namespace txn::test {

namespace {

constexpr size_t kSecretMinBytes = 8;

// What this process has seen of secrets so far, and how many logs it has kept.
struct Memory {
  std::mutex mutex;
  std::set<std::string, std::less<>> secrets;
  std::set<std::string, std::less<>> pins;
  int kept = 0;
};

Memory& memory() {
  static Memory memory;
  return memory;
}

bool is_kept() { return std::getenv("TXN_KEEP_LOGS") != nullptr; }

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const std::filesystem::path& path, std::string_view text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file) fatal("cannot write " + path.string());
}

// "--jwt-secret-key" to "JWT_SECRET_KEY".
std::string setting_of_flag(std::string_view flag) {
  std::string name;
  for (const char c : flag.substr(2)) name += c == '-' ? '_' : static_cast<char>(std::toupper(c));
  return name;
}

void add_passwords(std::vector<std::string>& secrets, const std::string& text) {
  static const std::regex in_conninfo(R"(password\s*=\s*(?:'([^']*)'|(\S+)))");
  static const std::regex in_url(R"(://[^/@:]*:([^/@]+)@)");
  for (const std::regex& pattern : {in_conninfo, in_url}) {
    for (std::sregex_iterator it(text.begin(), text.end(), pattern), end; it != end; ++it)
      secrets.push_back((*it)[1].matched ? (*it)[1] : (*it)[2]);
  }
}

// Whole lines of both ends.
std::string both_ends(const std::string& text) {
  constexpr size_t kHalf = kKeptLogMaxBytes / 2;
  const size_t head = text.rfind('\n', kHalf);
  const size_t tail = text.find('\n', text.size() - kHalf);
  if (head == std::string::npos || tail == std::string::npos) return text.substr(0, kKeptLogMaxBytes);
  return text.substr(0, head + 1) + text.substr(tail + 1);
}

std::string joined(const std::set<std::string, std::less<>>& words) {
  std::string lines;
  for (const std::string& word : words) lines.append(word).append("\n");
  return lines;
}

}  // namespace

std::vector<std::string> secrets_of(const std::map<std::string, std::string>& settings,
                                    const std::vector<std::string>& args) {
  std::map<std::string, std::string> all = settings;
  for (size_t i = 0; i < args.size(); ++i) {
    if (!args[i].starts_with("--")) continue;
    const size_t equals = args[i].find('=');
    const std::string name = setting_of_flag(args[i].substr(0, equals));
    if (equals != std::string::npos) {
      all[name] = args[i].substr(equals + 1);
    } else if (i + 1 < args.size()) {
      all[name] = args[i + 1];
    }
  }
  std::vector<std::string> secrets;
  for (const char* name : {"JWT_SECRET_KEY", "PIN_SECRET_KEY", "DATABASE_PASSWORD", "PGPASSWORD"}) {
    if (const auto value = all.find(name); value != all.end()) secrets.push_back(value->second);
    if (const auto file = all.find(std::string(name) + "_FILE"); file != all.end()) {
      const std::string content = read_file(file->second);
      secrets.push_back(content.substr(0, content.find('\n')));
    }
  }
  for (const char* name : {"DATABASE_URL", "RATE_LIMIT_STORAGE"}) {
    if (const auto value = all.find(name); value != all.end()) add_passwords(secrets, value->second);
  }
  std::erase_if(secrets, [](const std::string& secret) { return secret.size() < kSecretMinBytes; });
  return secrets;
}

void remember_token(std::string_view token) {
  if (!is_kept()) return;
  const size_t dot = token.rfind('.');
  if (dot == std::string_view::npos || token.size() - dot <= kSecretMinBytes) return;
  const std::lock_guard lock(memory().mutex);
  memory().secrets.emplace(token.substr(dot + 1));
}

void remember_pins(std::string_view body) {
  constexpr std::string_view kField = R"("pin":")";
  if (!is_kept()) return;
  for (size_t at = body.find(kField); at != std::string_view::npos; at = body.find(kField, at + 1)) {
    const std::string_view rest = body.substr(at + kField.size());
    const std::string_view pin = rest.substr(0, rest.find('"'));
    // Five digits may as well be a port, which errors do name.
    if ((pin.size() != 4 && pin.size() != 6) || !std::ranges::all_of(pin, [](char c) { return '0' <= c && c <= '9'; }))
      continue;
    const std::lock_guard lock(memory().mutex);
    memory().pins.emplace(pin);
  }
}

void add_log_files(WrittenLog& log, const std::string& directory) {
  std::error_code none_there;
  for (const auto& entry : std::filesystem::directory_iterator(directory, none_there)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("app.json.log")) log.text[name] = read_file(entry.path());
  }
}

void keep(const WrittenLog& log) {
  if (is_kept()) keep(log, std::getenv("TXN_KEEP_LOGS"));
}

void keep(const WrittenLog& log, const std::string& folder) {
  namespace fs = std::filesystem;
  Memory& seen = memory();
  const std::string process = std::string(program_invocation_short_name) + "-" + std::to_string(::getpid());
  const std::lock_guard lock(seen.mutex);
  const fs::path path = fs::path(folder) / (process + "-" + std::to_string(++seen.kept) + "-" + log.name);
  fs::create_directories(path);
  for (const auto& [name, text] : log.text) {
    std::string kept = text;
    const bool is_log = !name.ends_with(".txt");
    if (is_log && log.was_killed && !kept.empty() && kept.back() != '\n') {
      kept.resize(kept.rfind('\n') + 1);
      write_file(path / "torn.txt", name + "\n");
    }
    if (kept.size() > kKeptLogMaxBytes) {
      kept = both_ends(kept);
      write_file(path / "shortened.txt", name + " had " + std::to_string(text.size()) + " bytes\n");
    }
    write_file(path / name, kept);
  }
  seen.secrets.insert(log.secrets.begin(), log.secrets.end());
  write_file(fs::path(folder) / (process + ".secrets"), joined(seen.secrets));
  write_file(fs::path(folder) / (process + ".pins"), joined(seen.pins));
}

}  // namespace txn::test
