#!/bin/bash
# slowhttptest's modes against a running service:  slowhttptest.sh URL [CONNECTIONS] [SECONDS]
#
# Slow heads, slow bodies, slow readers, overlapping ranges: CONNECTIONS at a time (1000), for SECONDS each (20). The tool
# asks for the page of its own every second, as one more client, and says whether it got it; that is what counts. A last
# line says how many modes the service got through; exit status 1 unless all, and
# 2 when a tool is missing.
set -u

url=${1:?usage: slowhttptest.sh URL [CONNECTIONS] [SECONDS]}
connections=${2:-1000}
seconds=${3:-20}
passed=0
failed=0
# Not among the project's packages: nothing but this script needs it.
for tool in slowhttptest curl; do
  if ! command -v "$tool" >/dev/null; then
    echo "$tool is missing: apt-get install --no-install-recommends $tool" >&2
    exit 2
  fi
done

attack() {
  local name=$1
  shift
  local report unavailable
  report=$(slowhttptest -c "$connections" -r $((connections / 4 + 1)) -l "$seconds" -p 5 "$@" 2>&1 | sed 's/\x1b\[[0-9;]*[A-Za-z]//g')
  unavailable=$(grep -c 'service available:[[:space:]]*NO' <<<"$report")
  local last
  last=$(grep -E '^(closed|connected|pending|error):' <<<"$report" | tail -n 4 | tr -s ' \n' ' ')
  if grep -q 'service available:[[:space:]]*YES' <<<"$report" && [ "$unavailable" -eq 0 ] &&
    curl -fsS -o /dev/null -m 5 "$url/livez"; then
    echo "$name: always available; in the end $last"
    passed=$((passed + 1))
  else
    echo "$name: NOT always available ($unavailable times not); in the end $last"
    failed=$((failed + 1))
  fi
}

attack 'slow heads' -H -i 2 -t GET -x 24 -u "$url/livez"
attack 'slow bodies' -B -i 2 -s 8192 -t POST -x 10 -u "$url/api/v1/deposits"
attack 'slow readers' -X -w 10 -y 20 -n 5 -z 32 -k 10 -u "$url/health"
attack 'overlapping ranges' -R -a 5 -b 3000 -u "$url/health"

echo "slowhttptest: $passed modes passed, $failed failed"
[ "$failed" -eq 0 ]
