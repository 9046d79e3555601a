#!/bin/bash
# cmake/release.sh on a copy of this checkout, cmake/write-commit.cmake, and what deploy/last-release names:  release_test.sh
#
# Prints a line for each check; exit 0 when all hold, 1 when one does not, 77 without Git or outside of a checkout.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ "${1-}" = --help ]; then
  sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" | sed '$d'
  exit 0
fi
if ! command -v git >/dev/null || [ ! -e "$root/.git" ]; then
  echo "no Git, or no checkout"
  exit 77
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HOME=$work GIT_CONFIG_NOSYSTEM=1
git config --global safe.directory '*'
git config --global user.name tester
git config --global user.email tester@localhost
git config --global init.defaultBranch main
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

# refuses TEXT COMMAND...: the command fails, and its one line has the text.
refuses() {
  local text=$1 output status=0
  shift
  output=$("$@" 2>&1) || status=$?
  echo "$output"
  [ "$status" -eq 1 ] && [ "$(wc -l <<<"$output")" -eq 1 ] && grep -qF -- "$text" <<<"$output"
}

# The files as they are now, committed or not, with no more history than a release needs.
clone=$work/clone
mkdir "$clone"
(cd "$root" && git ls-files -z --cached --others --exclude-standard CMakeLists.txt CHANGELOG.md cmake deploy | xargs -0 cp --parents -t "$clone")
cd "$clone"
git init --quiet
echo build/ >.gitignore
sed -i '0,/^## Unreleased$/s//## Unreleased\n\n- Something new./' CHANGELOG.md
git add --all
git commit --quiet --message 'What there is'
start=$(git rev-parse HEAD)
as_before() { [ "$(git rev-parse HEAD)" = "$start" ] && [ -z "$(git status --porcelain)" ] && [ -z "$(git tag)" ]; }

release=cmake/release.sh
check 'it says how it is called' grep -q 'release.sh \[--dry-run\] VERSION' <("$release" --help)
check 'a version is needed' refuses 'say which version' "$release"
for version in 1 1.2 v1.2.3 1.2.3-rc1 01.2.3 1.2.3.4; do
  check "$version is no version" refuses 'is not of the form X.Y.Z' "$release" "$version"
done
check 'a version below the last is refused' refuses 'is below' "$release" 0.0.1
check 'an unknown option is refused' refuses 'not understood' "$release" --dry 9.0.0
check 'after all that nothing has changed' as_before

echo >>CHANGELOG.md
check 'changes in the checkout are refused' refuses 'the checkout has changes' "$release" 9.0.0
git checkout --quiet CHANGELOG.md
git checkout --quiet --detach
check 'without a branch it is refused' refuses 'check out a branch first' "$release" 9.0.0
git checkout --quiet main
check 'failing tests are the end of it' refuses 'false failed' env RELEASE_CHECKS=false "$release" 9.0.0
check 'checks that write to the checkout are refused' refuses 'the checks have changed the checkout' \
  env RELEASE_CHECKS='touch new-file' "$release" 9.0.0
rm -f new-file
check 'after all that nothing has changed either' as_before

check 'a dry run ends well' env RELEASE_CHECKS=false "$release" --dry-run 9.0.0
for line in '=== Release 9.0.0' '+project(transactions-service VERSION 9.0.0 LANGUAGES C CXX' \
  "+## 9.0.0 - $(date -u +%Y-)" '=== make upgrade starts from 9.0.0'; do
  check "it shows $line" grep -qF -- "$line" <("$release" --dry-run 9.0.0)
done
check 'and changes nothing' as_before

check 'a release is made' env RELEASE_CHECKS=true "$release" 9.0.0
check 'its tag is its commit' test "$(git rev-parse 'v9.0.0^{commit}')" = "$(git rev-parse HEAD~1)"
check 'which says so' test "$(git log -1 --format=%s v9.0.0)" = 'Release 9.0.0'
check 'and has the version' grep -q '^project(transactions-service VERSION 9.0.0 ' <(git show v9.0.0:CMakeLists.txt)
check 'the entries have gone below it' grep -q '^- Something new' \
  <(git show v9.0.0:CHANGELOG.md | awk '/^## / { on = /^## 9.0.0 - [0-9]+-[0-9]+-[0-9]+$/ } on')
check 'the commit after it names it' grep -q "^$(git rev-parse HEAD~1) 9.0.0\$" deploy/last-release
check 'the checkout is clean' test -z "$(git status --porcelain)"
check 'the same again is refused' refuses 'the tag v9.0.0 is there already' "$release" 9.0.0
check 'nothing new is no release' refuses 'no entry under' "$release" 9.0.1

# Which commit a build says it is.
commit=$work/commit.cc
write_commit() { cmake -DSOURCE="$1" -DCOMMIT="$2" -DOUTPUT="$commit" -P "$root/cmake/write-commit.cmake"; }
# says TEXT SOURCE COMMIT
says() { write_commit "$2" "$3" && cat "$commit" && grep -qF "return \"$1\";" "$commit"; }
short=$(git rev-parse --short=12 HEAD)
check 'a build says its commit' says "$short" "$clone" ''
touch -d 2000-01-01 "$commit"
check 'which is written only once' says "$short" "$clone" ''
check 'so that nothing is compiled anew' test "$(date -r "$commit" +%Y)" = 2000
echo >>CHANGELOG.md
check 'it says that files were edited' says "$short-changed" "$clone" ''
git checkout --quiet CHANGELOG.md
check 'it says what it is told' says v9.0.0 "$clone" v9.0.0
check 'without Git it does not know' says unknown "$clone/cmake" ''
check 'nonsense is refused' bash -c "! cmake -DSOURCE='$clone' -DCOMMIT='a\"b' -DOUTPUT='$commit' -P '$root/cmake/write-commit.cmake'"

# The real one: a commit that whoever has the whole history has.
cd "$root"
read -r named _ < <(grep -v '^#' deploy/last-release)
if ! git cat-file -e "$named^{commit}" 2>/dev/null; then
  echo 'skipped deploy/last-release: this clone has not all of the history'
else
  check 'deploy/last-release names an ancestor' git merge-base --is-ancestor "$named" HEAD
fi

[ "$failures" -eq 0 ]
