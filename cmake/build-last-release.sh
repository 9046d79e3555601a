#!/bin/bash
# Builds the release that deploy/last-release names, for `make upgrade`:  build-last-release.sh [--help]
#
# The commit is cloned from this checkout into build/last-release/COMMIT and built there, in Release; what is there already
# is not built again. The last line on standard output is the path of the binary. What is printed meanwhile goes to
# build/last-release/COMMIT.log.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

die() {
  echo "The last release cannot be built: $*" >&2
  exit 1
}
case "${1-}" in
  '') ;;
  --help | -h)
    sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
    ;;
  *) die "$1 is not understood; see --help" ;;
esac

read -r commit name < <(grep -v '^#' "$root/deploy/last-release") || die "deploy/last-release names no commit"
[[ "$commit" =~ ^[0-9a-f]{40}$ ]] || die "deploy/last-release: \"$commit\" is not the full name of a commit"
# Whoever builds need not be who cloned.
git=(git -c safe.directory='*')
"${git[@]}" -C "$root" cat-file -e "$commit^{commit}" 2>/dev/null ||
  die "its commit $commit is not in this checkout; a shallow clone gets it by: git fetch --unshallow"

folder=$root/build/last-release/$commit
log=$folder.log
binary=$folder/build/release/transactions-service
if [ ! -x "$binary" ]; then
  echo "Building the last release, $name ($commit); some minutes the first time" >&2
  rm -rf --one-file-system "$folder"
  mkdir -p "$(dirname "$folder")"
  {
    "${git[@]}" clone --no-checkout "$root" "$folder"
    git -C "$folder" -c advice.detachedHead=false checkout "$commit"
    mkdir -p "$folder/build" "$root/build/deps"
    ln -s "$root/build/deps" "$folder/build/deps"
    cmake -S "$folder" -B "$folder/build/release" -G Ninja --log-level=NOTICE -DCMAKE_BUILD_TYPE=Release
    cmake --build "$folder/build/release" --target transactions-service
  } >"$log" 2>&1 || die "see $log; its end: $(tail -n 1 "$log")"
fi
[ -x "$binary" ] || die "there is no binary; see $log"
echo "$binary"
