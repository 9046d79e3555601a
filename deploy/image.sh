#!/bin/bash
# The container image, built and tried:  deploy/image.sh build|try|all
#
#   build   builds transactions-service:VERSION and transactions-service:latest by deploy/Dockerfile, and says how large
#           it is beyond its base
#   try     runs it as production would (not root, read-only root file system, no capabilities, our seccomp profile) with a
#           PostgreSQL of its own: migrates, serves, deposits, is asked for its health, stops. Then under profiles that
#           refuse io_uring, and shows what it says
#   all     both (unless said)
#
# Settings, from the environment:
#
#   ENGINE   podman or docker: what there is, podman first
#   BASE     the image to build on: debian:trixie-slim unless given. Where no registry can be reached, podman builds on a
#            base that is made here by debootstrap instead, of the same release; it is larger than trixie-slim, which
#            leaves out documentation. The first line says which of the two it was
#   BYTES    how much larger than its base the image may be: 62914560 (60 MiB)
#
# Debian: apt-get install podman buildah crun runc, and debootstrap for the base; as root. The build takes ten minutes on
# two cores, and needs a mirror of Debian.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
  echo "image: $*" >&2
  exit 1
}

case "${1-all}" in
  -h | --help)
    sed -n '2,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
    exit 0
    ;;
  build | try | all) action=${1-all} ;;
  *) die "neither build, try nor all: $1" ;;
esac

engine=${ENGINE:-}
if [ -z "$engine" ]; then
  for candidate in podman docker; do
    if command -v "$candidate" >/dev/null; then
      engine=$candidate
      break
    fi
  done
fi
[ -n "$engine" ] || die "neither podman nor docker is installed"
command -v "$engine" >/dev/null || die "$engine is not installed"

version=$(sed -n 's/^project(transactions-service VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
image=transactions-service
[ "$engine" = docker ] || image=localhost/$image
made_base=localhost/transactions-base:trixie
limit=${BYTES:-62914560}

# With cgroups of version 1, or of both, crun does not run; without systemd there is nobody to make them.
engine_options=()
build_options=()
run_options=()
if [ "$engine" = podman ]; then
  [ -d /run/systemd/system ] || engine_options+=(--cgroup-manager cgroupfs)
  [ -e /sys/fs/cgroup/cgroup.controllers ] || engine_options+=(--runtime runc)
  # Nothing of the build needs more separation than a chroot, which works inside containers as well. Podman's own format
  # has no health check.
  build_options+=(--isolation chroot --format docker --network host)
  # podman would raise these limits, which it may not everywhere.
  run_options+=(--ulimit nofile=1024:1024 --ulimit nproc=1000:1000)
fi

run_engine() {
  "$engine" "${engine_options[@]}" "$@"
}

size_of() {
  run_engine image inspect --format '{{.Size}}' "$1"
}

# --- build -----------------------------------------------------------------------------------------------------------

# Once: another one, even if it were the same byte for byte, would have everything built anew. `podman rmi` it for a new one.
make_base() {
  if run_engine image inspect "$made_base" >/dev/null 2>&1; then
    return
  fi
  command -v debootstrap >/dev/null || die "no registry can be reached, and debootstrap is not installed"
  [ "$(id -u)" -eq 0 ] || die "no registry can be reached, and only root can make a base by debootstrap"
  local root=build/image/base mirror
  if [ ! -e "$root/.complete" ]; then
    rm -rf --one-file-system build/image/base
    mkdir -p "$root"
    # shellcheck disable=SC2016  # apt's own variables
    mirror=$(apt-get indextargets --format '$(SITE) $(REPO_URI)' 'Created-By: Packages' |
      awk '$2 !~ /security/ { print $2; exit }')
    [ -n "$mirror" ] || die "apt knows no mirror"
    debootstrap --variant=minbase trixie "$root" "$mirror" >build/image/debootstrap.log 2>&1 ||
      die "debootstrap failed; see build/image/debootstrap.log"
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    # How this machine gets to its mirror, if that takes anything.
    { grep -l Acquire /etc/apt/apt.conf.d/* 2>/dev/null || true; } | xargs -r cp -t "$root/etc/apt/apt.conf.d"
    touch "$root/.complete"
  fi
  tar -C "$root" --exclude=./.complete --numeric-owner -c . |
    run_engine import --change 'CMD ["bash"]' - "$made_base" >/dev/null || die "the base cannot be imported"
}

build_image() {
  local base=${BASE:-debian:trixie-slim} revision created beyond
  if run_engine image inspect "$base" >/dev/null 2>&1 ||
    timeout 60 "$engine" "${engine_options[@]}" pull --quiet "$base" >/dev/null 2>&1; then
    echo "Base: $base"
  elif [ "$engine" = podman ] && [ -z "${BASE-}" ]; then
    echo "Base: trixie by debootstrap, since no registry can be reached; the rest is as with debian:trixie-slim"
    make_base
    base=$made_base
  else
    die "$base cannot be pulled"
  fi
  revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
  created=$(git show --no-patch --format=%cI HEAD 2>/dev/null || true)
  run_engine build "${build_options[@]}" --file deploy/Dockerfile --build-arg "BASE=$base" \
    --build-arg "VERSION=$version" --build-arg "REVISION=$revision" --build-arg "CREATED=$created" \
    --tag "$image:$version" --tag "$image:latest" . || die "the image cannot be built"
  beyond=$(($(size_of "$image:$version") - $(size_of "$base")))
  echo "Size: $(size_of "$image:$version") bytes, $((beyond / 1048576)) MiB ($beyond bytes) beyond its base"
  [ "$beyond" -le "$limit" ] || die "that is more than $limit bytes"
}

# --- try -------------------------------------------------------------------------------------------------------------

work=
postgres=
container=
cleanup() {
  local status=$?
  trap '' INT TERM HUP
  if [ -n "$container" ]; then
    run_engine rm --force "$container" >/dev/null 2>&1 || true
  fi
  if [ -n "$postgres" ] && ! private_postgres_stop "$postgres" fast; then
    status=1
  fi
  [ -z "$work" ] || rm -rf --one-file-system "$work"
  exit "$status"
}

# As production runs it. ROLE is owner or service, PROFILE a seccomp profile or "" for the engine's own.
run_restricted() {  # ROLE, PROFILE, ARGUMENT...
  local role=$1 profile=$2
  shift 2
  local security=(--security-opt no-new-privileges --cap-drop ALL --read-only)
  # Podman would put a file system in memory at /tmp all the same.
  [ "$engine" = docker ] || security+=(--read-only-tmpfs=false)
  [ -z "$profile" ] || security+=(--security-opt "seccomp=$profile")
  run_engine run "${run_options[@]}" "${security[@]}" --network host --env-file "$work/$role.env" \
    --volume "$work/$role:/run/secrets/transactions:ro" "$@"
}

expect() {  # WHAT IT IS, COMMAND...
  local what=$1
  shift
  "$@" >"$work/out" 2>&1 || die "$what failed: $(tail -n 5 "$work/out")"
  echo "ok      $what"
}

# The service must not start under this profile, and say this in one line.
expect_refusal() {  # NAME, PROFILE
  local lines help="--security-opt seccomp=deploy/kubernetes/seccomp/io-uring.json"
  if run_restricted service "$2" --rm --no-healthcheck "$image:latest" >"$work/out" 2>&1; then
    die "under $1 the service was not refused io_uring"
  fi
  lines=$(grep -F 'io_uring' "$work/out" || true)
  [ "$(grep -c . <<<"$lines")" -eq 1 ] || die "under $1 there is not one line about io_uring: $(cat "$work/out")"
  grep -qF -- "$help" <<<"$lines" || die "under $1 it says something else: $lines"
  echo "ok      refused under $1: $(jq -r .message <<<"$lines")"
}

try_image() {
  # shellcheck source=deploy/dev/private-postgres.sh
  source deploy/dev/private-postgres.sh
  run_engine image inspect "$image:latest" >/dev/null 2>&1 || die "$image:latest is not there; deploy/image.sh build"
  for program in curl jq; do
    command -v "$program" >/dev/null || die "$program is not installed"
  done
  trap cleanup EXIT
  trap 'exit 1' INT TERM HUP
  work=$(mktemp -d)
  chmod 755 "$work"
  postgres=$work/postgres
  local database_port port operations token conninfo role
  database_port=$(free_port)
  private_postgres_start "$postgres" listen_addresses=127.0.0.1 "port=$database_port" || die "no database"
  conninfo=$(private_postgres_conninfo "$postgres")
  conninfo=${conninfo/port=5432/port=$database_port}

  # As in production: the owner of the tables migrates, and the service has another role, each with its password in a file.
  for role in owner service; do
    mkdir -p "$work/$role"
    head -c 24 /dev/urandom | base64 -w 0 | tr '+/' ab >"$work/$role/password"
    psql "$conninfo" -qXc "CREATE ROLE bank_$role LOGIN PASSWORD '$(cat "$work/$role/password")'" ||
      die "could not create a role"
  done
  psql "$conninfo" -qXc "CREATE DATABASE gdb_transactions OWNER bank_owner" || die "could not create the database"
  head -c 48 /dev/urandom | base64 -w 0 >"$work/service/jwt-secret-key"
  chmod 755 "$work/owner" "$work/service"
  chmod 444 "$work"/owner/* "$work"/service/*
  port=$(free_port)
  operations=$(free_port)
  for role in owner service; do
    {
      echo "DATABASE_HOST=127.0.0.1"
      echo "DATABASE_PORT=$database_port"
      echo "DATABASE_USER=bank_$role"
      echo "DATABASE_PASSWORD_FILE=/run/secrets/transactions/password"
      [ "$role" = owner ] || echo "JWT_SECRET_KEY_FILE=/run/secrets/transactions/jwt-secret-key"
      echo "SERVICE_HOST=127.0.0.1"
      echo "SERVICE_PORT=$port"
      echo "OPERATIONS_PORT=$operations"
      echo "WORKERS=1"
      echo "DATABASE_POOL_MIN=8"
      echo "DATABASE_POOL_MAX=8"
    } >"$work/$role.env"
  done

  local profile=deploy/kubernetes/seccomp/io-uring.json
  # As the image has it, without an option that says who.
  [ "$(run_restricted service "$profile" --rm --no-healthcheck --entrypoint id "$image:latest" -u)" = 10002 ] ||
    die "it does not run as user 10002"
  echo "ok      runs as user 10002"
  expect "a read-only root file system" \
    run_restricted service "$profile" --rm --no-healthcheck --entrypoint sh "$image:latest" -c 'grep -q "^[^ ]* / [^ ]* ro," /proc/mounts && ! touch /tmp/file 2>/dev/null'
  expect "migrate" run_restricted owner "$profile" --rm --no-healthcheck "$image:latest" migrate --grant-to bank_service
  expect "seed-demo" run_restricted owner "$profile" --rm --no-healthcheck "$image:latest" seed-demo
  token=$(run_restricted service "$profile" --rm --no-healthcheck "$image:latest" token --sub 1 --role CUSTOMER) || die "no token"
  container=transactions-service-try-$$
  expect "starts" run_restricted service "$profile" --detach --name "$container" "$image:latest"
  for ((left = 300; left > 0; left--)); do
    ! curl -fs -o /dev/null "http://127.0.0.1:$operations/readyz" || break
    sleep 0.1
  done
  [ "$left" -gt 0 ] || die "the service is not ready after 30 s: $(run_engine logs "$container" 2>&1 | tail -n 5)"
  expect "healthcheck" run_engine exec "$container" /usr/local/bin/transactions-service healthcheck --ready
  # `docker run` asks by itself; podman lets systemd do it, or is told to.
  [ "$engine" = docker ] || expect "the image's own HEALTHCHECK" run_engine healthcheck run "$container"
  expect "a deposit" curl -fsS "http://127.0.0.1:$port/api/v1/deposits" -H "Authorization: Bearer $token" \
    -H "Content-Type: application/json" -d '{"account_number": 1001, "amount": "20.50"}'
  expect "verify-ledger" run_restricted service "$profile" --rm --no-healthcheck "$image:latest" verify-ledger
  local pid
  pid=$(run_engine inspect --format '{{.State.Pid}}' "$container")
  echo "        $(awk '/^VmRSS/ { printf "%.0f MiB", $2 / 1024 }' "/proc/$pid/status") resident, with one event loop"
  run_engine stop --time 40 "$container" >/dev/null
  local code
  code=$(run_engine inspect --format '{{.State.ExitCode}}' "$container")
  [ "$code" = 0 ] || die "it ended with status $code after SIGTERM"
  echo "ok      SIGTERM ends it with status 0"

  # Docker's and containerd's present defaults answer EPERM, Podman's ENOSYS. Both leave out io_uring; for the answer of the
  # other, Podman's own is changed, or ours with io_uring taken out.
  local defaults=$profile errno
  [ "$engine" = docker ] || [ ! -r /usr/share/containers/seccomp.json ] || defaults=/usr/share/containers/seccomp.json
  for errno in EPERM:1 ENOSYS:38; do
    jq --argjson errno "${errno#*:}" '.defaultErrnoRet = $errno | del(.defaultErrno)
      | .syscalls |= map(.names |= map(select(startswith("io_uring") | not)))
      | .syscalls |= map(select(.names != []))' "$defaults" >"$work/refusing.json"
    expect_refusal "a default profile that answers ${errno%:*}" "$work/refusing.json"
  done
  expect_refusal "$engine's own default profile" ""
  echo "image: all as it should be"
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

[ "$action" = try ] || build_image
[ "$action" = build ] || try_image
