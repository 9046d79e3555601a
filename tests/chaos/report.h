// What a run has done and found, as text, JSON and HTML.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/chaos/audit.h"

namespace txn::test {

// The line of episodes in which two kinds were going on at once.
inline constexpr std::string_view kPairs = "two at once";

struct ReportLine {
  std::string name;
  std::string what;
  std::string left_out;  // why, when this could not be done here
  int64_t faults = 0;    // how often it was done
  int64_t hits = 0;      // and met what it was meant to: see FaultInstance::has_hit
  int64_t episodes = 0;
  Tally tally;
  Findings findings;
};

struct Report {
  uint32_t seed = 0;
  int64_t seconds = 0;
  int64_t sessions = 0;
  std::vector<ReportLine> lines;

  int64_t faults() const;
  Findings findings() const;
  Tally tally() const;

  std::string text() const;
  std::string json() const;
  std::string html() const;
};

}  // namespace txn::test
