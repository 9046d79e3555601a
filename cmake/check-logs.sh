#!/bin/bash
# Reads what services wrote while tests ran, as tests/support/kept_logs.h keeps it:  check-logs.sh FOLDER
#
# Every line of every log is a JSON object with the members of docs/observability.md, and nothing that services wrote has
# a secret in it: a key or password that one was started with, a token or its signature, a PIN. Says what is wrong where,
# at most 20 times, and how much was read; exit status 1 when something is wrong, 77 when there is nothing to read.
set -euo pipefail

folder=${1:?usage: check-logs.sh FOLDER}
program=$(dirname "${BASH_SOURCE[0]}")/check-logs.jq
faults=$(mktemp)
trap 'rm -f "$faults"' EXIT

# Every file of one kind, zero-terminated.
logs() { find "$folder" -mindepth 2 -type f ! -name '*.txt' -print0; }
everything() { find "$folder" -mindepth 2 -type f -print0; }
words() { find "$folder" -maxdepth 1 -name "*.$1" -exec cat {} + | sort -u; }
count() { tr -dc '\0' | wc -c; }

services=$(find "$folder" -mindepth 2 -name stderr.json | wc -l)
commands=$(find "$folder" -mindepth 2 -name stderr.txt | wc -l)
if [ "$(logs | count)" -eq 0 ]; then
  echo "logs: no service was started"
  exit 77
fi

# grep(1) finds nothing with 1, and for once that is good.
found() {
  local status=0
  "$@" || status=$?
  [ "$status" -le 1 ] || [ "$status" -eq 123 ] # xargs' word for the 1
}

pins=$(words pins | paste -sd '|')
logs | xargs -0 -P 2 -n 32 jq --raw-input --raw-output --null-input --arg pins "$pins" --from-file "$program" >>"$faults"
logs | found xargs -0 env LC_ALL=C.UTF-8 grep -axvHn '.*' | cut -c -600 | sed 's/$/  (not UTF-8)/' >>"$faults"
while IFS= read -r -d '' file; do
  if [ -s "$file" ] && [ -n "$(tail -c 1 "$file" | tr '\n' ' ' | tr -d ' ')" ]; then
    echo "$file: does not end with the end of a line" >>"$faults"
  fi
done < <(logs)
# Every token begins with eyJ; the name of a PIN in a request; a private key in PEM.
{
  printf '%s\n' 'eyJ' '"pin":' 'PRIVATE KEY-----'
  words secrets
} >"$faults.secrets"
everything | found xargs -0 grep -aFHn -f "$faults.secrets" | cut -c -600 | sed 's/$/  (a secret)/' >>"$faults"
secrets=$(($(wc -l <"$faults.secrets") + $(words pins | wc -l)))
rm -f "$faults.secrets"

lines=$(logs | xargs -0 cat | wc -l)
megabytes=$(everything | xargs -0 cat | wc -c | awk '{printf "%.1f", $1 / 1048576}')
bad=$(wc -l <"$faults")
head -n 20 "$faults"
[ "$bad" -le 20 ] || echo "... and $((bad - 20)) more"
echo "logs: $lines lines in $(logs | count) files of $services services and the output of $commands commands ($megabytes MB) read for $secrets secrets: $bad wrong"
for what in shortened torn; do
  number=$(find "$folder" -name "$what.txt" | wc -l)
  [ "$number" -eq 0 ] || echo "logs: $number $what: $(find "$folder" -name "$what.txt" -exec cat {} + | head -n 3 | paste -sd ';')"
done
[ "$bad" -eq 0 ]
