#include "core/version.h"

namespace txn {

std::string_view version() { return TXN_VERSION; }

// Weak: the service is linked with another (cmake/write-commit.cmake), and is the only one that is linked anew after a
// commit.
[[gnu::weak]] std::string_view commit() { return "unknown"; }

}  // namespace txn
