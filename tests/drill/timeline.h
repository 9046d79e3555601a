// What happened in a rescue and when, in seconds since it began.
#pragma once

#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

namespace txn::test {

class Timeline {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Timeline(const std::string& title) { add(title + "\n"); }
  // Printed at once, and kept.
  void note(const std::string& what) {
    char time[32];
    std::snprintf(time, sizeof time, "%8.2f s  ", seconds());
    add(time + what + "\n");
  }
  double seconds() const { return std::chrono::duration<double>(Clock::now() - began_).count(); }
  const std::string& text() const { return text_; }

 private:
  void add(const std::string& line) {
    std::fputs(line.c_str(), stdout);
    std::fflush(stdout);
    text_ += line;
  }

  Clock::time_point began_ = Clock::now();
  std::string text_;
};

}  // namespace txn::test
