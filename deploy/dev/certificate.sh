#!/bin/bash
# `make certificate`: a certificate of one's own for development, valid for this machine's own names only.
#
#   certificate.sh [FOLDER]   certificate.pem and key.pem in build/tls, or in FOLDER; made anew each time
#
# ECDSA P-256; localhost, 127.0.0.1 and ::1; 90 days. No authority stands behind it, so clients are told about it:
# curl --cacert build/tls/certificate.pem
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

folder=$(realpath -m "${1:-build/tls}")
mkdir -p "$folder"
umask 077
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1 -addext extendedKeyUsage=serverAuth \
  -addext keyUsage=critical,digitalSignature -addext basicConstraints=critical,CA:FALSE \
  -keyout "$folder/key.pem" -out "$folder/certificate.pem" 2>/dev/null
cat <<END
Made $folder/certificate.pem and $folder/key.pem. To serve with them:

TLS_CERT_FILE=$folder/certificate.pem TLS_KEY_FILE=$folder/key.pem make run
curl --cacert $folder/certificate.pem https://localhost:8002/health
END
