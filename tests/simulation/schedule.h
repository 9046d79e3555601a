// One simulated schedule: replicas with their ledgers and lanes, clients, a database that fails, and the audit.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "tests/simulation/database.h"
#include "tests/simulation/world.h"

namespace txn::simulation {

// Runs schedule after schedule; each is determined by its seed alone.
class Simulation {
 public:
  Simulation();
  ~Simulation();
  Simulation(const Simulation&) = delete;
  Simulation& operator=(const Simulation&) = delete;

  // Empty when everything was as it must be; otherwise what was not. What a violated schedule leaves suspended is
  // abandoned: it costs memory, and nothing else.
  std::string run(uint64_t seed, Break broken = Break::kNone);

  void set_tracing(bool tracing);
  const Counts& counts() const { return counts_; }

 private:
  std::unique_ptr<World> world_;
  std::unique_ptr<Database> database_;
  Counts counts_;
  bool tracing_ = false;
};

// The seed being run by this thread: for the message of a crash.
uint64_t current_seed();
// Lets a crash (a broken CHECK, a bad access) name its seed before the process goes.
void name_seed_in_crashes();

}  // namespace txn::simulation
