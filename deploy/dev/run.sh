#!/bin/bash
# `make run`: the service with a PostgreSQL of its own, in the foreground, until Ctrl-C.
#
# Everything it needs is kept under build/run and used again next time; delete that folder to start from nothing.
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
export LOG_DIR=${LOG_DIR:-$run/logs}
export SERVICE_PORT=${SERVICE_PORT:-8002}
export CORE_DUMPS=${CORE_DUMPS:-true}  # gdb and perf are welcome here

"$service" migrate 9>&- || die "the migration failed"
"$service" seed-demo 9>&- || die "the demo accounts could not be made"

# Detached from the terminal, so that Ctrl-C reaches it through us and only once; should we be killed, it is told to stop.
setsid setpriv --pdeathsig TERM "$service" serve 9>&- &
service_pid=$!

scheme=http
if [ -n "${TLS_CERT_FILE-}" ]; then
  scheme=https
fi
url=$scheme://127.0.0.1:$SERVICE_PORT
ready=
for ((left = 300; left > 0; left--)); do
  # Should the port be somebody else's, the service ends and we do not mistake the other for it.
  service_alive || break
  if curl -ksf --max-time 2 -o /dev/null "$url/readyz" && service_alive; then
    ready=yes
    break
  fi
  sleep 0.1
done
if [ -z "$ready" ]; then
  service_alive && die "the service did not become ready within 30 s"
  die "the service did not start; its last lines say why"
fi

# A certificate of one's own is no authority that curl knows.
curl_tls=
if [ "$scheme" = https ]; then
  curl_tls=" --cacert $TLS_CERT_FILE"
fi
token=$("$service" token --sub 1 --role CUSTOMER --ttl 86400 9>&-) || die "no token"
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
curl$curl_tls -i $url/api/v1/deposits -H 'Authorization: Bearer $token' -H 'Content-Type: application/json' -d '{"account_number": 1001, "amount": 100.00}'

$limits_hint
Ctrl-C stops the service and its database.
END

if wait "$service_pid"; then
  status=0
else
  status=$?
fi
service_pid=
[ "$status" -eq 0 ] || die "the service ended by itself with status $status"
