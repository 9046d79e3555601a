#!/bin/sh
# Shows that the audit of the chaos tests finds what it is for:  tests/chaos/check_the_checker.sh [BUILD_DIR] [BUG...]
#
# Builds the service once for each bug that can be planted in it (TXN_PLANTED_BUG, see db/CMakeLists.txt), each in a
# build directory of its own, and runs the chaos that is meant to find it against it and against the service without. The
# audit has to pass for that one and to fail for all the others. A bug that this source does not know is said so and
# counts as not found. BUILD_DIR, build/release unless said, holds the chaos program.
set -u
cd "$(dirname "$0")/../.." || exit 2

build=${1:-build/release}
[ $# -gt 0 ] && shift
bugs=${*:-answer_before_commit skip_lock drop_leg replay_without_key weak_marker commit_error_retried \
  replay_unconfirmed backend_of_connect older_timeline keep_spoilt_session}
planted=${TXN_PLANTED_DIR:-build/planted}
status=0

# The kinds of chaos that are meant to find a bug, and for the service without.
faults_of() {
  case $1 in
    # A cut-off commit, and a crash after which the sequence gives the same ids again.
    weak_marker) echo ids-given-again,postmaster-killed ;;
    # COMMIT answered with an error that does not say whether it was carried out.
    commit_error_retried) echo backends-terminated,postmaster-killed,standby-stalled ;;
    replay_unconfirmed) echo standby-stalled,standby-promoted ;;
    backend_of_connect) echo pooler-of-transactions,pooler-restarted ;;
    older_timeline) echo primary-returned ;;
    keep_spoilt_session) echo settings-changed ;;
    *) echo postmaster-killed,replica-killed,connections-reset ;;
  esac
}

# run SERVICE LOG FAULTS: the exit status of a chaos run, its output in LOG
run() {
  TXN_SERVICE=$1 "$build/tests/chaos/chaos" --seed 1 --short --times 3 --faults "$3" >"$2" 2>&1
}

mkdir -p "$planted"
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release >"$planted/build.log" &&
  cmake --build "$build" --target chaos transactions-service >>"$planted/build.log" || exit 2
build=$(realpath "$build")
planted=$(realpath "$planted")

for faults in $(for bug in $bugs; do faults_of "$bug"; done | sort -u); do
  log=$planted/none-$(echo "$faults" | tr , -).log
  if run "$build/transactions-service" "$log" "$faults"; then
    echo "no bug, $faults: the audit passes"
  else
    echo "no bug, $faults: the audit does NOT pass, see $log"
    status=1
  fi
done
for bug in $bugs; do
  if ! grep -rqs "TXN_PLANTED_$(echo "$bug" | tr a-z A-Z)" --include='*.cc' --include='*.h' db app; then
    echo "$bug: not in this source"
    status=1
    continue
  fi
  cmake -S . -B "$planted/$bug" -G Ninja -DCMAKE_BUILD_TYPE=Release -DTXN_PLANTED_BUG="$bug" \
    >"$planted/$bug.build.log" 2>&1 &&
    cmake --build "$planted/$bug" --target transactions-service >>"$planted/$bug.build.log" || exit 2
  run "$planted/$bug/transactions-service" "$planted/$bug.log" "$(faults_of "$bug")"
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
