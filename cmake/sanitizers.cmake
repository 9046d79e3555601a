# txn_sanitizers: the instrumentation of this build directory, chosen with -DTXN_SANITIZE=...
#   address   AddressSanitizer and UndefinedBehaviorSanitizer, with libFuzzer's coverage (make asan, make fuzz)
#   thread    ThreadSanitizer (make tsan)
# Both with Clang, which has libFuzzer and compiles instrumented code in less time than GCC.
# Everything of ours in one build directory is compiled alike: a half-instrumented container reports nonsense.

set(TXN_SANITIZE "" CACHE STRING "Empty, address or thread")
set_property(CACHE TXN_SANITIZE PROPERTY STRINGS "" address thread)

# How much time the compiler takes over a target, instead of the build type's: for tests, which are most of what there is
# to compile, and of which each statement runs once. The variable of that name sets it for the targets of a folder.
define_property(TARGET PROPERTY TXN_OPTIMIZATION INITIALIZE_FROM_VARIABLE TXN_OPTIMIZATION)

add_library(txn_sanitizers INTERFACE)
if(TXN_SANITIZE STREQUAL "")
  target_compile_options(txn_sanitizers INTERFACE "$<TARGET_PROPERTY:TXN_OPTIMIZATION>")
  return()
endif()
if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  message(FATAL_ERROR "TXN_SANITIZE needs Clang: -DCMAKE_C_COMPILER=clang-19 -DCMAKE_CXX_COMPILER=clang++-19")
endif()
if(TXN_SANITIZE STREQUAL "address")
  # Fuzz targets bring main() themselves with -fsanitize=fuzzer when they link.
  set(sanitizers address,undefined,fuzzer-no-link)
elseif(TXN_SANITIZE STREQUAL "thread")
  set(sanitizers thread)
else()
  message(FATAL_ERROR "TXN_SANITIZE: '${TXN_SANITIZE}' is not one of address, thread")
endif()

# The first finding ends the program, so that a test cannot pass with one. Coroutines resume one another by tail calls,
# which -O1 alone would leave out: the stack would grow with every switch. Lines are all that a report needs (-g1), and
# full debug information would make every link of instrumented code slow.
target_compile_options(txn_sanitizers INTERFACE
  -fsanitize=${sanitizers} -fno-sanitize-recover=all -fno-omit-frame-pointer -O1 -foptimize-sibling-calls -g1
  "$<TARGET_PROPERTY:TXN_OPTIMIZATION>")
target_link_options(txn_sanitizers INTERFACE -fsanitize=${sanitizers})
