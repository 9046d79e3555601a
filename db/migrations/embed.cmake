# cmake -DFOLDERS=<folders of NNN_name.sql, separated by commas> -DOLDEST=<number> -DOUTPUT=<file.cc> -P embed.cmake
#
# Writes C++ that holds every migration: number, name, SHA-256 of the file, oldest reader, text. The checksum is what tells
# an edited migration from the one a database has already seen. The oldest reader is what its first line says,
# `-- oldest-reader: N`; docs/upgrading.md says which number that is. OLDEST is the oldest schema that the program serves.

# The first whose row in the database has a place for it.
set(first_with_reader 7)

string(REPLACE "," ";" FOLDERS "${FOLDERS}")
set(paths "")
foreach(folder IN LISTS FOLDERS)
  file(GLOB found ${folder}/*.sql)
  list(SORT found)
  list(APPEND paths ${found})
endforeach()

set(rows "")
set(expected 1)
foreach(path IN LISTS paths)
  get_filename_component(file ${path} NAME)
  if(NOT file MATCHES "^0*([0-9]+)_([a-z0-9_]+)\\.sql$")
    message(FATAL_ERROR "${path}: migrations are named like 001_ledger.sql")
  endif()
  set(version ${CMAKE_MATCH_1})
  set(name ${CMAKE_MATCH_2})
  if(NOT version EQUAL expected)
    message(FATAL_ERROR "${path}: the next migration is number ${expected}")
  endif()
  math(EXPR expected "${expected} + 1")
  file(READ ${path} text)
  file(SHA256 ${path} checksum)
  set(reader 0)
  if(version GREATER_EQUAL first_with_reader)
    if(NOT text MATCHES "^-- oldest-reader: ([0-9]+)\n")
      message(FATAL_ERROR "${path}: its first line must be `-- oldest-reader: N`; see docs/upgrading.md")
    endif()
    set(reader ${CMAKE_MATCH_1})
    if(reader LESS 1 OR reader GREATER version)
      message(FATAL_ERROR "${path}: its oldest reader must be from 1 to ${version}")
    endif()
  endif()
  string(APPEND rows "    {${version}, \"${name}\",\n     \"${checksum}\",\n     R\"sql(${text})sql\",\n     ${reader}},\n")
endforeach()
math(EXPR newest "${expected} - 1")
if(OLDEST LESS 1 OR OLDEST GREATER newest)
  message(FATAL_ERROR "the oldest schema that is served must be from 1 to ${newest}, not ${OLDEST}")
endif()

file(WRITE ${OUTPUT} "// Written by db/migrations/embed.cmake.
#include \"db/migrate.h\"

namespace txn {
namespace {

constexpr Migration kMigrations[] = {
${rows}};

}  // namespace

std::span<const Migration> embedded_migrations() { return kMigrations; }

int oldest_schema_served() { return ${OLDEST}; }

}  // namespace txn
")
