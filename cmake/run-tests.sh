#!/bin/sh
# Runs ctest and sums up:  run-tests.sh BUILD_DIR [CTEST_ARGUMENT...]
# The last line is `N passed, N failed`, from ctest's own report; the exit status is ctest's.
set -u

build=$1
shift
report=$(mktemp)
trap 'rm -f "$report"' EXIT

# For sanitized builds, the tests and the service alike: a finding comes with its stack, and ends the program.
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
export TSAN_OPTIONS="${TSAN_OPTIONS:-halt_on_error=1}"

ctest --test-dir "$build" --output-on-failure --no-tests=error -j2 --output-junit "$report" "$@"
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

line="$((tests - failed - skipped)) passed, $failed failed"
if [ "$skipped" -gt 0 ]; then
  line="$line, $skipped skipped"
fi
echo "$line"
exit "$status"
