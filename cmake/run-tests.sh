#!/bin/sh
# Runs ctest and sums up:  run-tests.sh BUILD_DIR [CTEST_ARGUMENT...]
# Then everything that services have logged meanwhile is read: check-logs.sh, which counts as one more test. The last line
# is `N passed, N failed`; the exit status is ctest's, or 1 when only the logs are wrong.
set -u

build=$1
shift
report=$(mktemp)
trap 'rm -f "$report"' EXIT

# For sanitized builds, the tests and the service alike: a finding comes with its stack, and ends the program.
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
export TSAN_OPTIONS="${TSAN_OPTIONS:-halt_on_error=1}"

# Kept until the next run, for those who want to know what a service had to say.
TXN_KEEP_LOGS=$(realpath "$build")/service-logs
export TXN_KEEP_LOGS
rm -rf "$TXN_KEEP_LOGS"
mkdir "$TXN_KEEP_LOGS"

# Databases of tests are many and small, and each is made, flushed and thrown away: in memory where there is room, for
# that is half of the time on a slow disk. Their settings stay those of production.
if [ "$(df --output=fstype /dev/shm 2>/dev/null | tail -n 1)" = tmpfs ] &&
  [ "$(df --output=avail -BG /dev/shm | tail -n 1 | tr -dc 0-9)" -ge 6 ]; then
  export TXN_RUN_DIRECTORY="${TXN_RUN_DIRECTORY:-/dev/shm}"
fi

ctest --test-dir "$build" --output-on-failure --no-tests=error -j3 --output-junit "$report" "$@"
status=$?

# The report's first element carries the totals.
count() {
  number=$(grep -o "[[:space:]]$1=\"[0-9]*\"" "$report" | head -n 1 | tr -dc 0-9)
  echo "${number:-0}"
}
tests=$(count tests)
failed=$(count failures)
skipped=$(($(count skipped) + $(count disabled)))
# ctest failed without a failed test: nothing to run, or tests that were never built.
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
  failed=1
  tests=$((tests + 1))
fi

"$(dirname "$0")/check-logs.sh" "$TXN_KEEP_LOGS"
logs=$?
# A selection of tests may start no service; all tests together do.
if [ "$logs" -ne 77 ] || [ $# -eq 0 ]; then
  tests=$((tests + 1))
  if [ "$logs" -ne 0 ]; then
    failed=$((failed + 1))
    [ "$status" -ne 0 ] || status=1
  fi
fi

line="$((tests - failed - skipped)) passed, $failed failed"
if [ "$skipped" -gt 0 ]; then
  line="$line, $skipped skipped"
fi
echo "$line"
exit "$status"
