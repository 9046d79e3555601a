// The version of this build, "0.1.0", as the project's CMakeLists.txt has it.
#pragma once

#include <string_view>

namespace txn {

std::string_view version();

}  // namespace txn
