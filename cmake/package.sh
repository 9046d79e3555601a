#!/bin/bash
# Builds the Debian package of this tree:  package.sh [--help]
#
# It goes to build/packages, and the last line is its path. Its version is X.Y.Z when the commit is tagged vX.Y.Z, and
# X.Y.Z+gitDATE.COMMIT otherwise, which is newer than the release X.Y.Z and older than the next.
# TXN_PACKAGE_VERSION: another one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
  echo "No package was built: $*" >&2
  exit 1
}
case "${1-}" in
  '') ;;
  --help | -h)
    sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" | sed '$d'
    exit 0
    ;;
  *) die "$1 is not understood; see --help" ;;
esac

version=$(sed -n 's/^project(transactions-service VERSION \([0-9.]*\) .*/\1/p' CMakeLists.txt)
[ -n "$version" ] || die "CMakeLists.txt names no version"
git=(git -c safe.directory='*')
if [ -n "${TXN_PACKAGE_VERSION-}" ]; then
  version=$TXN_PACKAGE_VERSION
elif [ -e .git ] && commit=$("${git[@]}" rev-parse --short=12 HEAD 2>/dev/null) &&
  [ "$("${git[@]}" describe --tags --exact-match 2>/dev/null || true)" != "v$version" ]; then
  version+=+git$(TZ=UTC "${git[@]}" log -1 --date=format-local:%Y%m%d%H%M%S --format=%cd).$commit
fi
[[ "$version" =~ ^[0-9][0-9A-Za-z.+~]*$ ]] || die "\"$version\" is no version of a package"

# The same commit gives the same package, to the byte.
if [ -z "${SOURCE_DATE_EPOCH-}" ] && [ -e .git ]; then
  SOURCE_DATE_EPOCH=$("${git[@]}" log -1 --format=%ct)
  export SOURCE_DATE_EPOCH
fi

log=build/packages/package.log
mkdir -p build/packages
{
  cmake -S . -B build/release -G Ninja --log-level=NOTICE -DCMAKE_BUILD_TYPE=Release -DTXN_PACKAGE_VERSION="$version" &&
    cmake --build build/release --target transactions-service &&
    # Modes of files in the package are to be the same whoever builds it.
    (umask 022 && cd build/release && cpack -G DEB)
} >"$log" 2>&1 || die "see $log; its end: $(tail -n 1 "$log")"
package=build/packages/transactions-service_${version}_$(dpkg --print-architecture).deb
[ -f "$package" ] || die "cpack has left no $package; see $log"
echo "$PWD/$package"
