#include "db/ledger_rows.h"

#include <utility>

namespace txn {
namespace {

// The names as the wire and the database spell them, in the order of the enums.
constexpr std::string_view kOperationTypes[] = {"DEPOSIT", "WITHDRAWAL", "TRANSFER"};
constexpr std::string_view kTransferModes[] = {"", "NEFT", "RTGS", "IMPS", "UPI", "CHEQUE"};
constexpr std::string_view kRoles[] = {"CUSTOMER", "TELLER", "ADMIN"};
constexpr std::string_view kPrivileges[] = {"PREMIUM", "GOLD", "SILVER", "BASIC"};
constexpr std::string_view kDirections[] = {"CREDIT", "DEBIT"};

static_assert(std::size(kOperationTypes) == std::to_underlying(OperationType::kTransfer) + 1);
static_assert(std::size(kTransferModes) == std::to_underlying(TransferMode::kCheque) + 1);
static_assert(std::size(kRoles) == std::to_underlying(Role::kAdmin) + 1);
static_assert(std::size(kPrivileges) == kPrivilegeCount);
static_assert(std::size(kPrivileges) == std::to_underlying(Privilege::kBasic) + 1);
static_assert(std::size(kDirections) == std::to_underlying(Direction::kDebit) + 1);

template <class Enum, size_t kCount>
std::optional<Enum> parse(const std::string_view (&names)[kCount], std::string_view text) {
  for (size_t i = 0; i < kCount; ++i) {
    if (names[i] == text) return static_cast<Enum>(i);
  }
  return std::nullopt;
}

}  // namespace

std::string_view to_string(OperationType type) { return kOperationTypes[std::to_underlying(type)]; }
std::string_view to_string(TransferMode mode) { return kTransferModes[std::to_underlying(mode)]; }
std::string_view to_string(Role role) { return kRoles[std::to_underlying(role)]; }
std::string_view to_string(Privilege privilege) { return kPrivileges[std::to_underlying(privilege)]; }
std::string_view to_string(Direction direction) { return kDirections[std::to_underlying(direction)]; }

std::optional<TransferMode> parse_transfer_mode(std::string_view text) {
  if (text.empty()) return std::nullopt;  // the spelling of kNone, which no caller may ask for
  return parse<TransferMode>(kTransferModes, text);
}
std::optional<Role> parse_role(std::string_view text) { return parse<Role>(kRoles, text); }
std::optional<Privilege> parse_privilege(std::string_view text) { return parse<Privilege>(kPrivileges, text); }

}  // namespace txn
