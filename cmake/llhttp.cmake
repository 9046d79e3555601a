# llhttp, the HTTP/1 parser of Node.js: target llhttp.
#
# Compiled from its generated C sources where the distribution ships only those (Debian 12, package node-llhttp). Strict
# mode is a compile-time choice there, and off by default: without it the parser skips any byte where a line feed
# belongs, which is how requests are smuggled. Later versions (package libllhttp-dev) are strict unless told otherwise.

find_package(llhttp CONFIG QUIET)
if(TARGET llhttp::llhttp_shared OR TARGET llhttp::llhttp_static OR TARGET llhttp::llhttp)
  add_library(llhttp INTERFACE)
  foreach(candidate llhttp::llhttp_static llhttp::llhttp_shared llhttp::llhttp)
    if(TARGET ${candidate})
      target_link_libraries(llhttp INTERFACE ${candidate})
      break()
    endif()
  endforeach()
else()
  set(llhttp_sources /usr/share/llhttp)
  find_path(LLHTTP_INCLUDE_DIR llhttp.h PATHS /usr/share/include/llhttp NO_DEFAULT_PATH REQUIRED)
  add_library(llhttp STATIC ${llhttp_sources}/llhttp.c ${llhttp_sources}/api.c ${llhttp_sources}/http.c)
  target_include_directories(llhttp SYSTEM PUBLIC ${LLHTTP_INCLUDE_DIR})
  target_compile_definitions(llhttp PRIVATE LLHTTP_STRICT_MODE=1)
  # Somebody else's code: our warnings are not its problem, and it is fast in every build type.
  target_compile_options(llhttp PRIVATE -O3 -w)
endif()
