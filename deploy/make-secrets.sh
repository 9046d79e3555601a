#!/bin/bash
# Makes the secrets of compose.yaml, once:  make-secrets.sh [FOLDER]
#
#   FOLDER   deploy/secrets unless said
#
# A random password for each of the database's two roles, the key of tokens and the key of PINs. What is there is left as
# it is: a new key of PINs would make every PIN wrong. The folder is closed to everybody else; the files in it can be read
# by all, since containers see them as another user.
set -euo pipefail

case "${1-}" in
  -h | --help)
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
    exit 0
    ;;
esac
folder=${1:-$(dirname "${BASH_SOURCE[0]}")/secrets}
mkdir -p "$folder" || exit 1
chmod 700 "$folder"
made=0
for name in owner-password service-password jwt-secret-key pin-secret-key; do
  [ ! -s "$folder/$name" ] || continue
  # 48 bytes as letters and digits that no shell, URL or file of settings has a meaning for.
  head -c 48 /dev/urandom | base64 -w 0 | tr '+/' '-_' >"$folder/.$name.new"
  chmod 444 "$folder/.$name.new"
  mv "$folder/.$name.new" "$folder/$name"
  made=$((made + 1))
done
echo "$made secrets made in $folder, $((4 - made)) were there"
