# cmake -DFOLDER=<folder of NNN_name.sql> -DOUTPUT=<file.cc> -P embed.cmake
#
# Writes C++ that holds every migration: number, name, SHA-256 of the file, text. The checksum is what tells an edited
# migration from the one a database has already seen.

file(GLOB files RELATIVE ${FOLDER} ${FOLDER}/*.sql)
list(SORT files)

set(rows "")
set(expected 1)
foreach(file IN LISTS files)
  if(NOT file MATCHES "^0*([0-9]+)_([a-z0-9_]+)\\.sql$")
    message(FATAL_ERROR "${FOLDER}/${file}: migrations are named like 001_ledger.sql")
  endif()
  set(version ${CMAKE_MATCH_1})
  set(name ${CMAKE_MATCH_2})
  if(NOT version EQUAL expected)
    message(FATAL_ERROR "${FOLDER}/${file}: the next migration is number ${expected}")
  endif()
  math(EXPR expected "${expected} + 1")
  file(READ ${FOLDER}/${file} text)
  file(SHA256 ${FOLDER}/${file} checksum)
  string(APPEND rows "    {${version}, \"${name}\",\n     \"${checksum}\",\n     R\"sql(${text})sql\"},\n")
endforeach()

file(WRITE ${OUTPUT} "// Written by db/migrations/embed.cmake.
#include \"db/migrate.h\"

namespace txn {
namespace {

constexpr Migration kMigrations[] = {
${rows}};

}  // namespace

std::span<const Migration> embedded_migrations() { return kMigrations; }

}  // namespace txn
")
