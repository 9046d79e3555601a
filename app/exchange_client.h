// The client of an exchange, for those who would rather not work for nobody (db/ledger.h, db/reader.h).
#pragma once

#include "db/ledger.h"
#include "net/exchange.h"

namespace txn {

// `exchange` must outlive it.
class ExchangeClient final : public OperationClient {
 public:
  explicit ExchangeClient(const Exchange& exchange) : exchange_(exchange) {}
  bool is_waiting() const override { return exchange_.has_client(); }

 private:
  const Exchange& exchange_;
};

}  // namespace txn
