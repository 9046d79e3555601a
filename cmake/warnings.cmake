# txn_warnings: what our own code must compile without, under GCC and Clang alike. -Wconversion is left out on purpose:
# in code that mostly moves sizes and offsets about, its casts hide more than they show.

option(TXN_WERROR "Treat warnings as errors" ON)

add_library(txn_warnings INTERFACE)
target_compile_options(txn_warnings INTERFACE
  -Wall -Wextra -Wshadow
  $<$<COMPILE_LANGUAGE:CXX>:-Wdelete-non-virtual-dtor>
  $<$<COMPILE_LANGUAGE:CXX>:-Wold-style-cast>
  $<$<COMPILE_LANGUAGE:CXX>:-Woverloaded-virtual>
  $<$<BOOL:${TXN_WERROR}>:-Werror>)

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Known to cry wolf over inlined standard containers and coroutine frames when optimising or instrumenting.
  target_compile_options(txn_warnings INTERFACE -Wno-error=maybe-uninitialized -Wno-error=array-bounds
    -Wno-error=stringop-overflow)
  # GCC 12 sees overlaps in every std::string that is assigned a literal, and takes designated initializers, which leave
  # members out on purpose, for forgetful ones.
  target_compile_options(txn_warnings INTERFACE -Wno-restrict -Wno-missing-field-initializers)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 19)
  target_compile_options(txn_warnings INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-Wno-missing-designated-field-initializers>)  # the same, under its own name
endif()
