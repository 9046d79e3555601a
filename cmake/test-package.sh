#!/bin/bash
# The Debian package, tried on a fresh Debian:  test-package.sh [RELEASE]
#
#   RELEASE   bookworm unless said; the one that this machine runs, for the package is built here
#
# Builds it (package.sh), has lintian and systemd-analyze look at it, and does with it in a debootstrap of that release what
# tests/package/inside.sh says: install, start, move money, upgrade, remove, purge. Where a container of systemd-nspawn
# can be booted, systemd runs the service by the unit; elsewhere it is started by hand, under the unit's user.
# PACKAGE_SYSTEMD=no: by hand in any case. DEBIAN_KEEP=1 goes on with the debootstrap that is there. Needs root.
# The last line says how it ended.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

release=${1:-bookworm}
die() {
  echo "Debian package on $release: $*" >&2
  exit 1
}
if [ "$release" = --help ] || [ "$release" = -h ]; then
  sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" | sed '$d'
  exit 0
fi
[[ "$release" =~ ^[a-z]+$ ]] || die "that is no name of a release"
root=$PWD/build/debian/package-$release
log=$root.log

if [ "${2-}" != --inside ]; then
  [ "$(id -u)" -eq 0 ] || die "only root can make a chroot"
  for program in debootstrap lintian systemd-analyze dpkg-deb; do
    command -v "$program" >/dev/null || die "$program is missing; cmake/install-dependencies.sh package installs it"
  done
  package=$(cmake/package.sh | tail -n 1)
  echo "package         $(basename "$package"), $(stat -c %s "$package") bytes; $(dpkg-deb -f "$package" Installed-Size) KiB installed"
  echo "depends on      $(dpkg-deb -f "$package" Depends)"

  lintian --fail-on error --suppress-tags bad-distribution-in-changes-file "$package" >"$log.lintian" 2>&1 ||
    die "lintian has errors: $(grep '^E:' "$log.lintian" | head -n 3)"
  echo "lintian         0 errors, $(grep -c '^W:' "$log.lintian" || true) warnings"
  sed -n 's/^W: /                /p' "$log.lintian"

  # The next one: another version, and other settings as they come.
  next=$(mktemp -d)
  trap 'rm -rf "$next"' EXIT
  dpkg-deb --raw-extract "$package" "$next/tree"
  sed -i 's/^Version: .*/&+next/' "$next/tree/DEBIAN/control"
  echo '# As the next release has it.' >>"$next/tree/etc/transactions-service/transactions-service.conf"
  (cd "$next/tree" && find . -type f -not -path './DEBIAN/*' -printf '%P\0' | xargs -0 md5sum >DEBIAN/md5sums)
  dpkg-deb --build --root-owner-group "$next/tree" "$next/next.deb" >/dev/null

  if [ -z "${DEBIAN_KEEP-}" ] || [ ! -e "$root/.complete" ]; then
    rm -rf --one-file-system "$root"
    mkdir -p "$root"
    # shellcheck disable=SC2016  # apt's own variables
    mirror=$(apt-get indextargets --format '$(SITE) $(REPO_URI)' 'Created-By: Packages' |
      awk '$2 !~ /security/ { print $2; exit }')
    [ -n "$mirror" ] || die "apt knows no mirror"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,ca-certificates,curl,jq "$release" "$root" "$mirror" \
      >"$log" 2>&1 || die "debootstrap failed; see $log"
    # How this machine gets to its mirror, if that takes anything.
    grep -l Acquire /etc/apt/apt.conf.d/* 2>/dev/null | xargs -r cp -t "$root/etc/apt/apt.conf.d"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    touch "$root/.complete"
  fi
  rm -rf "$root/test"
  mkdir "$root/test"
  cp tests/package/inside.sh "$root/test/"
  cp "$package" "$root/test/package.deb"
  cp "$next/next.deb" "$root/test/next.deb"
  # All that is started or mounted inside ends with this.
  unshare --mount --pid --fork --kill-child "${BASH_SOURCE[0]}" "$release" --inside
  exit
fi

mount --make-rprivate /
mount -t proc proc /proc
inside=(chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive)
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
"${inside[@]}" /test/inside.sh prepare >"$log" 2>&1 || die "it could not be prepared; see $log"
"${inside[@]}" /test/inside.sh unit || die "the unit is wrong"
umount -l "$root/dev" "$root/proc"

# With systemd as process 1: it runs inside.sh as a service, and ends with it.
is_booted=
if [ "${PACKAGE_SYSTEMD-yes}" = yes ] && command -v systemd-nspawn >/dev/null; then
  mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
  cat >"$root/etc/systemd/system/package-test.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
Environment=HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
ExecStart=/bin/sh -c 'touch /test/booted; /test/inside.sh run >/test/output 2>&1; echo $? >/test/status'
ExecStopPost=/bin/systemctl --no-block --force exit
UNIT
  ln -sf ../package-test.service "$root/etc/systemd/system/multi-user.target.wants/"
  sed -i 's/^After=.*/After=basic.target/' "$root/etc/systemd/system/package-test.service"
  timeout --kill-after=5 300 systemd-nspawn --quiet --register=no --resolv-conf=off --keep-unit --boot --console=pipe -D "$root" \
    >"$log.nspawn" 2>&1 </dev/null || true
  rm -f "$root/etc/systemd/system/package-test.service" "$root/etc/systemd/system/multi-user.target.wants/package-test.service"
  [ ! -e "$root/test/booted" ] || is_booted=yes
fi
if [ -n "$is_booted" ]; then
  echo "started by      systemd, booted in a container"
  cat "$root/test/output"
  status=$(cat "$root/test/status" 2>/dev/null || echo none)
else
  echo "started by      hand: no systemd was booted"
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  status=0
  "${inside[@]}" /test/inside.sh run || status=$?
fi
[ "$status" = 0 ] || die "a check failed"
echo "Debian package on $release: installs, starts, upgrades, removes and purges"
