# txn_sanitizers: the instrumentation of this build directory, chosen with -DTXN_SANITIZE=...
#   address   AddressSanitizer and UndefinedBehaviorSanitizer (make asan)
#   thread    ThreadSanitizer (make tsan)
#   fuzzer    libFuzzer's coverage with the two of `address`; Clang only
# Everything of ours in one build directory is compiled alike: a half-instrumented container reports nonsense.

set(TXN_SANITIZE "" CACHE STRING "Empty, address, thread or fuzzer")
set_property(CACHE TXN_SANITIZE PROPERTY STRINGS "" address thread fuzzer)

add_library(txn_sanitizers INTERFACE)
if(TXN_SANITIZE STREQUAL "")
  return()
elseif(TXN_SANITIZE STREQUAL "address")
  set(sanitizers address,undefined)
elseif(TXN_SANITIZE STREQUAL "thread")
  set(sanitizers thread)
elseif(TXN_SANITIZE STREQUAL "fuzzer")
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "TXN_SANITIZE=fuzzer needs Clang: -DCMAKE_C_COMPILER=clang-19 -DCMAKE_CXX_COMPILER=clang++-19")
  endif()
  # Targets bring main() themselves with -fsanitize=fuzzer when they link.
  set(sanitizers fuzzer-no-link,address,undefined)
else()
  message(FATAL_ERROR "TXN_SANITIZE: '${TXN_SANITIZE}' is not one of address, thread, fuzzer")
endif()

# The first finding ends the program, so that a test cannot pass with one. Coroutines resume one another by tail calls,
# which -O1 alone would leave out: the stack would grow with every switch. Lines are all that a report needs (-g1), and
# full debug information would make every link of instrumented code slow.
target_compile_options(txn_sanitizers INTERFACE
  -fsanitize=${sanitizers} -fno-sanitize-recover=all -fno-omit-frame-pointer -O1 -foptimize-sibling-calls -g1)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Of instrumented code GCC says it of std::regex, pages long, and of nothing that is wrong.
  target_compile_options(txn_sanitizers INTERFACE -Wno-maybe-uninitialized)
endif()
target_link_options(txn_sanitizers INTERFACE -fsanitize=${sanitizers})
