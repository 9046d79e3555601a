// chaos [--seed N] [--minutes M | --short] [--faults NAME,NAME ...] [--times N] [--report FOLDER]
//
// Clients move money while things break, one kind of fault after the other and sometimes two at once; after each the
// audit holds every answer against the books. The seed decides what is done, when and to whom; what the threads and
// processes make of it is up to the machine.
//
// Exit status: 0 when nothing was found, 1 when something was, 2 when this could not be run.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <list>
#include <optional>
#include <sstream>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/chaos/faults.h"
#include "tests/chaos/report.h"

namespace txn::test {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kTextMax = 800;  // of a finding, on the screen
constexpr int kClients = 24;
constexpr int64_t kWarmUp = 60;  // successes before the first fault and after the last
constexpr Milliseconds kProgressTimeout{60'000};
constexpr Milliseconds kResolveTimeout{60'000};

struct Options {
  uint32_t seed = 1;
  double minutes = 5;
  bool is_short = false;  // every kind once, and done
  int times = 0;          // of each fault in an episode; 0: one or two
  std::vector<Fault> faults;
  std::string report_directory;
};

[[noreturn]] void usage() {
  std::fprintf(stderr,
               "usage: chaos [--seed N] [--minutes M | --short] [--faults NAME,NAME...] [--times N] [--report FOLDER]\n"
               "faults:\n");
  for (const FaultKind& kind : kFaultKinds) std::fprintf(stderr, "  %-20s %s\n", kind.name, kind.what);
  std::exit(2);
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--short") {
      options.is_short = true;
      continue;
    }
    if (i + 1 == argc) usage();
    const std::string value = argv[++i];
    if (flag == "--seed") {
      options.seed = static_cast<uint32_t>(std::strtoul(value.c_str(), nullptr, 10));
    } else if (flag == "--minutes") {
      options.minutes = std::strtod(value.c_str(), nullptr);
    } else if (flag == "--times") {
      options.times = static_cast<int>(std::strtol(value.c_str(), nullptr, 10));
    } else if (flag == "--report") {
      options.report_directory = value;
    } else if (flag == "--faults") {
      std::istringstream names(value);
      for (std::string name; std::getline(names, name, ',');) {
        const auto kind = std::ranges::find_if(kFaultKinds, [&](const FaultKind& k) { return name == k.name; });
        if (kind == kFaultKinds.end()) usage();
        options.faults.push_back(kind->fault);
      }
    } else {
      usage();
    }
  }
  if (options.faults.empty()) {
    for (const FaultKind& kind : kFaultKinds) {
      if (!kind.is_extra) options.faults.push_back(kind.fault);
    }
  }
  return options;
}

class Run {
 public:
  explicit Run(Options options) : options_(std::move(options)), random_(options_.seed) {
    report_.seed = options_.seed;
    for (const FaultKind& kind : kFaultKinds) {
      std::string left_out = FaultInstance::obstacle(kind.fault, cluster_);
      const bool is_chosen = std::ranges::find(options_.faults, kind.fault) != options_.faults.end();
      if (left_out.empty() && !is_chosen) left_out = "not asked for";
      report_.lines.push_back({.name = kind.name, .what = kind.what, .left_out = left_out});
    }
    report_.lines.push_back({.name = std::string(kPairs), .what = "one of PostgreSQL and one of the service's side"});
    std::erase_if(options_.faults, [&](Fault fault) { return !FaultInstance::obstacle(fault, cluster_).empty(); });
  }

  const Report& all_rounds() {
    const auto begin = Clock::now();
    const auto budget = std::chrono::duration<double, std::ratio<60>>(options_.minutes);
    const auto is_over = [&] { return !options_.is_short && Clock::now() - begin >= budget; };
    do {
      round(is_over);
    } while (!options_.is_short && !is_over());
    report_.seconds = std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - begin).count();
    return report_;
  }

 private:
  ReportLine& line_of(std::string_view name) {
    return *std::ranges::find_if(report_.lines, [&](const ReportLine& line) { return line.name == name; });
  }

  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(random_() % bound); }
  void pause_up_to(uint32_t milliseconds) { std::this_thread::sleep_for(Milliseconds(below(milliseconds))); }

  template <class T>
  void shuffle(std::vector<T>& items) {
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(static_cast<uint32_t>(i))]);
  }

  // Every kind has its episode, in sessions by what the kinds need, in an order of their own.
  template <class IsOver>
  void round(const IsOver& is_over) {
    std::vector<Layout> layouts{Layout::kAlone, Layout::kStandby, Layout::kPooled, Layout::kPooledInTransactions};
    shuffle(layouts);
    for (const Layout layout : layouts) {
      std::vector<Fault> order;
      for (const Fault fault : options_.faults) {
        if (kind_of(fault).layout == layout) order.push_back(fault);
      }
      shuffle(order);
      if (order.empty() || is_over()) continue;
      std::optional<Cluster> replicated;
      if (layout == Layout::kStandby) replicated.emplace(Cluster::Kind::kWithStandby);
      episodes(replicated ? *replicated : cluster_, layout, order, is_over);
    }
  }

  template <class IsOver>
  void episodes(Cluster& cluster, Layout layout, const std::vector<Fault>& order, const IsOver& is_over) {
    std::optional<Pooler::Mode> pooling;
    if (layout == Layout::kPooled) pooling = Pooler::Mode::kSession;
    if (layout == Layout::kPooledInTransactions) pooling = Pooler::Mode::kTransaction;
    std::optional<Session> session;
    for (const Fault fault : order) {
      if (is_over()) break;
      if (!session) session.emplace(cluster, 2 + report_.sessions++ % 2, random_(), pooling);
      std::optional<Fault> second;
      if (!options_.is_short && below(4) == 0) second = partner_of(fault);
      const bool is_clean =
          layout == Layout::kPooledInTransactions ? refusal_episode(*session, fault) : episode(*session, fault, second);
      // Books that are wrong stay wrong, and would be found again after every fault that follows.
      if (!is_clean || fault == order.back()) {
        line_of(kind_of(fault).name).findings.add_books(session->end());
        session.reset();
      }
    }
    if (session) line_of(kind_of(order.front()).name).findings.add_books(session->end());
  }

  // One of the other side; nothing when the two would be in each other's way.
  std::optional<Fault> partner_of(Fault fault) {
    std::vector<Fault> candidates;
    for (const Fault other : options_.faults) {
      const bool is_other_side = kind_of(other).is_about_lines != kind_of(fault).is_about_lines;
      if (is_other_side && kind_of(other).layout == Layout::kAlone) candidates.push_back(other);
    }
    if (candidates.empty()) return std::nullopt;
    return candidates[below(static_cast<uint32_t>(candidates.size()))];
  }

  // Whether the audit found nothing.
  bool episode(Session& session, Fault fault, std::optional<Fault> second) {
    const auto involves = [&](Fault wanted) { return fault == wanted || second == wanted; };
    const bool has_clock = involves(Fault::kMidnight) || involves(Fault::kClockBack);
    if (has_clock) cluster_.approach_midnight();
    const std::vector<int64_t> accounts = session.open_accounts();
    const std::string prefix = "e" + std::to_string(++episodes_);
    Clients clients(session.ports(), accounts, prefix, kClients, options_.seed * 1'000 + episodes_);
    Findings findings;
    const auto expect_progress = [&](const char* when) {
      if (!clients.wait_for_successes(kWarmUp, kProgressTimeout))
        findings.add_books({prefix + ": no progress " + when});
    };
    expect_progress("before any fault");
    int times = options_.times > 0 ? options_.times : options_.is_short ? 1 : 1 + static_cast<int>(below(3));
    if (has_clock) times = 1;  // there is one midnight in an episode
    std::list<std::pair<Fault, FaultInstance>> instances;
    const auto instance_of = [&](Fault wanted) -> FaultInstance& {
      return instances
          .emplace_back(std::piecewise_construct, std::forward_as_tuple(wanted),
                        std::forward_as_tuple(wanted, session, clients, !second.has_value(), random_()))
          .second;
    };
    for (int i = 0; i < times; ++i) {
      pause_up_to(300);
      if (second) {
        // PostgreSQL's fault around the other one, so that what is asked of the database has an end.
        const bool is_first_outer = !kind_of(fault).is_about_lines;
        FaultInstance& outer = instance_of(is_first_outer ? fault : *second);
        FaultInstance& inner = instance_of(is_first_outer ? *second : fault);
        inner.begin();
        outer.begin();
        outer.last();
        outer.end();
        inner.last();
        inner.end();
      } else {
        FaultInstance& instance = instance_of(fault);
        instance.begin();
        instance.last();
        instance.end();
      }
    }
    if (!session.wait_until_well(kProgressTimeout)) findings.add_books({prefix + ": a replica does not become ready"});
    expect_progress("after the fault");
    clients.stop();
    clients.resolve(kResolveTimeout);
    for (auto& [kind, instance] : instances) {
      findings.add(instance.judge());
      count(kind, instance);
    }
    findings.add(audit_episode(session, clients, accounts, involves(Fault::kClockBack)));

    ReportLine& line = line_of(second ? kPairs : kind_of(fault).name);
    ++line.episodes;
    if (second) line.faults += times;
    Tally tally = clients.tally();
    std::tie(tally.doubts_committed, tally.doubts_rolled_back) = session.take_doubts();
    line.tally.add(tally);
    line.findings.add(findings);
    tell(fault, second, times, tally, findings);
    return findings.count() == 0;
  }

  // What is set up so is not to be served on: nobody is ready, the log says why, and no money moves.
  bool refusal_episode(Session& session, Fault fault) {
    const std::vector<int64_t> accounts = session.open_accounts();
    const std::string prefix = "e" + std::to_string(++episodes_);
    Clients clients(session.ports(), accounts, prefix, kClients, options_.seed * 1'000 + episodes_);
    FaultInstance instance(fault, session, clients, true, random_());
    instance.begin();
    instance.last();
    instance.end();
    Findings findings = instance.judge();
    clients.stop();
    findings.add(audit_episode(session, clients, accounts, false));
    count(fault, instance);
    ReportLine& line = line_of(kind_of(fault).name);
    ++line.episodes;
    line.tally.add(clients.tally());
    line.findings.add(findings);
    tell(fault, std::nullopt, 1, clients.tally(), findings);
    return findings.count() == 0;
  }

  void count(Fault fault, const FaultInstance& instance) {
    ReportLine& line = line_of(kind_of(fault).name);
    ++line.faults;
    line.hits += instance.has_hit();
  }

  static void tell(Fault fault, std::optional<Fault> second, int times, const Tally& tally, const Findings& findings) {
    const std::string name =
        std::string(kind_of(fault).name) + (second ? std::string(" and ") + kind_of(*second).name : "");
    std::printf("%s, %d times: %lld operations, %lld times 503, %lld times 504, %lld without answer: %s\n",
                name.c_str(), times, static_cast<long long>(tally.operations),
                static_cast<long long>(tally.unavailable), static_cast<long long>(tally.unknown),
                static_cast<long long>(tally.unanswered),
                findings.count() == 0 ? "nothing lost, doubled or misreported" : "FAULTS FOUND");
    for (size_t i = 0; i < std::min<size_t>(findings.texts.size(), 5); ++i)
      std::printf("  %s\n", findings.texts[i].substr(0, kTextMax).c_str());
    std::fflush(stdout);
  }

  Options options_;
  std::mt19937 random_;
  Cluster cluster_;
  Report report_;
  uint32_t episodes_ = 0;
};

void write_file(const std::string& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary);
  file << content;
  file.close();
  if (!file) fatal("cannot write " + path);
}

int chaos(int argc, char** argv) {
  const Options options = parse(argc, argv);
  Cluster::leave_mounts_of_others_alone();
  Run run(options);
  const Report& report = run.all_rounds();
  std::printf("\n%s", report.text().c_str());
  if (!options.report_directory.empty()) {
    std::filesystem::create_directories(options.report_directory);
    write_file(options.report_directory + "/chaos.txt", report.text());
    write_file(options.report_directory + "/chaos.json", report.json());
    write_file(options.report_directory + "/chaos.html", report.html());
  }
  return report.findings().count() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace txn::test

int main(int argc, char** argv) {
  try {
    return txn::test::chaos(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "chaos: %s\n", error.what());
    return 2;
  }
}
