#!/bin/bash
# After a restore: which transactions were acknowledged and are not in the books? The service's own log says what it has
# acknowledged; keep it on another machine than the database.
#
#   find-lost.sh [--config FILE] LOG...    app.json.log, .1, .2 ... of all replicas, or - for standard input
#
# Prints one line of CSV for each transaction that clients were told of and that the database does not have, oldest
# first: time, transaction id, type, account, other account, amount, transfer mode, subject of the token, request id.
# Standard error gets the sums. Only reads. The database is DATABASE_URL or DATABASE_HOST and so on, as for backup.sh.
#
# Exit status: 0 nothing is lost, 1 something is (or the database cannot be asked), 2 wrong arguments or settings.
set -euo pipefail

# shellcheck source=deploy/backup/database.sh
. "$(dirname "${BASH_SOURCE[0]}")/database.sh"

config=
logs=()
while [ $# -gt 0 ]; do
  case "$1" in
    --help | -h)
      print_help
      exit 0
      ;;
    --config)
      [ $# -ge 2 ] || fail_usage "--config needs a file"
      config=$2
      shift
      ;;
    -) logs+=(/dev/stdin) ;;
    -*) fail_usage "'$1' is not understood; see --help" ;;
    *)
      [ -r "$1" ] || fail_usage "$1 cannot be read"
      logs+=("$1")
      ;;
  esac
  shift
done
[ ${#logs[@]} -gt 0 ] || fail_usage "which logs? See --help"
if [ -n "$config" ]; then read_config "$config"; fi
read_database_settings
need_programs psql jq

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP

# A line cut short by a crash is stepped over. Of an unknown outcome there is no id to look for.
jq -R -r 'fromjson? | select(.logger == "audit") |
  if .outcome == "success" and .transaction_id != null then
    [.timestamp, .transaction_id, .transaction_type, .account_number, .to_account, .amount, .transfer_mode, .subject,
     .request_id] | @csv
  elif .outcome == "unknown" then "unknown" else empty end' "${logs[@]}" >"$work/audit" || fail "the logs cannot be read"
grep -v '^unknown$' "$work/audit" >"$work/acknowledged.csv" || true
unknown=$(grep -c '^unknown$' "$work/audit") || true

# A replay names the transaction of the first request; each counts once.
cat >"$work/compare.sql" <<SQL
CREATE TEMPORARY TABLE acknowledged (time timestamptz, transaction_id bigint, type text, account bigint,
  to_account bigint, amount numeric(15, 2), transfer_mode text, subject text, request_id text);
\\copy acknowledged FROM '$work/acknowledged.csv' (FORMAT csv)
CREATE TEMPORARY TABLE lost AS
  SELECT DISTINCT ON (transaction_id) * FROM acknowledged a
  WHERE NOT EXISTS (SELECT FROM transaction_logs l WHERE l.transaction_id = a.transaction_id)
  ORDER BY transaction_id, time;
SET timezone = 'UTC';
\\copy (SELECT * FROM lost ORDER BY time, transaction_id) TO '$work/lost.csv' (FORMAT csv, HEADER)
SELECT count(*), coalesce(sum(amount), 0.00), (SELECT count(DISTINCT transaction_id) FROM acknowledged) FROM lost;
SQL
sums=$(with_password psql -X -q -A -t -w -v ON_ERROR_STOP=1 -d "$(conninfo)" -f "$work/compare.sql" 2>&1) ||
  fail "$(complaint_in "$sums")"
IFS='|' read -r count sum acknowledged <<<"$sums"

cat "$work/lost.csv"
echo "${0##*/}: $count of $acknowledged acknowledged transactions are not in the books, $sum in all;" \
  "$unknown more requests ended without it being known" >&2
[ "$count" = 0 ]
