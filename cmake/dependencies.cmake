# Every library the service is made of: where it comes from, the oldest version that will do, and what it is for.
# cmake/install-dependencies.sh installs them all.

# Threads: the C library's. One thread a core.
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

find_package(PkgConfig REQUIRED)

# uring: liburing-dev, from 2.3 on (provided buffer rings, multishot receive, DEFER_TASKRUN). All I/O goes through it.
pkg_check_modules(uring REQUIRED IMPORTED_TARGET GLOBAL liburing>=2.3)
add_library(uring ALIAS PkgConfig::uring)

# PostgreSQL::PostgreSQL: libpq-dev, from 14 on (pipeline mode). The client of the database; shared, with its own OpenSSL.
find_package(PostgreSQL 14 REQUIRED)

# hiredis: libhiredis-dev, from 0.14 on. Speaks to Redis where rate limits are shared between replicas.
pkg_check_modules(hiredis REQUIRED IMPORTED_TARGET GLOBAL hiredis>=0.14)
add_library(hiredis ALIAS PkgConfig::hiredis)

# simdjson::simdjson: libsimdjson-dev, from 3.0 on (on-demand parsing). Reads request bodies.
# Its version file takes no newer minor version for the one asked for, so the comparison is ours.
find_package(simdjson REQUIRED)
if(simdjson_VERSION VERSION_LESS 3.0)
  message(FATAL_ERROR "simdjson ${simdjson_VERSION} is too old: 3.0 or newer is needed")
endif()

# CLI11::CLI11: libcli11-dev, from 2.1 on, headers only. Flags, environment and the settings file in one declaration.
find_package(CLI11 2.1 REQUIRED)

# GTest::gtest_main, GTest::gmock: libgtest-dev, libgmock-dev, from 1.12 on. Tests.
find_package(GTest 1.12 REQUIRED)

# benchmark::benchmark: libbenchmark-dev, from 1.7 on. Micro-benchmarks.
find_package(benchmark 1.7 REQUIRED)

# boringssl::crypto, boringssl::ssl: built from Debian's source package. TLS to clients, tokens, PIN hashes.
include(boringssl)

# llhttp: node-llhttp or libllhttp-dev, from 8.1 on. Parses HTTP.
include(llhttp)
