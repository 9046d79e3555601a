#!/bin/sh
# Runs what needs a database against other versions of PostgreSQL:  test-postgres-versions.sh BUILD_DIR VERSION...
#
# The db tests, the integration tests and a short chaos; with SHORT=1 the db tests, the money ones of the integration
# tests and the chaos. One line a version, followed by the tests that failed; all output is in
# BUILD_DIR/postgres-versions/VERSION.log. Exit status 1 when a test failed or a version cannot be had.
set -u

build=$1
shift
here=$(dirname "$0")
logs=$build/postgres-versions
mkdir -p "$logs"
status=0

for version in "$@"; do
  if ! bin=$("$here/fetch-postgres.sh" "$version"); then
    status=1
    continue
  fi
  name=$(LD_LIBRARY_PATH=$bin/../lib "$bin/postgres" --version | sed 's/^postgres (PostgreSQL) \([0-9.]*\).*/\1/')
  # db tests, integration tests and chaos are exactly what has this label.
  set -- -L integration
  if [ "${SHORT:-}" = 1 ]; then
    set -- "$@" -R '^(plans|migrate|accounts|verify|grants|pg_connection|money_contract|reading_contract|failure|replication|idempotency|chaos)_test$'
  fi
  TXN_POSTGRES_BIN=$bin "$here/run-tests.sh" "$build" "$@" >"$logs/$version.log" 2>&1 || status=1
  echo "PostgreSQL $name: $(tail -n 1 "$logs/$version.log")"
  sed -n '/^The following tests FAILED:/,/^$/s/^[[:space:]]*[0-9]* - /  /p' "$logs/$version.log"
done
exit $status
