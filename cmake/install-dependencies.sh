#!/bin/sh
# Installs the Debian packages the project needs:  install-dependencies.sh [--run | --npm]
#
#   --run   only what building and running take; without it testing, linting and benchmarking too
#   --npm   npm alone, which fetch-postgres.sh takes; not asked for where there is one of another source
#
# Says and changes nothing when all are there, which is what the Makefile counts on.
set -eu

packages='g++ cmake ninja-build pkg-config make git ca-certificates dpkg-dev curl python3
  liburing-dev libpq-dev libhiredis-dev libsimdjson-dev libcli11-dev libgtest-dev libgmock-dev libbenchmark-dev postgresql-15
  openssl'
case "${1-}" in
  --run) ;;
  --npm) packages=npm ;;
  '') packages="$packages redis-tools jq wrk faketime pgbouncer prometheus clang-19 clang-tidy-19 clang-format-19 libclang-rt-19-dev" ;;
  *)
    echo "usage: install-dependencies.sh [--run | --npm]" >&2
    exit 2
    ;;
esac

missing() {
  for package in "$@"; do
    case "$(dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null)" in
      ?i*) ;;
      *) echo "$package" ;;
    esac
  done
}

# The parser comes as a library package from Debian 13 on, before that as the C sources in its Node.js package.
llhttp=node-llhttp
if [ -z "$(missing libllhttp-dev)" ]; then
  llhttp=libllhttp-dev
fi

# Unquoted on purpose here and below: lists of words.
wanted=$(missing $packages $llhttp)
if [ -z "$wanted" ]; then
  exit 0
fi

if [ "$(id -u)" -eq 0 ]; then
  as_root=
elif command -v sudo >/dev/null; then
  as_root=sudo
else
  echo "Missing packages, and neither root nor sudo to install them:" $wanted >&2
  exit 1
fi

echo "Installing:" $wanted
apt="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3"
$apt update
if apt-cache show libllhttp-dev >/dev/null 2>&1; then
  wanted=$(missing $packages libllhttp-dev)
fi

# The server's package makes and starts a cluster of its own when first installed. We only want the programs, so it is
# told not to for the time of this installation; clusters that exist are none of its business.
policy=
case " $(echo $wanted) " in
  *' postgresql-15 '*)
    policy=/etc/postgresql-common/createcluster.d/transactions-service.conf
    $as_root mkdir -p "$(dirname "$policy")"
    echo 'create_main_cluster = false' | $as_root tee "$policy" >/dev/null
    trap '$as_root rm -f "$policy"' EXIT
    ;;
esac

log=$(mktemp)
if ! $apt install --no-install-recommends -y $wanted >"$log" 2>&1; then
  cat "$log" >&2
  rm -f "$log"
  echo "Could not install:" $wanted >&2
  exit 1
fi
rm -f "$log"
