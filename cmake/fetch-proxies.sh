#!/bin/sh
# Puts HAProxy and nginx under a directory, for the tests:  fetch-proxies.sh [DIRECTORY]
#
#   DIRECTORY   build/deps unless said; they go to DIRECTORY/proxies
#
# They are the distribution's packages, unpacked and not installed: installing starts daemons on port 80 that nobody has
# asked for. The libraries that the machine does not have stay beside them. Does nothing when they are there already.
set -eu

directory=${1:-$(dirname "$0")/../build/deps}
target=$directory/proxies
if [ -x "$target/usr/sbin/haproxy" ] && [ -x "$target/usr/sbin/nginx" ]; then
  exit 0
fi

fail() {
  echo "HAProxy and nginx cannot be had: $1" >&2
  exit 1
}

mkdir -p "$directory"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# apt downloads as a user of its own, who is to get in.
chmod 755 "$work"

# What installing them would bring, and of that what programs link with.
needed=$(apt-get --simulate --no-install-recommends install haproxy nginx 2>"$work/problem" |
  sed -n 's/^Inst \([^ ]*\) .*/\1/p' | grep -E '^(haproxy|nginx|lib.*)$') || true
# Those that are installed are not among them.
for program in haproxy nginx; do
  echo "$needed" | grep -qx "$program" || needed="$needed $program"
done

# shellcheck disable=SC2086  # a list of words
set -- $needed
(cd "$work" && apt-get download -qq "$@" >download.log 2>&1) ||
  fail "apt-get download $*: $(tail -n 1 "$work/download.log")"
for package in "$work"/*.deb; do
  dpkg-deb --extract "$package" "$work/root" || fail "dpkg-deb --extract $package"
done
mkdir -p "$work/root/lib"
find "$work/root" -name '*.so*' -not -path "$work/root/lib/*" -exec cp -P {} "$work/root/lib" \;
for program in haproxy nginx; do
  [ -x "$work/root/usr/sbin/$program" ] || fail "$program is not in its package"
  if LD_LIBRARY_PATH=$work/root/lib ldd "$work/root/usr/sbin/$program" | grep 'not found' >&2; then
    fail "$program lacks libraries"
  fi
done
rm -rf "$target"
mv "$work/root" "$target"
