#!/bin/bash
# A private PostgreSQL cluster in a folder of its own, for development and tests. System clusters are never touched.
#
#   private-postgres.sh start DIR [NAME=VALUE...]   creates the cluster if need be and starts it; settings go to the server
#   private-postgres.sh stop DIR [fast|immediate]   does nothing if it is not running
#   private-postgres.sh conninfo DIR                prints how libpq connects, as superuser postgres
#   private-postgres.sh remove DIR                  stops it and deletes everything
#
# It may be sourced, too: the functions are private_postgres_start and so on.
#
# It listens on a unix socket only, in a folder that nobody but its user (and root) can enter; that is why local
# connections need no password. Everything else is at PostgreSQL's defaults, fsync among them. DIR holds data/,
# server.log and socket/.
#
# PostgreSQL refuses to run as root, and its own user often has no way into the checkout (/root is closed). Then DIR
# becomes a link to a folder under /var/tmp.

# Runs a command as the server's user, somewhere that user can be, without the caller's PG* variables.
_pg_as_server() {
  local clean=(env -i PATH="$PATH" LC_ALL=C.UTF-8)
  if [ "$(id -u)" -eq 0 ]; then
    (cd / && exec "${clean[@]}" setpriv --reuid=postgres --regid=postgres --init-groups "$@")
  else
    (cd / && exec "${clean[@]}" "$@")
  fi
}

# The newest server installed.
_pg_bin() {
  local newest
  newest=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
  if [ -z "$newest" ] || [ ! -x "$newest/initdb" ]; then
    echo "PostgreSQL's server programs are not installed; see cmake/install-dependencies.sh" >&2
    return 1
  fi
  echo "$newest"
}

# Makes DIR a folder the server can use, or a link to one.
_pg_prepare_dir() {
  local dir=$1 elsewhere
  if [ -L "$dir" ] && [ ! -d "$dir" ]; then
    rm "$dir"  # The folder under /var/tmp was cleaned away.
  fi
  mkdir -p "$dir" || return
  if _pg_as_server test -w "$(readlink -f "$dir")"; then
    return 0
  fi
  if [ "$(id -u)" -eq 0 ] && [ ! -L "$dir" ]; then
    chown postgres: "$dir"
    if _pg_as_server test -w "$(readlink -f "$dir")"; then
      return 0
    fi
    if rmdir "$dir" 2>/dev/null; then
      elsewhere=$(mktemp -d /var/tmp/private-postgres.XXXXXX) || return
      chown postgres: "$elsewhere"
      ln -s "$elsewhere" "$dir"
      echo "PostgreSQL's user cannot reach $dir; it is a link to $elsewhere now" >&2
      return 0
    fi
  fi
  echo "PostgreSQL's user cannot write to $dir" >&2
  return 1
}

# The socket's folder: DIR/socket, or one under /tmp where the path would not fit into a socket address (107 bytes).
_pg_socket_dir() {
  local real
  real=$(readlink -f "$1")
  if [ -s "$real/socket-dir" ]; then
    cat "$real/socket-dir"
  else
    echo "$real/socket"
  fi
}

_pg_prepare_socket_dir() {
  local real socket
  real=$(readlink -f "$1")
  socket=$(_pg_socket_dir "$1")
  if [ $((${#socket} + 15)) -gt 107 ]; then
    socket=$(_pg_as_server mktemp -d /tmp/pg.XXXXXX) || return
    echo "$socket" >"$real/socket-dir"
  fi
  _pg_as_server mkdir -p "$socket" && _pg_as_server chmod 700 "$socket"
}

# All processes of the cluster; the server and its children work in the data directory. Asked as the server's user,
# because in a container not even root may look at other users' processes.
_pg_processes() {
  _pg_as_server find /proc -maxdepth 2 -name cwd -lname "$(readlink -f "$1")/data" 2>/dev/null | cut -d / -f 3
}

# Not by the number in the lock file alone: after a crash or in a new container it may be anybody's.
_pg_running() {
  local pid
  pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
  [ -n "$pid" ] && [ "$(_pg_as_server readlink "/proc/$pid/cwd")" = "$(readlink -f "$1")/data" ]
}

# Waits for the children of a killed server to go (two servers on one data directory would destroy it), and only then
# removes the lock files that it left.
_pg_clear_stale_locks() {
  local _
  for _ in {1..100}; do
    if [ -z "$(_pg_processes "$1")" ]; then
      rm -f "$1/data/postmaster.pid" "$(_pg_socket_dir "$1")"/.s.PGSQL.*
      return 0
    fi
    sleep 0.1
  done
  echo "Processes of a killed server still use $1: $(_pg_processes "$1" | tr '\n' ' ')" >&2
  return 1
}

private_postgres_start() {
  local dir=$1 bin real socket setting options
  shift
  bin=$(_pg_bin) || return
  _pg_prepare_dir "$dir" || return
  if _pg_running "$dir"; then
    return 0
  fi
  _pg_prepare_socket_dir "$dir" || return
  real=$(readlink -f "$dir")
  socket=$(_pg_socket_dir "$dir")

  # initdb works in a folder beside it, so that an interrupted one is never taken for a cluster.
  if [ ! -s "$real/data/PG_VERSION" ]; then
    _pg_as_server rm -rf "$real/data" "$real/data.new"
    if ! _pg_as_server "$bin/initdb" -D "$real/data.new" -U postgres -E UTF8 --locale=C.UTF-8 \
      --auth-local=trust --auth-host=scram-sha-256 >"$real/initdb.log" 2>&1; then
      echo "initdb failed: $(tail -n 1 "$real/initdb.log")" >&2
      return 1
    fi
    _pg_as_server mv "$real/data.new" "$real/data"
  fi

  options="-c listen_addresses='' -c unix_socket_directories='$socket'"
  for setting in "$@"; do
    options+=" -c ${setting%%=*}='${setting#*=}'"
  done
  _pg_clear_stale_locks "$dir" || return
  if _pg_as_server "$bin/pg_ctl" -D "$real/data" -l "$real/server.log" -o "$options" -w -t 60 -s start 2>/dev/null; then
    return 0
  fi
  echo "PostgreSQL did not start: $(tail -n 1 "$real/server.log" 2>/dev/null) ($real/server.log)" >&2
  return 1
}

private_postgres_stop() {
  local dir=$1 mode=${2:-fast} bin
  if ! _pg_running "$dir"; then
    return 0
  fi
  bin=$(_pg_bin) || return
  _pg_as_server "$bin/pg_ctl" -D "$(readlink -f "$dir")/data" -m "$mode" -w -t 60 -s stop
}

private_postgres_conninfo() {
  echo "host=$(_pg_socket_dir "$1") port=5432 user=postgres dbname=postgres"
}

private_postgres_remove() {
  local dir=$1 real socket
  if [ ! -e "$dir" ]; then
    rm -f "$dir"
    return 0
  fi
  private_postgres_stop "$dir" immediate || return
  real=$(readlink -f "$dir")
  socket=$(_pg_socket_dir "$dir")
  rm -rf "$socket" "$real" "$dir"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -u
  command=${1-}
  case "$command" in
    start | stop | conninfo | remove)
      if [ $# -lt 2 ]; then
        echo "usage: $0 $command DIR" >&2
        exit 2
      fi
      shift
      "private_postgres_$command" "$@"
      ;;
    *)
      sed -n '2,/^$/p' "$0" | sed 's/^# \{0,1\}//' >&2
      exit 2
      ;;
  esac
fi
