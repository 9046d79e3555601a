// One line for a request, at its answer.
//
//   audit    every request on a route that moves money, refused or not: who, what, how it ended. The books themselves
//   are
//            in the database; this says who asked for what is in them, and for what is not.
//   access   the other requests, as ACCESS_LOG says.
//
// Level INFO, or WARNING when the service is to blame (5xx). Paths stand there as the route's pattern: what clients put
// into a path is an account number at best, and a token at worst.
#pragma once

#include <cstdint>

#include "app/request_record.h"
#include "core/clock.h"
#include "core/config.h"
#include "net/exchange.h"

namespace txn {

// One per worker.
class RequestLog {
 public:
  // `clock` must outlive it.
  RequestLog(const AccessLog& access, const Clock& clock) : access_(access), clock_(clock) {}

  void on_answered(const Exchange& exchange, const RequestRecord& record, int status);

 private:
  void audit(const Exchange& exchange, const RequestRecord& record, int status) const;
  void access(const Exchange& exchange, const RequestRecord& record, int status) const;
  bool wants_access_line(int status);

  const AccessLog access_;
  const Clock& clock_;
  int64_t answers_ = 0;  // that were no errors, for sampling
};

}  // namespace txn
