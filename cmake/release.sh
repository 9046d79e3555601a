#!/bin/bash
# Makes a release of the commit that is checked out:  release.sh [--dry-run] VERSION
#
#   VERSION     X.Y.Z, above the last one
#   --dry-run   checks all but the tests, and shows the commits that it would make; this checkout stays as it is
#
# Needs a clean checkout of a branch, and entries under "Unreleased" in CHANGELOG.md. Runs `make lint test upgrade`
# (RELEASE_CHECKS: another command). Then makes two commits and a tag:
#
#   Release X.Y.Z      the version in CMakeLists.txt, and the entries under a heading of their own; tagged vX.Y.Z
#   the one after it   deploy/last-release names it: from then on `make upgrade` starts there
#
# Nothing is pushed. docs/releasing.md says what comes before and after.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
  echo "No release was made: $*" >&2
  exit 1
}

dry_run=
version=
while [ $# -gt 0 ]; do
  case "$1" in
    --help | -h)
      sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" | sed '$d'
      exit 0
      ;;
    --dry-run) dry_run=yes ;;
    -*) die "$1 is not understood; see --help" ;;
    *)
      [ -z "$version" ] || die "one version at a time: $version or $1"
      version=$1
      ;;
  esac
  shift
done
[ -n "$version" ] || die "say which version: make release VERSION=X.Y.Z"
[[ "$version" =~ ^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)$ ]] || die "\"$version\" is not of the form X.Y.Z"

# --- Is it time? -----------------------------------------------------------------------------------------------------

present=$(sed -n 's/^project(transactions-service VERSION \([0-9.]*\) .*/\1/p' CMakeLists.txt)
[ -n "$present" ] || die "CMakeLists.txt names no version"
newest=$(printf '%s\n%s\n' "$present" "$version" | sort -V | tail -n 1)
[ "$newest" = "$version" ] || die "$version is below $present, which CMakeLists.txt has"
if git rev-parse -q --verify "refs/tags/v$version" >/dev/null; then
  die "the tag v$version is there already"
fi
branch=$(git symbolic-ref -q --short HEAD) || die "check out a branch first"
changes=$(git status --porcelain)
[ -z "$changes" ] || die "the checkout has changes: $(head -n 1 <<<"$changes")"
entries=$(awk '/^## / { on = $0 == "## Unreleased"; next } on' CHANGELOG.md)
grep -q '^- ' <<<"$entries" || die "CHANGELOG.md has no entry under \"## Unreleased\""

# --- Is it good? -----------------------------------------------------------------------------------------------------

if [ -z "$dry_run" ]; then
  ${RELEASE_CHECKS:-make lint test upgrade} || die "${RELEASE_CHECKS:-make lint test upgrade} failed"
  [ -z "$(git status --porcelain)" ] || die "the checks have changed the checkout"
fi

# --- The commits -----------------------------------------------------------------------------------------------------

make_commits() {
  sed -i "s/^\(project(transactions-service VERSION \)[0-9.]*/\1$version/" CMakeLists.txt
  sed -i "s/^## Unreleased\$/## Unreleased\n\n## $version - $(date -u +%Y-%m-%d)/" CHANGELOG.md
  git commit --quiet --all --message "Release $version"
  git tag --annotate --message "Release $version" "v$version"
  released=$(git rev-parse HEAD)
  sed -i "s/^[0-9a-f]\{40\} .*/$released $version/" deploy/last-release
  grep -q "^$released $version\$" deploy/last-release || die "deploy/last-release has no line with a commit"
  git commit --quiet --all --message "make upgrade starts from $version"
}

if [ -n "$dry_run" ]; then
  trial=$(mktemp -d)
  trap 'rm -rf "$trial"' EXIT
  name=$(git config user.name || echo nobody)
  mail=$(git config user.email || echo nobody@localhost)
  git clone --quiet --branch "$branch" . "$trial/clone"
  cd "$trial/clone"
  git config user.name "$name"
  git config user.email "$mail"
  make_commits
  git --no-pager log --reverse --patch --unified=1 --format='%n=== %s%d' HEAD~2..HEAD
  echo
  echo "A dry run: nothing was changed. To do it: make release VERSION=$version"
  exit 0
fi

make_commits
echo "Release $version: commit ${released:0:12}, tag v$version. To publish it:  git push origin $branch v$version"
echo "To take it back before that:  git tag -d v$version && git reset --hard $released~1"
