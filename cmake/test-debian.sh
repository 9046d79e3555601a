#!/bin/bash
# The README's two commands on a fresh Debian:  test-debian.sh RELEASE [run|test|ci]...
#
#   RELEASE    bookworm or trixie
#   run, test  which of the two; both unless said
#   ci         all that CI runs, .ci/run
#
# A debootstrap of that release under build/debian/RELEASE, thrown away and made anew each time; DEBIAN_KEEP=1 goes on with
# the one that is there. It gets a clone of the last commit, the machine's mirror, and mounts and processes that end with this
# script. It shares the kernel. Needs root and the package debootstrap. The last line says how it ended.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

release=${1:?usage: test-debian.sh RELEASE [run|test]...}
shift
[ $# -gt 0 ] || set -- run test
root=$PWD/build/debian/$release

die() {
  echo "Debian $release: $*" >&2
  exit 1
}
[ "$(id -u)" -eq 0 ] || die "only root can make a chroot"
command -v debootstrap >/dev/null || die "install debootstrap"

if [ "${1-}" != --inside ]; then
  if [ -z "${DEBIAN_KEEP-}" ] || [ ! -d "$root" ]; then
    rm -rf --one-file-system "$root"
    mkdir -p "$root"
    # shellcheck disable=SC2016  # apt's own variables
    mirror=$(apt-get indextargets --format '$(SITE) $(REPO_URI)' 'Created-By: Packages' |
      awk '$2 !~ /security/ { print $2; exit }')
    [ -n "$mirror" ] || die "apt knows no mirror"
    debootstrap --variant=minbase "$release" "$root" "$mirror" >"$root.log" 2>&1 || die "debootstrap failed; see $root.log"
    # How this machine gets to its mirror, if that takes anything.
    grep -l Acquire /etc/apt/apt.conf.d/* 2>/dev/null | xargs -r cp -t "$root/etc/apt/apt.conf.d"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    git clone --quiet . "$root/checkout"
  fi
  # All that is started or mounted inside ends with this.
  exec unshare --mount --pid --fork --kill-child "${BASH_SOURCE[0]}" "$release" --inside "$@"
fi
shift

mount --make-rprivate /
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
inside=(chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8)
"${inside[@]}" apt-get -qq update || die "apt-get update failed"
"${inside[@]}" sh -c 'DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends make git ca-certificates >/dev/null' ||
  die "make and git cannot be installed"

for command in "$@"; do
  case "$command" in
    run)
      # With a port of its own, until it says that it is ready.
      "${inside[@]}" make -C /checkout run SERVICE_PORT=0 >"$root.run.log" 2>&1 &
      run=$!
      until grep -q 'transactions-service is ready on' "$root.run.log"; do
        kill -0 "$run" 2>/dev/null || die "make run ended; the last of it, more in $root.run.log:
$(tail -n 20 "$root.run.log")"
        sleep 1
      done
      "${inside[@]}" bash -c "$(grep '^curl ' "$root.run.log") -sS" | grep -q '"status":"SUCCESS"' || die "the printed deposit failed"
      # make passes it on, and says that it was terminated whatever its command made of that.
      kill -TERM "$run"
      wait "$run" || true
      grep -q '^Stopping' "$root.run.log" || die "make run did not stop its service; see $root.run.log"
      echo "Debian $release: make run works"
      ;;
    test)
      "${inside[@]}" make -C /checkout test 2>&1 | tee "$root.test.log" | grep -E '\*\*\*|passed, ' || true
      tail -n 1 "$root.test.log" | grep -q ' 0 failed' || die "make test failed; see $root.test.log"
      echo "Debian $release: make test passes"
      ;;
    ci)
      "${inside[@]}" /checkout/.ci/run 2>&1 | tee "$root.ci.log" | grep -E '\*\*\*|passed, ' || true
      tail -n 1 "$root.ci.log" | grep -q ' 0 failed' || die "CI failed; see $root.ci.log"
      echo "Debian $release: CI passes"
      ;;
    *) die "neither run, test nor ci: $command" ;;
  esac
done
