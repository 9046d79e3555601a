#!/bin/bash
# Brings a backup of backup.sh back, audits the books, and says in one line whether the service may start.
#
#   restore.sh [OPTION...] BACKUP.dump    into a database that is new or empty
#   restore.sh [OPTION...] --recovered    the database is there already, brought back by point-in-time recovery: only
#                                         what comes after
#
#   --config FILE     settings, NAME=value lines; the environment comes first
#   --service FILE    the service's program; transactions-service of the PATH
#   --grant-to ROLE   the service's role, which gets its privileges again (migrate --grant-to)
#   --force           the database is not empty: it gets another name, NAME_before_DATE, and the backup takes its place
#                     once it is whole and its books balance. Nothing is deleted. The service must be stopped
#   --keep-ids        new transactions go on from the backup's last id; see below
#   --no-checksum     there is no BACKUP.dump.sha256
#
# In this order: the checksum; the database is made if it is missing; all of the backup in one transaction; new
# transaction ids start beyond those that the lost ones may have had (10,000,000,000 further on, so that a client's
# record of a lost transaction never names another one); `migrate`; `verify-ledger`; the sequence of ids is ahead of the
# log. When the restore fails, the database is as it was. Books that do not balance are left to be looked at, and that
# is said.
#
# The database is DATABASE_URL or DATABASE_HOST, _PORT, _USER, _PASSWORD, _PASSWORD_FILE, _NAME. Its role becomes the
# owner of the tables. It needs CREATEDB where the database is missing or not empty.
#
# Exit status: 0 restored and the books balance, 1 not, 2 wrong arguments or settings.
set -euo pipefail

# shellcheck source=deploy/backup/database.sh
. "$(dirname "${BASH_SOURCE[0]}")/database.sh"

# Blocks of 1024 ids: a day at twenty thousand movements a second takes 1.7 million of them.
id_blocks_skipped=9765625

config='' service=transactions-service grant_to='' force=no skip_ids=yes checksum=yes backup='' recovered=no
while [ $# -gt 0 ]; do
  case "$1" in
    --help | -h)
      print_help
      exit 0
      ;;
    --config | --service | --grant-to)
      if [ $# -lt 2 ] || [ -z "$2" ]; then fail_usage "$1 needs a value"; fi
      case "$1" in
        --config) config=$2 ;;
        --service) service=$2 ;;
        --grant-to) grant_to=$2 ;;
      esac
      shift
      ;;
    --force) force=yes ;;
    --keep-ids) skip_ids=no ;;
    --no-checksum) checksum=no ;;
    --recovered) recovered=yes ;;
    -*) fail_usage "'$1' is not understood; see --help" ;;
    *)
      [ -z "$backup" ] || fail_usage "one backup, please: $backup or $1"
      backup=$1
      ;;
  esac
  shift
done
if [ $recovered = yes ]; then
  [ -z "$backup" ] || fail_usage "--recovered takes no backup"
elif [ -z "$backup" ]; then
  fail_usage "which backup? See --help"
fi
if [ -n "$config" ]; then read_config "$config"; fi
read_database_settings
need_programs psql pg_restore sha256sum
command -v "$service" >/dev/null || fail_usage "$service is not there; --service says where it is"

started=$SECONDS
target=${connection[dbname]}
restored=$target  # where the backup goes to
made=no           # by us: goes again when the restore fails

# The service, on the database that has just been restored.
run_service() {
  DATABASE_URL=$(conninfo "$restored") PGPASSWORD=${database_password:-${PGPASSWORD:-}} "$service" "$@"
}

maintenance_database=postgres
forget_database() {
  if [ $made = yes ]; then
    query "$maintenance_database" name="$restored" 'DROP DATABASE IF EXISTS :"name"' >/dev/null 2>&1 || true
  fi
}

create_database() {  # NAME
  local said
  said=$(query "$maintenance_database" name="$1" \
    "CREATE DATABASE :\"name\" TEMPLATE template0 ENCODING 'UTF8'" 2>&1) ||
    fail "the database $1 cannot be made: $(complaint_in "$said")"
  made=yes
}

# Sets `exists` and `in_it`, how many tables, sequences and the like the database has that are nobody's extension.
look_at_target() {
  local said
  if in_it=$(query "$target" "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' AND NOT EXISTS (
        SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')" 2>&1)
  then
    exists=yes
    return
  fi
  said=$in_it in_it=0
  # Which of the two it is, missing or out of reach, the server's own database tells.
  exists=$(query "$maintenance_database" name="$target" \
    "SELECT CASE count(*) WHEN 0 THEN 'no' ELSE 'yes' END FROM pg_database WHERE datname = :'name'" 2>/dev/null) ||
    fail "$(complaint_in "$said")"
  [ "$exists" = no ] || fail "$(complaint_in "$said")"
}

check_backup() {
  local want have said
  [ -r "$backup" ] || fail "$backup cannot be read"
  if [ $checksum = yes ]; then
    [ -r "$backup.sha256" ] || fail "$backup.sha256 cannot be read; --no-checksum does without it"
    read -r want _ <"$backup.sha256" || true
    have=$(sha256sum <"$backup")
    [ "${have%% *}" = "$want" ] || fail "$backup is damaged: its checksum is another; nothing was restored"
  fi
  said=$(pg_restore --file=/dev/null "$backup" 2>&1) ||
    fail "$backup cannot be read: $(complaint_in "$said"); nothing was restored"
}

restore_backup() {
  local said users
  look_at_target
  if [ "$exists" = no ]; then
    create_database "$target"
  elif [ "$in_it" != 0 ]; then
    [ $force = yes ] || fail "the database $target is not empty; --force puts it aside under another name"
    users=$(query "$target" "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND
      pid <> pg_backend_pid() AND backend_type = 'client backend'") || fail "the database $target cannot be asked"
    [ "$users" = 0 ] || fail "the database $target is in use by $users connections: stop the service first"
    [ ${#target} -le 38 ] || fail "the name $target is too long to be put aside; rename it by hand"
    restored=${target}_restored_$(date -u +%Y%m%d_%H%M%S)
    create_database "$restored"
  fi
  if ! said=$(with_password pg_restore --no-password --no-owner --no-privileges --single-transaction --exit-on-error \
    --dbname="$(conninfo "$restored")" "$backup" 2>&1); then
    forget_database
    fail "nothing was restored: $(complaint_in "$said")"
  fi
}

# Ids that were given to transactions after the backup are in clients' records. They are not used again.
skip_ids() {
  query "$restored" blocks=$id_blocks_skipped "SELECT setval('transaction_id_blocks',
    coalesce(pg_sequence_last_value('transaction_id_blocks'), 0) + :blocks)"
}

# Rows of the log, its newest id, and the first id that new transactions can get.
position_of_ids() {
  query "$restored" "SELECT count(*), coalesce(max(transaction_id), 0),
    (coalesce(pg_sequence_last_value('transaction_id_blocks'), 0) + 1) * 1024 FROM transaction_logs"
}

if [ $recovered = no ]; then
  check_backup
  restore_backup
  what="$backup"
else
  what="point-in-time recovery"
  look_at_target
  [ "$exists" = yes ] || fail "there is no database $target"
  in_recovery=$(query "$target" 'SELECT pg_is_in_recovery()') || fail "the database $target cannot be asked"
  [ "$in_recovery" = f ] || fail "the server is still recovering; wait for it, or promote it"
fi

if [ $skip_ids = yes ]; then
  said=$(skip_ids 2>&1) || fail "$restored is restored, but its ids cannot be moved on: $(complaint_in "$said")"
fi
arguments=(migrate)
if [ -n "$grant_to" ]; then arguments+=(--grant-to "$grant_to"); fi
said=$(run_service "${arguments[@]}" 2>&1) ||
  fail "$restored is restored, but \`migrate\` says: $(tail -n 1 <<<"$said")"
if ! said=$(run_service verify-ledger 2>&1); then
  printf '%s\n' "$said" >&2
  fail "$restored is restored, but its books do not balance: do not serve from it; verify-ledger has said why, above"
fi
printf '%s\n' "$said"

position=$(position_of_ids 2>&1) || fail "$restored is restored, but its log cannot be asked: $(complaint_in "$position")"
IFS='|' read -r rows newest next <<<"$position"
[ "$next" -gt "$newest" ] || fail "the log has ids up to $newest, but new ones would start at $next: run migrate"

if [ "$restored" != "$target" ]; then
  aside=${target}_before_${restored##*_restored_}
  said=$(query "$maintenance_database" old="$target" aside="$aside" new="$restored" \
    'BEGIN; ALTER DATABASE :"old" RENAME TO :"aside"; ALTER DATABASE :"new" RENAME TO :"old"; COMMIT' 2>&1) ||
    fail "$restored is whole, but cannot take the place of $target: $(complaint_in "$said")"
  what+="; what was there is now $aside"
fi
echo "${0##*/}: $target restored from $what: $rows log rows up to id $newest, new ids from $next, books balance;" \
  "$((SECONDS - started)) s"
