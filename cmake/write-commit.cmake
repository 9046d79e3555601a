# cmake -DSOURCE=<checkout> -DCOMMIT=<its name, or empty> -DOUTPUT=<file.cc> -P write-commit.cmake
#
# Writes C++ that says which commit is built: COMMIT when given, else what Git says of the checkout, else "unknown". A file
# that says so already is left alone, so that nothing is compiled anew.

if(NOT COMMIT)
  set(COMMIT unknown)
  find_program(GIT git)
  if(GIT AND EXISTS ${SOURCE}/.git)
    # Whoever builds need not be who cloned.
    set(git ${GIT} -c safe.directory=* -C ${SOURCE})
    execute_process(COMMAND ${git} rev-parse --short=12 HEAD
      OUTPUT_VARIABLE head OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
    if(NOT failed)
      set(COMMIT ${head})
      execute_process(COMMAND ${git} status --porcelain --untracked-files=no
        OUTPUT_VARIABLE changes ERROR_QUIET RESULT_VARIABLE failed)
      if(changes OR failed)
        string(APPEND COMMIT -changed)
      endif()
    endif()
  endif()
endif()
if(NOT COMMIT MATCHES "^[0-9A-Za-z._+-]+$")
  message(FATAL_ERROR "TXN_COMMIT: ${COMMIT} is not the name of a commit")
endif()

set(text "// Written by cmake/write-commit.cmake.
#include \"core/version.h\"

namespace txn {

std::string_view commit() { return \"${COMMIT}\"; }

}  // namespace txn
")
set(present "")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} present)
endif()
if(NOT present STREQUAL text)
  file(WRITE ${OUTPUT} "${text}")
endif()
