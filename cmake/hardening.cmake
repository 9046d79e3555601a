# txn_hardening: what makes a memory error in a service that faces the network stop it instead of being of use.

include(CheckPIESupported)
check_pie_supported()
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

add_library(txn_hardening INTERFACE)
target_compile_options(txn_hardening INTERFACE -fstack-protector-strong -fstack-clash-protection)
target_link_options(txn_hardening INTERFACE LINKER:-z,relro LINKER:-z,now LINKER:-z,noexecstack)

# Fortified calls need the optimiser, and they hide errors from the sanitizers, which check more.
if(TXN_SANITIZE STREQUAL "" AND NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
  set(TXN_FORTIFIED ON)
  target_compile_options(txn_hardening INTERFACE
    "$<$<NOT:$<STREQUAL:$<TARGET_PROPERTY:TXN_OPTIMIZATION>,-O0>>:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=2>")
endif()
# Bounds of operator[], emptiness of front(), optional and the like; a compare and a branch that is never taken.
target_compile_definitions(txn_hardening INTERFACE $<$<COMPILE_LANGUAGE:CXX>:_GLIBCXX_ASSERTIONS>)
