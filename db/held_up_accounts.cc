#include "db/held_up_accounts.h"

#include <algorithm>

namespace txn {

bool HeldUpAccounts::contains(int64_t account_number) const { return find(account_number) != nullptr; }

HeldUpAccounts::Account* HeldUpAccounts::find(int64_t number) const {
  const auto found = std::ranges::find_if(accounts_, [&](const auto& account) { return account->number == number; });
  return found == accounts_.end() ? nullptr : found->get();
}

// An account that nobody waits for makes room: should it still be locked, that is found out anew.
HeldUpAccounts::Account* HeldUpAccounts::add(int64_t number) {
  if (accounts_.size() == kAccountsMax) {
    const auto idle = std::ranges::find_if(accounts_, [](const auto& account) { return account->waiting.empty(); });
    if (idle == accounts_.end()) return nullptr;
    accounts_.erase(idle);
  }
  accounts_.push_back(std::make_unique<Account>());
  accounts_.back()->number = number;
  return accounts_.back().get();
}

HeldUpAccounts::Answer HeldUpAccounts::offer(PendingOperation& pending) {
  if (accounts_.empty()) return Answer::kFree;
  Account* account = nullptr;
  for_each_account(pending.operation, [&](int64_t number) {
    if (account == nullptr) account = find(number);
  });
  if (account == nullptr) return Answer::kFree;
  if (waiting_ == kWaitingMax) return Answer::kFull;
  account->waiting.push_back(pending);
  ++waiting_;
  return Answer::kWaits;
}

HeldUpAccounts::Answer HeldUpAccounts::hold_up(PendingOperation& pending, int64_t account_number, int64_t now_ns) {
  Account* account = find(account_number);
  if (account == nullptr) account = add(account_number);
  if (account == nullptr || waiting_ == kWaitingMax) return Answer::kFull;
  account->look_ns = now_ns + kLookEveryNs;
  account->waiting.push_front(pending);
  ++waiting_;
  return Answer::kWaits;
}

void HeldUpAccounts::release(int64_t account_number, PendingList& out) {
  if (accounts_.empty()) return;
  const auto found =
      std::ranges::find_if(accounts_, [&](const auto& account) { return account->number == account_number; });
  if (found == accounts_.end()) return;
  while (PendingOperation* pending = (*found)->waiting.pop_front()) {
    --waiting_;
    out.push_back(*pending);
  }
  accounts_.erase(found);
}

bool HeldUpAccounts::has_look(int64_t now_ns) const {
  return waiting_ > 0 && std::ranges::any_of(accounts_, [&](const auto& account) {
           return !account->waiting.empty() && account->look_ns <= now_ns;
         });
}

PendingOperation* HeldUpAccounts::next_look(int64_t now_ns) {
  if (waiting_ == 0) return nullptr;
  for (const auto& account : accounts_) {
    if (account->look_ns > now_ns || account->waiting.empty()) continue;
    account->look_ns = now_ns + kLookEveryNs;
    --waiting_;
    return account->waiting.pop_front();
  }
  return nullptr;
}

void HeldUpAccounts::expire(int64_t oldest_allowed_ns, PendingList& out) {
  for (const auto& account : accounts_) {
    for (PendingOperation* pending = account->waiting.front(); pending != nullptr;) {
      PendingOperation* const next = account->waiting.next(*pending);
      if (pending->queued_ns < oldest_allowed_ns) {
        pending->unlink();
        --waiting_;
        out.push_back(*pending);
      }
      pending = next;
    }
  }
}

}  // namespace txn
