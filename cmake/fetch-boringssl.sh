#!/bin/sh
# Fetches BoringSSL's source from Debian and unpacks it:  fetch-boringssl.sh DIRECTORY
#
# The packaged shared libraries will not do (see boringssl.cmake), so the source package is built here. Most machines
# list no source packages; turning them on system-wide is not ours to do, so apt gets a private copy of the machine's
# lists with every entry turned into deb-src, and private state beside it. Mirrors, proxies and keys stay the
# machine's own, and apt checks signatures as always. Neither root nor a change outside DIRECTORY is needed.
set -eu

package=android-platform-external-boringssl
target=${1:?usage: fetch-boringssl.sh DIRECTORY}

# Last step of a complete fetch, so an interrupted one starts over.
if [ -e "$target/source/.complete" ]; then
  exit 0
fi

mkdir -p "$target"
target=$(cd "$target" && pwd)
work=$target/apt
rm -rf "$work" "$target/source"
mkdir -p "$work/sources.list.d" "$work/lists/partial" "$work/cache/archives/partial"

# Both notations: one line an entry (.list) and paragraphs (.sources). In the former an entry that was deb-src already
# is dropped, for its deb twin gives the same line.
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
  if [ -r "$list" ]; then
    name=$(basename "$list" .list | tr -c 'A-Za-z0-9_\n' '_')
    sed -n 's/^[[:space:]]*deb\(-src\)\{0,1\}[[:space:]]/deb-src /p' "$list" | sort -u >"$work/sources.list.d/$name.list"
  fi
done
for list in /etc/apt/sources.list.d/*.sources; do
  if [ -r "$list" ]; then
    name=$(basename "$list" .sources | tr -c 'A-Za-z0-9_\n' '_')
    sed 's/^Types:.*/Types: deb-src/' "$list" >"$work/sources.list.d/$name.sources"
  fi
done

# The sandbox user would have no way into a checkout below a closed home directory, so apt stays who it is.
private_apt() {
  apt-get -qq \
    -o Dir::Etc::SourceList=/dev/null \
    -o Dir::Etc::SourceParts="$work/sources.list.d" \
    -o Dir::State::Lists="$work/lists" \
    -o Dir::Cache="$work/cache" \
    -o Acquire::Languages=none \
    -o APT::Sandbox::User="$(id -un)" \
    -o Acquire::Retries=3 \
    "$@"
}

download() {
  private_apt update && (cd "$work" && private_apt source --download-only "$package")
}

# Not every mirror has the sources of every release. Those of another will do as well: apt checks them just the same.
# shellcheck source=/dev/null
own=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
if ! download 2>"$work/problem"; then
  for other in bookworm trixie sid; do
    [ "$other" != "$own" ] || continue
    echo "The sources of $package are not to be had from $own here; trying $other's" >&2
    sed -i -E "s/\b($own|stable|oldstable|testing)\b/$other/g" "$work"/sources.list.d/*
    own=$other
    rm -rf "$work/lists"
    mkdir -p "$work/lists/partial"
    download 2>>"$work/problem" && break
  done
fi
if ! ls "$work/$package"_*.dsc >/dev/null 2>&1; then
  cat "$work/problem" >&2
  echo "The sources of BoringSSL (Debian's $package) cannot be had" >&2
  exit 1
fi
# apt has compared the files with the signed index; the uploader's own key need not be on this machine.
dpkg-source --no-check --no-copy -x "$work/$package"_*.dsc "$target/unpacked" >/dev/null

rm -rf "$work"
mv "$target/unpacked" "$target/source"
touch "$target/source/.complete"
