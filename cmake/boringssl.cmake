# BoringSSL: boringssl::crypto and boringssl::ssl.
#
# libpq brings OpenSSL into our process, and BoringSSL uses the same names for other things. Were its symbols visible,
# libpq's calls would land in it and the first TLS connection to the database would corrupt the heap. So BoringSSL is
# linked statically, its symbols are compiled hidden, and the linker is told once more not to export anything that came
# out of an archive. That is why the packaged shared libraries cannot be used.
#
# Building it takes a minute or two. It happens while configuring, under build/deps, and all build types share it: it
# is never instrumented, and a sanitizer has no complaint about calling code that is not.

set(boringssl_dir ${PROJECT_SOURCE_DIR}/build/deps/boringssl)
set(boringssl_recipe ${PROJECT_SOURCE_DIR}/cmake/boringssl/CMakeLists.txt)
set(boringssl_fetch ${PROJECT_SOURCE_DIR}/cmake/fetch-boringssl.sh)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${boringssl_recipe} ${boringssl_fetch})

# The stamp names the recipe it was built by, so a changed flag builds again and everything else costs nothing.
file(SHA256 ${boringssl_recipe} boringssl_recipe_hash)
set(boringssl_stamp ${boringssl_dir}/built-${boringssl_recipe_hash})

function(txn_build_boringssl)
  # Two build types configured at once must not build into the same folder.
  file(MAKE_DIRECTORY ${boringssl_dir})
  file(LOCK ${boringssl_dir} DIRECTORY GUARD FUNCTION)
  if(EXISTS ${boringssl_stamp})
    return()
  endif()
  message(NOTICE "Fetching BoringSSL's source package")
  execute_process(COMMAND ${boringssl_fetch} ${boringssl_dir} COMMAND_ERROR_IS_FATAL ANY)
  message(NOTICE "Building BoringSSL, once: a minute or two")
  execute_process(
    COMMAND ${CMAKE_COMMAND} -S ${PROJECT_SOURCE_DIR}/cmake/boringssl -B ${boringssl_dir}/build -G Ninja
            -DCMAKE_BUILD_TYPE=Release -DBORINGSSL_SOURCE=${boringssl_dir}/source
            -DCMAKE_C_COMPILER_LAUNCHER=${CMAKE_C_COMPILER_LAUNCHER}
            -DCMAKE_CXX_COMPILER_LAUNCHER=${CMAKE_CXX_COMPILER_LAUNCHER}
    OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND ${CMAKE_COMMAND} --build ${boringssl_dir}/build OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
  file(TOUCH ${boringssl_stamp})
endfunction()

if(NOT EXISTS ${boringssl_stamp})
  txn_build_boringssl()
endif()

foreach(library crypto ssl)
  add_library(boringssl::${library} STATIC IMPORTED GLOBAL)
  set_target_properties(boringssl::${library} PROPERTIES
    IMPORTED_LOCATION ${boringssl_dir}/build/lib${library}.a
    INTERFACE_INCLUDE_DIRECTORIES ${boringssl_dir}/source/src/include  # imported, hence searched as a system folder
    # By name: ALL would hide Clang's sanitizer run time as well, which the C++ library's frees have to find.
    INTERFACE_LINK_OPTIONS "LINKER:--exclude-libs,libcrypto.a:libssl.a")
endforeach()
target_link_libraries(boringssl::crypto INTERFACE Threads::Threads)
target_link_libraries(boringssl::ssl INTERFACE boringssl::crypto)
