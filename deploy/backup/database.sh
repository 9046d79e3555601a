# shellcheck shell=bash
# What backup.sh, restore.sh and find-lost.sh share: settings, and how PostgreSQL's programs reach the database. Sourced.
#
# Settings are the service's own, DATABASE_URL or DATABASE_HOST, _PORT, _USER, _PASSWORD(_FILE), _NAME, from the
# environment or from a file of NAME=value lines; the environment beats the file. What is not set is left to libpq.
#
# Programs get the password in their environment, which only their own user can read. It is never an argument, which
# everybody on the machine can read, and never in a file that a killed script would leave behind.

export LC_ALL=C  # the same messages everywhere, and bytes in names

# One clear line, and out.
fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# The same for wrong arguments and settings.
fail_usage() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 2
}

# The text above `set -euo pipefail`, without the first line and the comment signs.
print_help() {
  sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "$0"
}

# The one line that matters of what a program has said.
complaint_in() {  # TEXT
  local line
  line=$(grep -m 1 -E 'error|ERROR|FATAL|failed|No space' <<<"$1" || head -n 1 <<<"$1")
  printf '%s' "${line:-no reason given}"
}

need_programs() {
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null || fail "$program is not installed; PostgreSQL's are in Debian's postgresql-client"
  done
}

trim() {
  local text=$1
  text=${text#"${text%%[![:space:]]*}"}
  printf '%s' "${text%"${text##*[![:space:]]}"}"
}

# Reads DATABASE_* and BACKUP_* from a file in the form of the service's --config, unless the environment has them.
# Other settings may stand in it.
read_config() {  # FILE
  local line name value number=0
  [ -r "$1" ] || fail_usage "$1 cannot be read"
  while IFS= read -r line || [ -n "$line" ]; do
    number=$((number + 1))
    line=$(trim "$line")
    case "$line" in
      '' | '#'*) continue ;;
      *=*) ;;
      *) fail_usage "$1:$number: not of the form NAME=value" ;;
    esac
    name=$(trim "${line%%=*}")
    value=$(trim "${line#*=}")
    case "$value" in
      \"*\" | \'*\') if [ ${#value} -ge 2 ]; then value=${value:1:${#value}-2}; fi ;;
    esac
    case "$name" in
      DATABASE_URL | DATABASE_HOST | DATABASE_PORT | DATABASE_USER | DATABASE_PASSWORD | DATABASE_PASSWORD_FILE | \
        DATABASE_NAME | BACKUP_DIR | BACKUP_RETENTION_DAYS | BACKUP_METRICS_DIR)
        if [ -z "${!name:-}" ]; then
          printf -v "$name" '%s' "$value"
          export "${name?}"
        fi
        ;;
    esac
  done <"$1"
}

declare -A connection=()  # libpq's keywords, but for the password
database_password=

percent_decoded() {
  local text=$1
  case "$text" in
    *%00*) fail_usage "DATABASE_URL: holds a NUL" ;;
  esac
  text=${text//\\/\\\\}
  printf '%b' "${text//%/\\x}"
}

parse_uri() {  # what follows scheme://
  local rest=$1 authority query='' user hosts='' ports='' item host port
  case "$rest" in
    *\?*)
      query=${rest#*\?}
      rest=${rest%%\?*}
      ;;
  esac
  authority=${rest%%/*}
  case "$rest" in
    */*) if [ -n "${rest#*/}" ]; then connection[dbname]=$(percent_decoded "${rest#*/}"); fi ;;
  esac
  case "$authority" in
    *@*)
      user=${authority%%@*}
      authority=${authority#*@}
      case "$user" in
        *:*) database_password=$(percent_decoded "${user#*:}") ;;
      esac
      user=${user%%:*}
      if [ -n "$user" ]; then connection[user]=$(percent_decoded "$user"); fi
      ;;
  esac
  if [ -n "$authority" ]; then
    while IFS= read -r -d , item; do
      case "$item" in
        \[*\]:*) host=${item#\[} host=${host%%\]*} port=${item##*:} ;;
        \[*\]) host=${item#\[} host=${host%\]} port= ;;
        *:*) host=${item%%:*} port=${item##*:} ;;
        *) host=$item port= ;;
      esac
      hosts+=,$(percent_decoded "$host")
      ports+=,$port
    done <<<"$authority,"
    if [ -n "${hosts//,/}" ]; then connection[host]=${hosts#,}; fi
    if [ -n "${ports//,/}" ]; then connection[port]=${ports#,}; fi
  fi
  if [ -n "$query" ]; then
    while IFS= read -r -d '&' item; do
      if [ -n "$item" ]; then take_keyword "$(percent_decoded "${item%%=*}")" "$(percent_decoded "${item#*=}")"; fi
    done <<<"$query&"
  fi
}

parse_conninfo() {
  local text=$1 keyword value char
  while text=$(trim "$text"; echo .) && text=${text%.} && [ -n "$text" ]; do
    case "$text" in
      *=*) ;;
      *) fail_usage "DATABASE_URL: neither a URI nor keyword=value pairs" ;;  # not quoted: it may be half of a secret
    esac
    keyword=$(trim "${text%%=*}")
    text=${text#*=}
    text=${text#"${text%%[![:space:]]*}"}
    value=
    if [ "${text:0:1}" = "'" ]; then
      text=${text:1}
      while :; do
        char=${text:0:1}
        text=${text:1}
        case "$char" in
          '') fail_usage "DATABASE_URL: a quote is not closed" ;;
          "'") break ;;
          \\) value+=${text:0:1} text=${text:1} ;;
          *) value+=$char ;;
        esac
      done
    else
      while [ -n "$text" ]; do
        char=${text:0:1}
        case "$char" in
          [[:space:]]) break ;;
        esac
        text=${text:1}
        if [ "$char" = \\ ]; then char=${text:0:1} text=${text:1}; fi
        value+=$char
      done
    fi
    take_keyword "$keyword" "$value"
  done
}

take_keyword() {  # NAME VALUE
  case "$1" in
    password) database_password=$2 ;;
    sslpassword)
      fail_usage "DATABASE_URL: sslpassword cannot be kept out of sight; give the key's file without a password, mode 0600"
      ;;
    ssl) if [ "$2" = true ]; then connection[sslmode]=require; fi ;;
    *[!a-z_]* | '') fail_usage "DATABASE_URL: there is a keyword that libpq does not know" ;;
    *) connection[$1]=$2 ;;
  esac
}

# Fills `connection` and `database_password` from the settings.
read_database_settings() {
  local file
  if [ -n "${DATABASE_URL:-}" ]; then
    case "$DATABASE_URL" in
      postgresql://* | postgres://*) parse_uri "${DATABASE_URL#*://}" ;;
      *://*) fail_usage "DATABASE_URL: is not a URI of PostgreSQL: postgresql://…" ;;
      *) parse_conninfo "$DATABASE_URL" ;;
    esac
  else
    if [ -n "${DATABASE_HOST:-}" ]; then connection[host]=$DATABASE_HOST; fi
    connection[port]=${DATABASE_PORT:-5432}
    case "${connection[port]}" in
      *[!0-9]*) fail_usage "DATABASE_PORT: '${connection[port]}' is not a port; in Kubernetes: enableServiceLinks: false" ;;
    esac
    if [ -n "${DATABASE_USER:-}" ]; then connection[user]=$DATABASE_USER; fi
    connection[dbname]=${DATABASE_NAME:-gdb_transactions}
    database_password=${DATABASE_PASSWORD:-}
    file=${DATABASE_PASSWORD_FILE:-}
    if [ -z "$database_password" ] && [ -n "$file" ]; then
      [ -r "$file" ] || fail_usage "DATABASE_PASSWORD_FILE: $file cannot be read"
      # As the service: one line end is not part of it.
      database_password=$(cat "$file"; echo .)
      database_password=${database_password%.}
      database_password=${database_password%$'\n'}
      database_password=${database_password%$'\r'}
      [ -n "$database_password" ] || fail_usage "DATABASE_PASSWORD_FILE: $file is empty"
    fi
  fi
  : "${connection[dbname]:=${PGDATABASE:-gdb_transactions}}"
}

# How libpq connects to the database, or to another of the same server. Without the password.
conninfo() {  # [DBNAME]
  local keyword value text=
  for keyword in "${!connection[@]}"; do
    value=${connection[$keyword]}
    if [ "$keyword" = dbname ]; then value=${1:-$value}; fi
    value=${value//\\/\\\\}
    text+="$keyword='${value//\'/\\\'}' "
  done
  printf '%s' "${text% }"
}

# Runs one of PostgreSQL's programs, or the service, with the password in its environment alone.
with_password() {
  if [ -n "$database_password" ]; then
    PGPASSWORD=$database_password "$@"
  else
    "$@"
  fi
}

# Rows of a statement, columns separated by |. Statements may use psql's variables: NAME=value before them.
query() {  # DBNAME [NAME=VALUE...] SQL
  local database=$1 options=() variable
  shift
  while [ $# -gt 1 ]; do
    variable=$1
    options+=(-v "$variable")
    shift
  done
  # From standard input: psql puts variables into that, and not into -c.
  with_password psql -X -q -A -t -w -v ON_ERROR_STOP=1 "${options[@]}" -d "$(conninfo "$database")" -f - <<<"$1"
}
