#!/bin/sh
# Audits the books and leaves the result for the node exporter's textfile collector:
#
#   verify-ledger-textfile.sh DIRECTORY [SERVICE]
#
# DIRECTORY is the collector's (--collector.textfile.directory), SERVICE the binary, by default transactions-service of
# the PATH; the database is the service's own settings. Run it once a day. When the audit could not be made at all the
# old result stays, and its age tells. Exits 0 when the books balance.
set -u

directory=${1:?usage: verify-ledger-textfile.sh DIRECTORY [SERVICE]}
service=${2:-transactions-service}

report=$("$service" verify-ledger)
status=$?
differences=$(printf '%s\n' "$report" | sed -n 's/^differences  *\([0-9][0-9]*\)$/\1/p')
if [ -z "$differences" ]; then
  echo "verify-ledger-textfile: the books could not be audited" >&2
  exit 1
fi
printf '%s\n' "$report"

ok=0
[ "$status" -eq 0 ] && ok=1
# The collector must never see half a file.
temporary=$directory/.transactions_ledger.$$
trap 'rm -f "$temporary"' EXIT
cat >"$temporary" <<METRICS || exit 1
# HELP transactions_ledger_verify_ok 1 when verify-ledger found the books in balance.
# TYPE transactions_ledger_verify_ok gauge
transactions_ledger_verify_ok $ok
# HELP transactions_ledger_verify_differences Differences that verify-ledger found.
# TYPE transactions_ledger_verify_differences gauge
transactions_ledger_verify_differences $differences
# HELP transactions_ledger_verify_timestamp_seconds When verify-ledger last ended.
# TYPE transactions_ledger_verify_timestamp_seconds gauge
transactions_ledger_verify_timestamp_seconds $(date +%s)
METRICS
chmod 644 "$temporary" && mv "$temporary" "$directory/transactions_ledger.prom" || exit 1
exit "$status"
