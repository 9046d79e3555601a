// Accounts that somebody outside of the lanes has locked, an operator in psql for one, and the operations that wait for
// them: apart from the queue, so that no batch waits for that lock and everybody else's money moves on.
//
// A lane that has waited in vain takes such an account's operations out of its batch and puts them here. Now and then
// one of them is let out to see, without waiting, whether the account is free again. Belongs to the ledger's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/clock.h"
#include "db/pending_operation.h"

namespace txn {

class HeldUpAccounts {
 public:
  // Beyond these an operation is refused at once: it waits for nothing that anybody here can hurry.
  static constexpr size_t kAccountsMax = 256;
  static constexpr size_t kWaitingMax = 1024;
  // How often an account is looked at while somebody waits for it.
  static constexpr int64_t kLookEveryNs = 250 * kNanosPerMilli;

  enum class Answer : uint8_t {
    kFree,   // none of its accounts is known to be held up
    kWaits,  // taken in
    kFull,   // has to be refused
  };

  // An operation that is to be queued: waits here when one of its accounts is held up.
  Answer offer(PendingOperation& pending);
  // `account_number`, one of the operation's, has been found locked: it is the first to be let out again. kWaits,
  // kFull.
  Answer hold_up(PendingOperation& pending, int64_t account_number, int64_t now_ns);
  // Nobody outside holds the account: what has waited for it goes to the end of `out`, in order of arrival.
  void release(int64_t account_number, PendingList& out);
  // An operation to look with, or nullptr.
  PendingOperation* next_look(int64_t now_ns);
  bool has_look(int64_t now_ns) const;
  // Takes out everything that was queued before `oldest_allowed_ns`.
  void expire(int64_t oldest_allowed_ns, PendingList& out);

  // Also of accounts that nobody waits for at the moment.
  bool contains(int64_t account_number) const;
  size_t waiting() const { return waiting_; }

 private:
  struct Account {
    int64_t number = 0;
    int64_t look_ns = 0;
    PendingList waiting;
  };
  Account* find(int64_t number) const;
  Account* add(int64_t number);

  std::vector<std::unique_ptr<Account>> accounts_;  // few; also those that nobody waits for at the moment
  size_t waiting_ = 0;
};

}  // namespace txn
