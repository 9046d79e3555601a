#!/bin/bash
# What `cmake --install` puts where:  install_test.sh BUILD
#
# Prints a line for each check; exit 0 when all hold, 1 when one does not, 2 for wrong arguments.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ "${1-}" = --help ] || [ $# -ne 1 ]; then
  sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" | sed '$d'
  [ "${1-}" = --help ] || exit 2
  exit 0
fi
build=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

# check WHAT COMMAND...: runs the command and says how it went.
check() {
  local what=$1
  shift
  if "$@" >"$work/output" 2>&1; then
    echo "ok      $what"
  else
    echo "FAILED  $what"
    sed 's/^/        /' "$work/output"
    failures=$((failures + 1))
  fi
}

target=$work/target
check 'it installs' env DESTDIR="$target" cmake --install "$build" --prefix /opt/bank
unit=$target/opt/bank/lib/systemd/system/transactions-service.service
check 'the program runs from there' "$target/opt/bank/bin/transactions-service" --version
check 'the unit starts it there' grep -q '^ExecStart=/opt/bank/bin/transactions-service serve --config /etc/' "$unit"
check 'nothing in it is left to fill in' bash -c "! grep '@[A-Z]' '$unit'"
check 'settings are for root and the group' \
  test "$(stat -c %a "$target/etc/transactions-service/transactions-service.conf")" = 640
check 'in a folder for them' test "$(stat -c %a "$target/etc/transactions-service")" = 750
check 'dpkg is told of all settings' diff <(cd "$target" && find etc -type f -printf '/%p\n' | sort) \
  "$root/deploy/debian/conffiles"
check 'they are settings that the program knows' \
  "$target/opt/bank/bin/transactions-service" --config "$target/etc/transactions-service/transactions-service.conf" token --help
# With the example's own lines switched on.
sed "s|^#\([A-Z]\)|\1|; s|=/etc/transactions-service/|=$work/|" \
  "$target/etc/transactions-service/transactions-service.conf" >"$work/settings.conf"
for secret in jwt-secret pin-secret database-password; do
  head -c 48 /dev/urandom | base64 -w 0 >"$work/$secret"
done
check 'those that are to be filled in too' \
  "$target/opt/bank/bin/transactions-service" --config "$work/settings.conf" token
for text in boringssl llhttp cli11; do
  check "the terms of $text are there" test -s "$target/opt/bank/share/doc/transactions-service/licenses/$text"
done
check 'nothing of the tests is' bash -c "! find '$target' -name '*test*' | grep ."
for script in postinst prerm postrm; do
  check "$script is a shell script" sh -n "$root/deploy/debian/$script"
done

[ "$failures" -eq 0 ]
