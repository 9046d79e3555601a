// What this build is.
#pragma once

#include <string_view>

namespace txn {

// "0.1.0", as the project's CMakeLists.txt has it.
std::string_view version();

// The commit it was built from, in twelve hexadecimal digits and with "-changed" behind them when files that belong to
// it were edited; "unknown" where neither Git nor TXN_COMMIT said. Programs other than the service are "unknown" too.
std::string_view commit();

}  // namespace txn
