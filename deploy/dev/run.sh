#!/bin/bash
# `make run`: the service with a PostgreSQL of its own, in the foreground, until Ctrl-C.
#
# What it needs is kept under build/run and used again next time; delete that folder to start from nothing. The log goes
# where the service puts it by itself: logs/transactions.
# All settings of the service can be given as environment variables as usual, except for the database.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source deploy/dev/private-postgres.sh

# Whatever database the caller's shell is set up for is not the one meant here.
unset "${!PG@}" DATABASE_HOST DATABASE_PORT DATABASE_USER DATABASE_PASSWORD DATABASE_PASSWORD_FILE DATABASE_NAME

run=build/run
service=build/release/transactions-service
database=gdb_transactions
service_pid=
postgres_started=

die() {
  echo "make run: $*" >&2
  exit 1
}

service_alive() {
  [ -n "$service_pid" ] && kill -0 "$service_pid" 2>/dev/null
}

# However we leave: the service first, so that it can finish what it has begun, then its database.
cleanup() {
  local status=$? left
  trap '' INT TERM HUP
  if service_alive; then
    echo "Stopping"
    kill -TERM "$service_pid" 2>/dev/null || true
    for ((left = 600; left > 0; left--)); do
      service_alive || break
      sleep 0.1
    done
    if service_alive; then
      kill -KILL "$service_pid"
      echo "make run: the service did not drain within 60 s and was killed" >&2
      status=1
    elif ! wait "$service_pid"; then
      echo "make run: the service did not end cleanly" >&2
      status=1
    fi
  fi
  if [ -n "$postgres_started" ] && ! private_postgres_stop "$run/postgres" fast; then
    echo "make run: PostgreSQL did not stop; see $run/postgres/server.log" >&2
    status=1
  fi
  exit "$status"
}

# A second run in the same checkout would stop the first one's database.
mkdir -p "$run"
exec 9>"$run/lock"
flock --nonblock 9 || die "already running in this checkout"

[ -x "$service" ] || die "$service is missing; make build makes it"

trap cleanup EXIT
trap 'exit 0' INT TERM HUP

# Children get no copy of the lock: a server that outlives us must not keep it.
postgres_started=yes
private_postgres_start "$run/postgres" 9>&- || die "no database"
conninfo=$(private_postgres_conninfo "$run/postgres")
if [ -z "$(psql "$conninfo" -AtXc "SELECT 1 FROM pg_database WHERE datname = '$database'")" ]; then
  psql "$conninfo" -qXc "CREATE DATABASE $database" || die "could not create the database"
fi
export DATABASE_URL="${conninfo/dbname=postgres/dbname=$database}"

# Kept, so that tokens of an earlier run still hold.
if [ -z "${JWT_SECRET_KEY-}${JWT_SECRET_KEY_FILE-}" ]; then
  export JWT_SECRET_KEY_FILE=$PWD/$run/jwt-secret
  if [ ! -s "$JWT_SECRET_KEY_FILE" ]; then
    (umask 077 && head -c 48 /dev/urandom | base64 -w 0 >"$JWT_SECRET_KEY_FILE")
  fi
fi
export LOG_DIR=${LOG_DIR:-logs/transactions}
[ "$LOG_DIR" != none ] || die "LOG_DIR=none: where the service listens is read from its log; choose a folder"
log=$LOG_DIR/app.json.log
export CORE_DUMPS=${CORE_DUMPS:-true}  # gdb and perf are welcome here

"$service" migrate 9>&- || die "the migration failed"
"$service" seed-demo 9>&- || die "the demo accounts could not be made"

# Only what this run adds to the log counts.
log_size=$(stat -c %s "$log" 2>/dev/null || echo 0)

# The line with which the service that we have started says where it listens, not another one on the same port.
started_line() {
  local size
  size=$(stat -c %s "$log" 2>/dev/null || echo 0)
  [ "$size" -ge "$log_size" ] || log_size=0  # rotated
  tail -c "+$((log_size + 1))" "$log" 2>/dev/null |
    grep -F '"message":"Transactions service started"' | grep -E "\"pid\":${service_pid}[,}]" | tail -n 1
}

# Detached from the terminal, so that Ctrl-C reaches it through us and only once; should we be killed, it is told to stop.
setsid setpriv --pdeathsig TERM "$service" serve 9>&- &
service_pid=$!

scheme=http
if [ -n "${TLS_CERT_FILE-}" ]; then
  scheme=https
fi
url=
ready=
for ((left = 300; left > 0; left--)); do
  service_alive || break
  if [ -z "$url" ]; then
    started=$(started_line || true)
    if [ -n "$started" ]; then
      host=$(jq -r .host <<<"$started")
      case "$host" in
        0.0.0.0) host=127.0.0.1 ;;
        ::) host='[::1]' ;;
        *:*) host="[$host]" ;;
      esac
      url=$scheme://$host:$(jq -r .port <<<"$started")
    fi
  elif curl -gksf --max-time 2 -o /dev/null "$url/readyz" && service_alive; then
    ready=yes
    break
  fi
  sleep 0.1
done
if [ -z "$ready" ]; then
  service_alive && [ -z "$url" ] && die "where the service listens is not in $log, which another process may hold (LOG_DIR chooses another); its lines above say more"
  service_alive && die "the service did not become ready within 30 s"
  die "the service did not start; its last lines say why"
fi

# A certificate of one's own is no authority that curl knows.
curl_options=
if [ "$scheme" = https ]; then
  curl_options=" --cacert $TLS_CERT_FILE"
fi
case "$url" in
  *[*) curl_options+=" -g" ;;  # or curl takes the brackets for a range
esac
token=$("$service" token --sub 1 --role CUSTOMER --ttl 86400 9>&-) || die "no token"
# In front of commands that sign: where the key is. A key in the environment is there already.
key=
[ -z "${JWT_SECRET_KEY_FILE-}" ] || key="JWT_SECRET_KEY_FILE=$JWT_SECRET_KEY_FILE "
# Nobody should have to find out from a 429.
limits_hint=
if [[ ! ${RATE_LIMIT_ENABLED-} =~ ^(false|0|no|off)$ ]]; then
  limits_hint="One address may make ${RATE_LIMIT_DEPOSITS:-50/hour} deposits, ${RATE_LIMIT_WITHDRAWALS:-30/hour} withdrawals and ${RATE_LIMIT_TRANSFERS:-20/hour} transfers;
RATE_LIMIT_ENABLED=false make run takes any number.
"
fi
cat <<END

transactions-service is ready on $url

Token (customer 1, valid for a day):
$token

Try it:
curl$curl_options -i $url/api/v1/deposits -H 'Authorization: Bearer $token' -H 'Content-Type: application/json' -d '{"account_number": 1001, "amount": 100.00}'

More tokens:
${key}$service token --sub 2 --role TELLER    # moves money of every account
${key}$service token --sub 3 --role ADMIN     # may list every account's log; moves no money

Log       $log
          jq -c 'select(.logger == "audit")' $log
Database  psql "$DATABASE_URL"

${limits_hint}Ctrl-C stops the service and its database.
END

if wait "$service_pid"; then
  status=0
else
  status=$?
fi
service_pid=
[ "$status" -eq 0 ] || die "the service ended by itself with status $status"
