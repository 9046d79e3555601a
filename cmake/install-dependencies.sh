#!/bin/sh
# Installs the Debian packages the project needs:  install-dependencies.sh GROUP...
#
#   build     what building and running the service take
#   test      besides, what its tests take
#   clang     the compiler of sanitized builds, and what lint takes
#   bench     load generators
#   monitor   Prometheus
#   package   what the test of the Debian package takes
#   npm       npm, which fetch-postgres.sh and fetch-kubectl.sh take; not asked for where there is one of another source
#   image     what builds and runs the container image where there is no docker
#
# Says and changes nothing when all are there, which is what the Makefile counts on. For Debian 12 and 13.
# shellcheck disable=SC2046,SC2086  # lists of words
set -eu

packages=
for group in "$@"; do
  case "$group" in
    build)
      packages="$packages g++ cmake ninja-build pkg-config make git ca-certificates dpkg-dev curl python3 jq openssl
        liburing-dev libpq-dev libhiredis-dev libsimdjson-dev libcli11-dev libgtest-dev libgmock-dev libbenchmark-dev
        LLHTTP POSTGRESQL"
      ;;
    test) packages="$packages redis-tools faketime pgbouncer prometheus pgbackrest" ;;
    clang) packages="$packages clang-19 clang-tidy-19 clang-format-19 libclang-rt-19-dev" ;;
    bench) packages="$packages wrk" ;;
    package) packages="$packages debootstrap lintian systemd" ;;
    monitor) packages="$packages prometheus curl" ;;
    npm) packages="$packages npm" ;;
    image) packages="$packages podman buildah crun runc debootstrap" ;;
    *)
      sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
      exit 2
      ;;
  esac
done

missing() {
  for package in "$@"; do
    case "$(dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null)" in
      ?i*) ;;
      *) echo "$package" ;;
    esac
  done
}

is_known() {
  apt-cache show "$1" 2>/dev/null | grep -q '^Package:'
}

# What differs between releases: prints the package that is installed, or else the first that can be.
first_of() {
  for candidate in "$@"; do
    if [ -z "$(missing "$candidate")" ]; then
      echo "$candidate"
      return
    fi
  done
  for candidate in "$@"; do
    if is_known "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  echo "$1"
}

# The parser is a library of its own from Debian 13 on, before that the C sources in its Node.js package. Any server from
# 15 on will do, and the one that is there will, too.
choose() {
  postgresql=
  for version in 15 16 17 18; do
    [ ! -x /usr/lib/postgresql/$version/bin/initdb ] || break
  done
  if [ ! -x /usr/lib/postgresql/$version/bin/initdb ]; then
    postgresql=$(first_of postgresql-15 postgresql-17 postgresql-16 postgresql-18)
  fi
  missing $(echo $packages | sed "s/LLHTTP/$(first_of libllhttp-dev node-llhttp)/; s/POSTGRESQL/$postgresql/")
}

wanted=$(choose)
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
wanted=$(choose)  # now that the lists are fresh

# The server's package makes and starts a cluster of its own when first installed. We only want the programs, so it is
# told not to for the time of this installation; clusters that exist are none of its business.
policy=
case " $wanted " in
  *postgresql-1*)
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
