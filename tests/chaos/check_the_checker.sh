#!/bin/sh
# Shows that the audit of the chaos tests finds what it is for:  tests/chaos/check_the_checker.sh [BUILD_DIR] [BUG...]
#
# Builds the service once for each bug that can be planted in it (TXN_PLANTED_BUG, see db/CMakeLists.txt), each in a
# build directory of its own, and runs the same short chaos against it as against the service without. The audit has to
# pass for that one and to fail for all the others. BUILD_DIR, build/release unless said, holds the chaos program.
set -u
cd "$(dirname "$0")/../.." || exit 2

build=${1:-build/release}
[ $# -gt 0 ] && shift
bugs=${*:-answer_before_commit skip_lock drop_leg replay_without_key}
planted=${TXN_PLANTED_DIR:-build/planted}
faults=postmaster-killed,replica-killed,connections-reset
status=0

# run SERVICE LOG: the exit status of a chaos run, its output in LOG
run() {
  TXN_SERVICE=$1 "$build/tests/chaos/chaos" --seed 1 --short --times 3 --faults "$faults" >"$2" 2>&1
}

mkdir -p "$planted"
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release >"$planted/build.log" &&
  cmake --build "$build" --target chaos transactions-service >>"$planted/build.log" || exit 2
build=$(realpath "$build")
planted=$(realpath "$planted")

if run "$build/transactions-service" "$planted/none.log"; then
  echo "no bug: the audit passes"
else
  echo "no bug: the audit does NOT pass, see $planted/none.log"
  status=1
fi
for bug in $bugs; do
  cmake -S . -B "$planted/$bug" -G Ninja -DCMAKE_BUILD_TYPE=Release -DTXN_PLANTED_BUG="$bug" \
    >"$planted/$bug.build.log" 2>&1 &&
    cmake --build "$planted/$bug" --target transactions-service >>"$planted/$bug.build.log" || exit 2
  run "$planted/$bug/transactions-service" "$planted/$bug.log"
  if [ $? -eq 1 ] && grep -q '^audit: FAILED' "$planted/$bug.log"; then
    echo "$bug: found. Lost, doubled, misreported, books: $(awk '$1 == "all" {print $(NF-3), $(NF-2), $(NF-1), $NF}' \
      "$planted/$bug.log")"
    sed -n '/^audit: FAILED/,$p' "$planted/$bug.log" | sed -n '2,4p' | cut -c1-160
  else
    echo "$bug: NOT found, see $planted/$bug.log"
    status=1
  fi
done
exit $status
