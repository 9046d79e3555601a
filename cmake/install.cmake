# What `make install` and the Debian package put where:  binary, systemd unit, settings, documents.
#
# Settings always go to /etc, as the unit expects; the rest below the prefix. DESTDIR goes before both. Nothing else of the
# tree is installed.

include(GNUInstallDirs)
set(txn_doc ${CMAKE_INSTALL_DATADIR}/doc/transactions-service)
set(txn_debian ${PROJECT_SOURCE_DIR}/deploy/debian)
# A build between releases is newer than the release before it, and older than the next one.
set(TXN_PACKAGE_VERSION ${PROJECT_VERSION} CACHE STRING "Version of the package; cmake/package.sh says it")
set(TXN_MAINTAINER "transactions-service contributors <maintainers@transactions-service.invalid>" CACHE STRING
  "Who answers for the package")

install(TARGETS transactions-service RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})

# Both name the prefix, which is known for certain only now.
file(STRINGS ${PROJECT_SOURCE_DIR}/LICENSE licence_lines)
set(TXN_LICENSE "")
set(TXN_COPYRIGHT "")
foreach(line IN LISTS licence_lines)
  if(line MATCHES "^Copyright \\(c\\) (.*)$")
    set(TXN_COPYRIGHT "${CMAKE_MATCH_1}")
  endif()
endforeach()
file(READ ${PROJECT_SOURCE_DIR}/LICENSE licence)
string(REGEX REPLACE "^.*Copyright [^\n]*\n\n" "" licence "${licence}")
string(REGEX REPLACE "\n\n" "\n.\n" licence "${licence}")
string(REGEX REPLACE "([^\n]+)" " \\1" TXN_LICENSE "${licence}")
file(WRITE ${PROJECT_BINARY_DIR}/packaging/copyright.variables.cmake
  "set(TXN_COPYRIGHT [==[${TXN_COPYRIGHT}]==])\nset(TXN_LICENSE [==[${TXN_LICENSE}]==])\n")
install(CODE "
  include(\"${PROJECT_BINARY_DIR}/packaging/copyright.variables.cmake\")
  configure_file(\"${txn_debian}/transactions-service.service.in\"
    \"${PROJECT_BINARY_DIR}/packaging/transactions-service.service\" @ONLY)
  string(TIMESTAMP now \"%a, %d %b %Y %H:%M:%S +0000\" UTC)
  file(WRITE \"${PROJECT_BINARY_DIR}/packaging/changelog\"
    \"transactions-service (${TXN_PACKAGE_VERSION}) unstable; urgency=medium\\n\\n\"
    \"  * What is new is in NEWS.md.gz.\\n\\n -- ${TXN_MAINTAINER}  \${now}\\n\")
  configure_file(\"${txn_debian}/copyright.in\" \"${PROJECT_BINARY_DIR}/packaging/copyright\" @ONLY)")
install(FILES ${PROJECT_BINARY_DIR}/packaging/transactions-service.service DESTINATION lib/systemd/system)

install(DIRECTORY DESTINATION /etc/transactions-service
  DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE)
install(FILES ${txn_debian}/transactions-service.conf DESTINATION /etc/transactions-service
  PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ)

# Documents: those that an operator wants beside the program, and the terms of what is linked into it.
file(GLOB documents ${PROJECT_SOURCE_DIR}/docs/*.md)
install(FILES ${PROJECT_SOURCE_DIR}/README.md DESTINATION ${txn_doc})
install(FILES ${documents} DESTINATION ${txn_doc}/docs)
install(FILES ${PROJECT_BINARY_DIR}/packaging/copyright DESTINATION ${txn_doc})
set(boringssl_source ${PROJECT_SOURCE_DIR}/build/deps/boringssl/source/src)
foreach(pair boringssl=${boringssl_source}/LICENSE boringssl-fiat=${boringssl_source}/third_party/fiat/LICENSE
             llhttp=/usr/share/doc/node-llhttp/copyright llhttp=/usr/share/doc/libllhttp-dev/copyright
             cli11=/usr/share/doc/libcli11-dev/copyright)
  string(REGEX MATCH "^([^=]*)=(.*)$" pair "${pair}")
  install(FILES ${CMAKE_MATCH_2} DESTINATION ${txn_doc}/licenses RENAME ${CMAKE_MATCH_1} OPTIONAL)
endforeach()

# Compressed as Debian wants it: without the time of day in it, so that the same tree gives the same package.
find_program(GZIP gzip)
foreach(pair transactions-service.1=${txn_debian}/transactions-service.1=${CMAKE_INSTALL_MANDIR}/man1
             changelog=${PROJECT_BINARY_DIR}/packaging/changelog=${txn_doc}
             NEWS.md=${PROJECT_SOURCE_DIR}/CHANGELOG.md=${txn_doc})
  string(REGEX MATCH "^([^=]*)=([^=]*)=(.*)$" pair "${pair}")
  set(name ${CMAKE_MATCH_1})
  set(destination ${CMAKE_MATCH_3})
  install(CODE "
    execute_process(COMMAND ${GZIP} -9 --no-name --stdout \"${CMAKE_MATCH_2}\"
      OUTPUT_FILE \"${PROJECT_BINARY_DIR}/packaging/${name}.gz\" COMMAND_ERROR_IS_FATAL ANY)")
  install(FILES ${PROJECT_BINARY_DIR}/packaging/${name}.gz DESTINATION ${destination})
endforeach()

# --- The Debian package: `make package` --------------------------------------------------------------------------------

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME transactions-service)
set(CPACK_PACKAGE_VERSION ${TXN_PACKAGE_VERSION})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "bank transactions over HTTP, durable in PostgreSQL")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
  "Deposits, withdrawals and transfers over HTTP, for banks. An answer of 200\nmeans committed, durable in PostgreSQL, and visible to the next read.\n\nNeeds Linux 6.1 or newer for io_uring, and a PostgreSQL server, 15 or newer,\nhere or elsewhere.")
set(CPACK_PACKAGE_CONTACT ${TXN_MAINTAINER})
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_OUTPUT_FILE_PREFIX ${PROJECT_SOURCE_DIR}/build/packages)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
# Libraries that the binary is linked with come from dpkg-shlibdeps.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS adduser)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "postgresql, postgresql-client")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  ${txn_debian}/conffiles ${txn_debian}/postinst ${txn_debian}/prerm ${txn_debian}/postrm)
install(FILES ${txn_debian}/lintian-overrides DESTINATION ${CMAKE_INSTALL_DATADIR}/lintian/overrides
  RENAME transactions-service)
include(CPack)
