#!/bin/sh
# The deployment guide's own curl lines, held against a running service:
#
#   seed_curl_test.sh URL TOKEN        e.g.  seed_curl_test.sh http://localhost:8002 "$(transactions-service token)"
#
# TOKEN must be allowed to deposit to account 1001. Prints a line for each check; exit 0 when all are as the guide says,
# 1 when one is not, 2 for wrong arguments, 77 without curl.
set -u

if [ $# -ne 2 ]; then
  echo "usage: $0 URL TOKEN" >&2
  exit 2
fi
url=$1
token=$2
command -v curl >/dev/null || exit 77
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

# check WHAT CONDITION...: runs the condition and says how it went.
check() {
  what=$1
  shift
  if "$@"; then
    echo "ok      $what"
  else
    echo "FAILED  $what"
    sed 's/^/        /' "$work/headers" "$work/body" 2>/dev/null
    failures=$((failures + 1))
  fi
}

# request CURL_ARGUMENT...: leaves status, headers and body under $work.
request() {
  : >"$work/headers" >"$work/body"
  status=$(curl --silent --show-error --max-time 20 --dump-header "$work/headers" --output "$work/body" \
    --write-out '%{http_code}' "$@")
}

has_header() {
  tr -d '\r' <"$work/headers" | grep -qixF "$1"
}

has_body() {
  grep -qF "$1" "$work/body"
}

# "This should fail without valid token. Expected: 403"
request -X POST "$url/api/v1/deposits" \
  -H "Content-Type: application/json" \
  -d '{"account_number": 1001, "amount": 100, "description": "test"}'
check "deposit without a token is 403" [ "$status" = 403 ]

# "This should succeed with valid token. Expected: 200 OK"
request -X POST "$url/api/v1/deposits" \
  -H "Authorization: Bearer $token" \
  -H "Content-Type: application/json" \
  -d '{"account_number": 1001, "amount": 100, "description": "test"}'
check "deposit with a token is 200" [ "$status" = 200 ]
check "deposit says SUCCESS" has_body '"SUCCESS"'
check "deposit of 100 is 100.00" has_body '100.00'

# "curl -I http://localhost:8002/health. Should see security headers in response"
request -I "$url/health"
check "health is 200" [ "$status" = 200 ]
check "X-Content-Type-Options" has_header "X-Content-Type-Options: nosniff"
check "X-Frame-Options" has_header "X-Frame-Options: DENY"
check "X-XSS-Protection" has_header "X-XSS-Protection: 1; mode=block"
check "Content-Security-Policy" has_header "Content-Security-Policy: default-src 'self'"
check "Referrer-Policy" has_header "Referrer-Policy: strict-origin-when-cross-origin"
check "Permissions-Policy" has_header "Permissions-Policy: accelerometer=(), microphone=(), camera=()"

# "curl http://localhost:8002/health. Should return health check status"
request "$url/health"
check "health answers to GET" [ "$status" = 200 ]
check "health says healthy" has_body '"healthy"'
check "health names its components" has_body '"components"'

if [ "$failures" -gt 0 ]; then
  echo "$failures checks failed"
  exit 1
fi
echo "all as the guide says"
