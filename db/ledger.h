// The way into the books for one worker: a bounded queue of operations and the lanes that carry them out in batches.
//
// No timer makes a batch: an idle lane takes what is there at the end of the turn, and while it is in flight the next
// batch fills. Everything here belongs to the worker's thread.
#pragma once

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string_view>
#include <tuple>
#include <vector>

#include "core/loop.h"
#include "core/mailbox.h"
#include "core/metrics.h"
#include "core/task.h"
#include "db/accounts_in_flight.h"
#include "db/held_up_accounts.h"
#include "db/ledger_rows.h"
#include "db/pending_operation.h"

namespace txn {

class Lane;
class LaneStore;

// The books' rules, given by the application. Pure: called under the locks of a batch, in order of arrival.
class BatchRules {
 public:
  // Decides `operation` on `accounts` (sorted by account_number, changed in place), appends its log rows.
  virtual Outcome decide(const Operation& operation, std::span<AccountState> accounts, const TransferLimits& limits,
                         int64_t now_us, int64_t transaction_id, std::vector<LogRow>& log) const = 0;

  // The answer that the client gets for `outcome`, which the rules have decided: kept with it under the request's key.
  virtual StoredAnswer render(const Operation& operation, const Outcome& outcome,
                              std::string_view request_id) const = 0;

 protected:
  ~BatchRules() = default;
};

struct LedgerOptions {
  int lanes = 1;
  size_t queue_max = 4096;
  size_t batch_max = 1024;
  // Once the longest-waiting operation has waited so long, new ones are refused at once: those that are taken in then
  // wait little longer than that, however many come. Waiting time says so whatever the database's speed is today; the
  // queue's length does not (K. Nichols, V. Jacobson: Controlling Queue Delay, 2012).
  int64_t queue_delay_max_ns = 250 * kNanosPerMilli;
  // An operation's deadline, from when it was submitted: it is not begun later than that.
  int64_t queue_wait_ns = 5 * kNanosPerSecond;
  // Longest that a lane lets the batches of others on the same accounts go first, but for a tick of the timers.
  int64_t turn_wait_ns = 5 * kNanosPerMilli;
  // Longest that a client waits to learn the outcome of a commit that the database went away in.
  int64_t in_doubt_ns = 10 * kNanosPerSecond;
};

inline constexpr HistogramBounds<11> kBatchSizeBounds{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};
// Nanoseconds.
inline constexpr HistogramBounds<14> kBatchTimeBounds{
    250'000,    500'000,     1'000'000,   2'500'000,     5'000'000,     10'000'000,    25'000'000,
    50'000'000, 100'000'000, 250'000'000, 1'000'000'000, 2'500'000'000, 5'000'000'000, 10'000'000'000};

struct LedgerCounters {
  Gauge queued;   // operations that wait for a lane
  Gauge held_up;  // operations that wait for an account that somebody outside has locked
  Counter batches;
  Counter operations;      // in those batches
  Counter refused_full;    // the queue was full or too slow
  Counter refused_away;    // no lane had a connection, or none was free in time
  Counter abandoned;       // not begun, because the client had gone
  Counter retried;         // operations that went back to the queue after their batch was lost
  Counter batches_failed;  // refused by the database as a whole
  Counter connects;
  Counter commits_in_doubt;
  Counter outcomes_unknown;
  Counter held_up_found;  // times that an account was found to be locked by somebody outside
  Counter probes;         // questions whether money could move, while none did
  Counter probes_failed;
  Counter sessions_refused;  // given up for what the database said in them, or for being somebody else's
  Counter superseded;        // connections given up because a newer primary had been seen
  Counter turns_awaited;     // times that a lane let another's batch on the same accounts go first
  Counter pins_locked;       // by a third wrong one in a row
  Histogram<kBatchSizeBounds> batch_size;
  Histogram<kBatchTimeBounds> batch_ns;  // from taking it to its answers, retries of its halves included
};

class Ledger final : private Flusher, private Timer {
 public:
  // Makes the store of a lane; `on_lost` is to be called when its connection dies while idle.
  using MakeStore = std::function<std::unique_ptr<LaneStore>(std::function<void()> on_lost)>;

  // All references must outlive the ledger; `in_flight` is for all ledgers of the process.
  Ledger(Loop& loop, const BatchRules& rules, AccountsInFlight& in_flight, LedgerOptions options,
         const MakeStore& make_store);
  ~Ledger();

  // Awaitable Outcome. What the arguments point to must stay until then. kUnavailable is certain not to have been
  // applied. With a key, kReplayed leaves the first answer in it; any other outcome that the rules decided leaves there
  // what was kept.
  auto submit(const Operation& operation, IdempotentRequest* idempotent = nullptr,
              const OperationClient* client = nullptr) {
    struct Submit : PendingOperation {
      Ledger& ledger;
      Submit(Ledger& owner, const Operation& asked, IdempotentRequest* key, const OperationClient* caller)
          : PendingOperation(asked, key, caller), ledger(owner) {}
      bool await_ready() { return !ledger.admits(*this); }
      void await_suspend(std::coroutine_handle<> handle) {
        waiting = handle;
        ledger.enqueue(*this);
      }
      Outcome await_resume() const { return outcome; }
    };
    return Submit(*this, operation, idempotent, client);
  }

  // Starts connecting. The lanes run in `scope` until stop().
  void start(Scope& scope);
  // No operation may be under way. The lanes close their connections and leave the scope.
  void stop();

  // Whether at least one lane has a live connection.
  bool is_connected() const;
  // Whether too much waits already for a new operation to be taken.
  bool is_overloaded() const;
  // The same for one that is refused then, which is counted. For turning requests away before anything is spent on
  // them: submit() looks by itself.
  bool sheds();
  // When a lane last committed a batch, or found that it could: on the clock of the loop, 0 when there is no sign of
  // it.
  int64_t proved_ns() const { return proved_ns_; }
  // An idle lane finds out; proved_ns() tells.
  void ask_for_proof();
  size_t queued() const { return counters_.queued; }
  const LedgerCounters& counters() const { return counters_; }

 private:
  friend class Lane;

  using KeyInFlight = std::tuple<int64_t, OperationType, std::string_view>;
  static KeyInFlight key_of(const IdempotentRequest& request) {
    return {request.caller_id, request.route, request.key};
  }

  // Waits for the end of a batch of any lane, or for as long as anybody has to. Lives on while its message is on the
  // way.
  class Turn final : public std::enable_shared_from_this<Turn>,
                     private AccountsInFlight::Waiter,
                     private Message,
                     private Timer {
   public:
    explicit Turn(Ledger& ledger) : ledger_(&ledger) {}
    bool is_awaited() const { return is_armed(); }
    void begin();
    void end();  // without the ledger being told
    void forget_ledger() { ledger_ = nullptr; }

   private:
    void on_batch_ended() override;
    void run() override;
    void on_timer() override;

    Ledger* ledger_;
    std::atomic<bool> posted_ = false;
    std::shared_ptr<Turn> keep_;  // while posted
  };

  // False: `pending` has its outcome already.
  bool admits(PendingOperation& pending);
  void enqueue(PendingOperation& pending);
  // Most of what waits is about accounts that are being written.
  bool is_crossing();
  // The next operations have to let a batch of another lane go first, once.
  bool awaits_turn();
  void on_turn();
  // Lanes: the oldest operations, at most batch_max. True: a lone one, to see whether its account is free again.
  bool take(std::vector<PendingOperation*>& batch);
  // Refuses or drops what there is no use in beginning.
  bool is_worth_beginning(PendingOperation& pending, int64_t oldest_allowed_ns);
  // Lanes: money could move just now, or could not.
  void prove() { proved_ns_ = loop_.clock().now_ns(); }
  void disprove() { proved_ns_ = 0; }
  // Lanes: somebody outside has that account locked; nobody has.
  void hold_up(PendingOperation& pending, int64_t account_number);
  void release(int64_t account_number);
  void refuse_held_up(int64_t queued_before_ns);
  void watch_queue();
  // Lanes: operations that were certainly not applied go back to the front, or are refused at their second return.
  void give_back(std::span<PendingOperation* const> batch);
  void answer(PendingOperation& pending);
  void refuse(PendingOperation& pending);
  void on_lane_changed();
  void flush() override;
  void on_timer() override;

  Loop& loop_;
  const BatchRules& rules_;
  AccountsInFlight& in_flight_;
  const LedgerOptions options_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  PendingList queue_;
  std::set<KeyInFlight> keys_in_flight_;  // of this worker; the database knows those of the others
  std::shared_ptr<Turn> turn_ = std::make_shared<Turn>(*this);
  HeldUpAccounts held_up_;
  int64_t proved_ns_ = 0;
  bool wants_proof_ = false;
  bool has_awaited_turn_ = false;
  bool stopping_ = false;
  LedgerCounters counters_;
};

}  // namespace txn
