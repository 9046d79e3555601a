#!/bin/bash
# Makes the role that runs the service, in compose.yaml's database when it is new:  compose-roles.sh
#
# PostgreSQL's image runs it, as the owner of the tables to be, with POSTGRES_USER and POSTGRES_DB set. `migrate --grant-to`
# gives the role what it needs; here it only gets a name and a password.
set -euo pipefail

case "${1-}" in
  -h | --help)
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
    exit 0
    ;;
esac
: "${POSTGRES_USER:?compose-roles.sh is for the container of PostgreSQL}" "${POSTGRES_DB:?}"
password_file=${SERVICE_PASSWORD_FILE:-/run/secrets/service-password}
[ -s "$password_file" ] || {
  echo "compose-roles: $password_file is missing or empty; deploy/make-secrets.sh makes it" >&2
  exit 1
}

# Through psql's variables, so that no character of the password means anything to SQL, and no list of processes shows it.
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<SQL
\\set password \`cat $password_file\`
CREATE ROLE bank_service LOGIN PASSWORD :'password';
SQL
