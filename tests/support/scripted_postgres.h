// A PostgreSQL of the tests' own: it speaks as much of protocol version 3 as a session of prepared statements needs
// (PostgreSQL 15 manual, chapter 55), reads what is asked of it and sends exactly the bytes that a test gives it.
//
// No thread: a test calls it between the turns of a loop and so decides what arrives together. One client at a time;
// what it waits for it waits for at most ten seconds, and then ends the run.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tests/support/child_process.h"

namespace txn::test {

// Messages of a server, whole, as bytes.
namespace pg {

std::string parse_complete();
std::string bind_complete();
std::string no_data();
std::string row_description(size_t columns);                   // of binary values of no particular type
std::string data_row(const std::vector<std::string>& values);  // none of them NULL
std::string command_complete(std::string_view tag);            // "INSERT 0 1"
std::string ready_for_query(char transaction);                 // 'I', 'T' or 'E'
std::string parameter_status(std::string_view name, std::string_view value);

// What errors and notices say. An empty field is left out.
struct Report {
  std::string severity = "ERROR";
  std::string sqlstate = "57014";
  std::string text = "scripted";
  std::string source_function = "f";
};
std::string error_response(const Report& report);
std::string notice_response(const Report& report);

}  // namespace pg

class ScriptedPostgres {
 public:
  // One statement of the client's, in order of arrival.
  struct Asked {
    std::string statement;                 // its name; "" for the unnamed one
    bool is_parsed = false;                // Parse came
    bool is_run = false;                   // Bind, Describe and Execute came
    std::vector<std::string> values = {};  // of its parameters; NULL reads as ""
  };

  ScriptedPostgres();  // listens on a socket in a directory of its own

  std::string conninfo() const;

  // Takes the client that is connecting, in place of the one before.
  void accept();
  // Closes the door on another one that is connecting.
  void turn_away();
  // Waits for the client's start-up message and answers it.
  void let_in();
  // Everything up to the next Sync.
  std::vector<Asked> read_to_sync();
  // Whether the client has sent something that was not read yet.
  bool has_input() const;
  void send(std::string_view bytes);
  // Whether the client has read all that was sent.
  bool is_read() const;
  // Closes the client's connection; what was sent before can still be read there.
  void hang_up() { client_.reset(); }

 private:
  std::string read(size_t count);
  std::string read_message();

  TempDirectory directory_;
  UniqueFd listener_;
  UniqueFd client_;
  std::string received_;  // and not looked at yet
};

}  // namespace txn::test
