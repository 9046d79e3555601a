// What no compiler checks: the direction of includes, calls with a better one in this project, words that must not
// stay. Each finding says what to do instead.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace txn {
namespace {

namespace fs = std::filesystem;

struct SourceFile {
  std::string path;    // relative to the project
  std::string folder;  // core, net, db, app, bench or tests
  std::vector<std::string> lines;
};

std::vector<SourceFile> read_sources() {
  std::vector<SourceFile> files;
  const fs::path root = TXN_SOURCE_DIR;
  for (const char* folder : {"core", "net", "db", "app", "bench", "tests"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      const std::string extension = entry.path().extension();
      if (extension != ".cc" && extension != ".h") continue;
      SourceFile file{.path = fs::relative(entry.path(), root), .folder = folder, .lines = {}};
      std::ifstream in(entry.path());
      for (std::string line; std::getline(in, line);) file.lines.push_back(line);
      files.push_back(std::move(file));
    }
  }
  return files;
}

const std::vector<SourceFile>& sources() {
  static const std::vector<SourceFile> files = read_sources();
  return files;
}

// Reports each line of `folders` that matches `pattern`, in files other than `except`.
void forbid(const std::set<std::string>& folders, const std::string& pattern, const std::string& instead,
            const std::set<std::string>& except = {}) {
  const std::regex regex(pattern);
  for (const SourceFile& file : sources()) {
    if (!folders.contains(file.folder) || except.contains(file.path) || file.path == "tests/tidy_test.cc") continue;
    for (size_t i = 0; i < file.lines.size(); ++i) {
      const std::string code = file.lines[i].substr(0, file.lines[i].find("//"));
      if (std::regex_search(code, regex)) ADD_FAILURE() << file.path << ":" << i + 1 << ": " << instead;
    }
  }
}

const std::set<std::string> kProduct{"core", "net", "db", "app"};

TEST(Tidy, FindsTheSources) { EXPECT_GT(sources().size(), 100u); }

// core <- net, db <- app; net and db never meet.
TEST(Tidy, IncludesPointOneWay) {
  const std::map<std::string, std::set<std::string>> allowed{
      {"core", {"core"}}, {"net", {"core", "net"}}, {"db", {"core", "db"}}, {"app", {"core", "net", "db", "app"}}};
  const std::regex include(R"re(^#include "([a-z]+)/)re");
  for (const SourceFile& file : sources()) {
    const auto may = allowed.find(file.folder);
    if (may == allowed.end()) continue;
    for (size_t i = 0; i < file.lines.size(); ++i) {
      std::smatch match;
      if (std::regex_search(file.lines[i], match, include) && !may->second.contains(match[1]))
        ADD_FAILURE() << file.path << ":" << i + 1 << ": " << file.folder << "/ must not include " << match[1] << "/";
    }
  }
}

TEST(Tidy, OnlyTheRingKnowsLiburing) { forbid(kProduct, "liburing\\.h", "use core/ring.h", {"core/ring.cc"}); }

// GCC 12 miscompiles a co_await inside a condition: the coroutine is left suspended for ever. Give it a name first.
TEST(Tidy, NoCoAwaitInsideConditions) {
  forbid({"core", "net", "db", "app", "tests"},
         R"re(\b(if|while|switch|for)\s*\(.*co_await|(&&|\|\||\?)\s*!?\s*co_await)re",
         "give the result of co_await a name before it is tested");
}

TEST(Tidy, NoFloatingPointNearMoney) {
  for (const char* word : {R"(\bdouble\b)", R"(\bfloat\b)", R"(\bstrtod\b)", R"(\bstod\b)"})
    forbid({"db", "app"}, word, "money is exact: core/money.h");
}

TEST(Tidy, BannedCallsHaveReplacements) {
  const std::vector<std::pair<std::string, std::string>> banned{
      {R"(\bassert\s*\()", "use CHECK of core/check.h, which stays in release builds"},
      {R"(\bstd::(cout|cerr)\b)", "print through app/commands or log through core/log.h"},
      {R"(\brand\s*\(\))", "use RequestIdGenerator or BoringSSL's RAND_bytes"},
      {R"(\bsleep_for\(std)", "wait for a condition, or use Loop::sleep_for"},
      {R"(\b(gmtime|localtime|strftime)\b)", "use core/json_writer.h or net/http_response.h"},
      {R"(\b(strcpy|strcat|sprintf|gets)\s*\()", "use std::string or std::to_chars"},
      {R"(\bPQexec\b|\bPQreset\b|\bPQcancel\b)",
       "blocks or hits the wrong statement: db/pg_connection.h, db/session.h"},
  };
  for (const auto& [pattern, instead] : banned) forbid(kProduct, pattern, instead, {"db/session.cc"});
}

TEST(Tidy, NothingIsLeftUnfinished) {
  const std::regex words(R"(\b(FIXME|XXX|TODO|HACK)\b)");
  for (const SourceFile& file : sources()) {
    if (file.path == "tests/tidy_test.cc") continue;
    for (size_t i = 0; i < file.lines.size(); ++i) {
      if (std::regex_search(file.lines[i], words))
        ADD_FAILURE() << file.path << ":" << i + 1 << ": finish it or say in docs/ why not";
    }
  }
}

TEST(Tidy, HeadersOpenWithAComment) {
  for (const SourceFile& file : sources()) {
    if (!file.path.ends_with(".h") || !kProduct.contains(file.folder)) continue;
    ASSERT_FALSE(file.lines.empty()) << file.path;
    EXPECT_TRUE(file.lines[0].starts_with("//")) << file.path << ": say in the first line what it is for";
  }
}

}  // namespace
}  // namespace txn
