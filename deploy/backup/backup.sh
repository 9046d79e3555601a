#!/bin/bash
# Makes one backup of the service's database: compressed, checked, with a checksum, and old ones removed.
#
#   backup.sh [--config FILE]
#
# The result is BACKUP_DIR/backup_YYYYMMDD_HHMMSS.dump (UTC, mode 0600) and its .sha256. restore.sh brings it back. A
# file of that name is always whole and has been read back: until then it has another. When anything fails, one line
# says what, the exit status is not 0, and the backups that were there still are.
#
# Settings, from the environment or from FILE (NAME=value lines):
#
#   DATABASE_URL or DATABASE_HOST, _PORT, _USER, _PASSWORD, _PASSWORD_FILE, _NAME   the service's own; the role needs
#                           to read everything (GRANT pg_read_all_data)
#   BACKUP_DIR              where backups go; /var/backups/transactions-service
#   BACKUP_RETENTION_DAYS   older ones are removed after a good backup; 30
#   BACKUP_METRICS_DIR      directory of the node exporter's textfile collector; unset: no metrics
#
# Exit status: 0 the backup is there, 1 it is not, 2 wrong arguments or settings.
set -euo pipefail

# shellcheck source=deploy/backup/database.sh
. "$(dirname "${BASH_SOURCE[0]}")/database.sh"

config=
while [ $# -gt 0 ]; do
  case "$1" in
    --help | -h)
      print_help
      exit 0
      ;;
    --config)
      [ $# -ge 2 ] || fail_usage "--config needs a file"
      config=$2
      shift 2
      ;;
    *) fail_usage "'$1' is not understood; see --help" ;;
  esac
done
if [ -n "$config" ]; then read_config "$config"; fi
read_database_settings

directory=${BACKUP_DIR:-/var/backups/transactions-service}
retention_days=${BACKUP_RETENTION_DAYS:-30}
metrics_directory=${BACKUP_METRICS_DIR:-}
case "$retention_days" in
  *[!0-9]* | ?????* | 0*) fail_usage "BACKUP_RETENTION_DAYS: '$retention_days' is not a number of days from 1 to 9999" ;;
esac
need_programs pg_dump pg_restore sha256sum flock
if [ -n "$metrics_directory" ]; then
  if [ ! -d "$metrics_directory" ] || [ ! -w "$metrics_directory" ]; then
    fail_usage "BACKUP_METRICS_DIR: $metrics_directory is not a directory that can be written"
  fi
fi

umask 077
started=$SECONDS
mkdir -p "$directory" 2>/dev/null || fail "BACKUP_DIR: $directory cannot be made"
directory=$(realpath "$directory")
if [ ! -w "$directory" ] || [ ! -x "$directory" ]; then fail "BACKUP_DIR: $directory cannot be written"; fi

# pg_dump inherits the lock: one that outlives a killed backup still counts as a backup under way.
exec 9>>"$directory/.lock" || fail "BACKUP_DIR: $directory cannot be written"
flock -n 9 || fail "another backup into $directory is under way"

# What killed backups have left. Nobody is at work on these: the lock is ours.
rm -rf "$directory"/.backup_*
for checksum in "$directory"/backup_*.dump.sha256; do
  if [ ! -e "${checksum%.sha256}" ]; then rm -f "$checksum"; fi
done

while :; do
  name=backup_$(date -u +%Y%m%d_%H%M%S).dump
  [ -e "$directory/$name" ] || break
  sleep 0.2  # the last one was made within this second
done
partial=$directory/.$name
metrics_partial=$metrics_directory/.transactions_backup.$$
trap 'rm -f "$partial" "$partial.sha256" "$metrics_partial"' EXIT
trap 'exit 1' INT TERM HUP

# A migration that holds a table is waited for, but not for ever: a backup that hangs would tell nobody.
said=$(with_password pg_dump --format=custom --no-password --lock-wait-timeout=60s --file="$partial" \
  --dbname="$(conninfo)" 2>&1) || fail "no backup: $(complaint_in "$said")"

# The checksum first, so that what is read back below is what it vouches for.
sum=$(sha256sum <"$partial") || fail "no backup, it cannot be read back"
said=$(pg_restore --list "$partial" 2>&1) || fail "no backup, it cannot be read back: $(complaint_in "$said")"
for entry in 'TABLE DATA [^ ]+ accounts ' 'TABLE DATA [^ ]+ transaction_logs ' \
  'SEQUENCE SET [^ ]+ transaction_id_blocks '; do
  grep -Eq " $entry" <<<"$said" ||
    fail "no backup: the database has not the service's tables; is DATABASE_NAME the right one?"
done
# All of it is decompressed and parsed, as a restore does.
said=$(pg_restore --file=/dev/null "$partial" 2>&1) ||
  fail "no backup, it cannot be read back: $(complaint_in "$said")"
printf '%s  %s\n' "${sum%% *}" "$name" 2>/dev/null >"$partial.sha256" || fail "no backup: $directory is full"

# On the disk before it gets its name; the checksum's name comes first, so that a backup is never without.
chmod 600 "$partial" "$partial.sha256"
sync "$partial" "$partial.sha256" || fail "no backup: $directory cannot be synced"
mv "$partial.sha256" "$directory/$name.sha256"
mv "$partial" "$directory/$name"
sync "$directory" || fail "$directory/$name is there, but the directory cannot be synced"

# By their names, which copying them about does not change. The new one is the newest whatever the clock says.
oldest_kept=backup_$(date -u -d "-$retention_days days" +%Y%m%d_%H%M%S).dump
removed=0
for old in "$directory"/backup_????????_??????.dump; do
  old=${old##*/}
  [[ $old =~ ^backup_[0-9]{8}_[0-9]{6}\.dump$ ]] || continue
  if [[ $old < $oldest_kept && $old != "$name" ]]; then
    rm -f "$directory/$old" "$directory/$old.sha256"
    removed=$((removed + 1))
  fi
done

size=$(stat -c %s "$directory/$name")
duration=$((SECONDS - started))
write_metrics() {
  cat >"$metrics_partial" <<METRICS || return
# HELP transactions_backup_last_success_timestamp_seconds When the last good backup was finished.
# TYPE transactions_backup_last_success_timestamp_seconds gauge
transactions_backup_last_success_timestamp_seconds $(date +%s)
# HELP transactions_backup_size_bytes Size of the last good backup.
# TYPE transactions_backup_size_bytes gauge
transactions_backup_size_bytes $size
# HELP transactions_backup_duration_seconds How long the last good backup took.
# TYPE transactions_backup_duration_seconds gauge
transactions_backup_duration_seconds $duration
METRICS
  chmod 644 "$metrics_partial" && mv "$metrics_partial" "$metrics_directory/transactions_backup.prom"
}
if [ -n "$metrics_directory" ]; then
  said=$(write_metrics 2>&1) || fail "$directory/$name is there, but not its metrics: $(complaint_in "$said")"
fi
echo "${0##*/}: $directory/$name, $size bytes, in $duration s; $removed older than $retention_days days removed"
