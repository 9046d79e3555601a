#include "core/version.h"

namespace txn {

std::string_view version() { return TXN_VERSION; }

}  // namespace txn
