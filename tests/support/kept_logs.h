// Everything that services write while the tests run, kept for one look at the whole of it (cmake/check-logs.sh): every
// line of every log as the contract has it, and no secret of any test in any of them.
//
// cmake/run-tests.sh names the folder in TXN_KEEP_LOGS; without that nothing is kept. Each process of the tests writes
// into folders of its own there, so any number of them may run at once.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace txn::test {

// Of a longer log only the first and the last lines are kept, and it is said.
inline constexpr size_t kKeptLogMaxBytes = 8 << 20;

// What of a service's settings and arguments must never be seen: keys and passwords, those in URLs and files included.
// Anything shorter than eight bytes would be found in any log by chance and is left out.
std::vector<std::string> secrets_of(const std::map<std::string, std::string>& settings,
                                    const std::vector<std::string>& args);

// What clients send that must never be seen: the signature of a token, the PINs of a JSON body (those of 4 and 6
// digits). Any thread.
void remember_token(std::string_view token);
void remember_pins(std::string_view body);

// What one process of the service has left behind.
struct WrittenLog {
  std::string name;                         // of the folder that it is kept in; a number is added
  std::map<std::string, std::string> text;  // by file name: *.json and app.json.log* are logs, *.txt is anything
  std::vector<std::string> secrets;         // secrets_of() it
  bool was_killed = false;                  // so that a last line may have been cut short in the middle of write(2)
};

// Adds the files app.json.log* of `directory`.
void add_log_files(WrittenLog& log, const std::string& directory);
// Any thread. `folder` is TXN_KEEP_LOGS unless said.
void keep(const WrittenLog& log);
void keep(const WrittenLog& log, const std::string& folder);

}  // namespace txn::test
