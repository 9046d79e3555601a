// Who a request comes from, as its token says.
#pragma once

#include <cstdint>

#include "db/ledger_rows.h"

namespace txn {

struct Principal {
  int64_t subject = 0;
  Role role = Role::kCustomer;
  int64_t expires_at = 0;  // unix seconds, without leeway
};

}  // namespace txn
