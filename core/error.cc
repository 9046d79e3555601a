#include "core/error.h"

#include <system_error>

namespace txn {

std::unexpected<Error> fail_errno(const char* what, int errno_value) {
  // generic_category() rather than strerror(): workers may fail at the same time.
  return fail(ErrorKind::kSystem, std::string(what) + ": " + std::generic_category().message(errno_value));
}

}  // namespace txn
