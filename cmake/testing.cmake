# txn_add_test(NAME name SOURCES ... [LIBRARIES ...] [LABELS ...] [TIMEOUT seconds] [PROPERTIES ...] [ONE_PROCESS])
#
# A GoogleTest executable, registered with ctest case by case, so that each runs alone and failures have names.
#   LABELS       unit (default), integration, threads, long: what `ctest -L` selects. With TXN_SANITIZE=thread only tests with
#                "threads" exist: a single thread has nothing to race with. long: much waiting or many rounds, about
#                code that others run as well; the short forms of the sanitized runs leave them out
#   TIMEOUT      seconds for one case, 60 unless said; sanitized builds get four times as many
#   PROPERTIES   further ctest properties with one value each, e.g. RUN_SERIAL ON or RESOURCE_LOCK port
#   ONE_PROCESS  one ctest entry for the whole executable, for suites whose set-up is too dear to repeat for every case
# Sources need no main(). TXN_SOURCE_DIR and TXN_BINARY_DIR are defined for tests that look for files or the service.

include(GoogleTest)

option(TXN_LONG_TESTS "Also the tests with the label long" ON)

# GoogleTest's headers take as long to read as most tests take to compile, so they are read once for all tests with the same
# options. Not with ccache, which takes precompiled headers only under conditions of its own, and saves more.
function(txn_precompile_test_headers test)
  if(CCACHE)
    return()
  endif()
  get_target_property(optimization ${test} TXN_OPTIMIZATION)
  string(MAKE_C_IDENTIFIER "TXN_PRECOMPILED_${optimization}" owner)
  get_property(first GLOBAL PROPERTY ${owner})
  if(first)
    target_precompile_headers(${test} REUSE_FROM ${first})
  else()
    target_precompile_headers(${test} PRIVATE <gmock/gmock.h> <gtest/gtest.h>)
    set_property(GLOBAL PROPERTY ${owner} ${test})
  endif()
endfunction()

function(txn_add_test)
  cmake_parse_arguments(PARSE_ARGV 0 ARG "ONE_PROCESS" "NAME;TIMEOUT" "LABELS;SOURCES;LIBRARIES;PROPERTIES")
  if(ARG_UNPARSED_ARGUMENTS OR NOT ARG_NAME OR NOT ARG_SOURCES)
    message(FATAL_ERROR "txn_add_test(${ARG_NAME}): NAME and SOURCES are needed; not understood: ${ARG_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 60)
  endif()
  if(TXN_SANITIZE)
    math(EXPR ARG_TIMEOUT "${ARG_TIMEOUT} * 4")
  endif()

  add_executable(${ARG_NAME} ${ARG_SOURCES})
  target_link_libraries(${ARG_NAME} PRIVATE ${ARG_LIBRARIES} GTest::gmock GTest::gtest_main)
  target_compile_definitions(${ARG_NAME} PRIVATE
    TXN_SOURCE_DIR="${PROJECT_SOURCE_DIR}" TXN_BINARY_DIR="${PROJECT_BINARY_DIR}")
  set_target_properties(${ARG_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)

  if((TXN_SANITIZE STREQUAL "thread" AND NOT "threads" IN_LIST ARG_LABELS)
     OR (NOT TXN_LONG_TESTS AND "long" IN_LIST ARG_LABELS))
    set_target_properties(${ARG_NAME} PROPERTIES EXCLUDE_FROM_ALL ON)
    return()
  endif()

  txn_precompile_test_headers(${ARG_NAME})

  if(ARG_ONE_PROCESS)
    add_test(NAME ${ARG_NAME} COMMAND ${ARG_NAME})
    set_tests_properties(${ARG_NAME} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT} ${ARG_PROPERTIES})
  else()
    # Cases are listed when ctest starts, not while building: a sanitized executable need not run to be linked.
    # gtest_discover_tests takes lists in properties apart, so several labels become one; -L matches parts of it.
    list(JOIN ARG_LABELS "," labels)
    gtest_discover_tests(${ARG_NAME} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
      PROPERTIES LABELS "${labels}" TIMEOUT ${ARG_TIMEOUT} ${ARG_PROPERTIES})
  endif()
endfunction()
