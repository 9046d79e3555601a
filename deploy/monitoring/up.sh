#!/bin/bash
# A Prometheus of one's own on the running service, with the alert rules and the dashboard, until Ctrl-C:
#
#   deploy/monitoring/up.sh [TARGET...]        TARGET: host:port of a service, by default localhost:8002
#
# PORT (9090), INTERVAL (5s, of scrapes and rules), SCHEME (http) and DATA (build/monitoring) can be given as environment
# variables. With PORT=0 the kernel picks a port. TEXTFILE_TARGET=host:port adds a node exporter with the textfile
# metrics. Needs Debian's package prometheus; a Prometheus of the system is left alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

port=${PORT:-9090}
interval=${INTERVAL:-5s}
data=${DATA:-build/monitoring}
[ $# -gt 0 ] || set -- localhost:8002

die() {
  echo "monitoring: $*" >&2
  exit 1
}
command -v prometheus >/dev/null || die "prometheus is missing: apt-get install --no-install-recommends prometheus"

mkdir -p "$data"
data=$(realpath "$data")
exec 9>"$data/lock"
flock --nonblock 9 || die "already running on $data"

rules=$(realpath deploy/monitoring)
{
  echo "global: {scrape_interval: $interval, evaluation_interval: $interval, scrape_timeout: $interval}"
  echo "rule_files: ['$rules/recording-rules.yml', '$rules/alert-rules.yml']"
  echo "scrape_configs:"
  echo "  - job_name: transactions-service"
  echo "    scheme: ${SCHEME:-http}"
  [ "${SCHEME:-http}" = http ] || echo "    tls_config: {insecure_skip_verify: true}"
  echo "    static_configs:"
  for target in "$@"; do
    [[ $target =~ ^[][A-Za-z0-9.:_-]+$ ]] || die "not a host:port: $target"
    echo "      - targets: ['$target']"
  done
  if [ -n "${TEXTFILE_TARGET-}" ]; then
    echo "  - job_name: node"
    echo "    static_configs: [{targets: ['$TEXTFILE_TARGET']}]"
  fi
} >"$data/prometheus.yml"
promtool check config "$data/prometheus.yml" >"$data/check.log" || die "$(cat "$data/check.log")"

prometheus_pid=
stop() {
  local status=$? left
  trap '' INT TERM HUP
  if [ -n "$prometheus_pid" ] && kill -TERM "$prometheus_pid" 2>/dev/null; then
    for ((left = 600; left > 0; left--)); do
      kill -0 "$prometheus_pid" 2>/dev/null || break
      sleep 0.1
    done
    # It loses nothing by that: what it has scraped is in its log.
    if [ "$left" -eq 0 ] && kill -KILL "$prometheus_pid" 2>/dev/null; then
      echo "monitoring: Prometheus did not end within 60 s and was killed" >&2
    fi
    wait "$prometheus_pid" || status=1
  fi
  exit "$status"
}
trap stop EXIT
trap 'exit 0' INT TERM HUP

# /user is where Prometheus serves files of ours: the dashboard then needs no server of its own.
: >"$data/prometheus.log"
prometheus --config.file="$data/prometheus.yml" --storage.tsdb.path="$data/series" --storage.tsdb.retention.time=7d \
  --web.listen-address="127.0.0.1:$port" --web.user-assets="$rules" \
  --web.console.templates="$data" --web.console.libraries="$data" >>"$data/prometheus.log" 2>&1 9>&- &
prometheus_pid=$!

listening() {
  sed -n 's/.*msg="Listening on" address=\(127\.0\.0\.1:[0-9]*\).*/\1/p' "$data/prometheus.log" | head -n 1
}
for ((left = 300; left > 0; left--)); do
  kill -0 "$prometheus_pid" 2>/dev/null || die "Prometheus did not start (PORT=... chooses another port): $(grep -m1 'level=error' "$data/prometheus.log")"
  address=$(listening)
  [ -n "$address" ] && curl -fs -o /dev/null "http://$address/-/ready" && break
  sleep 0.1
done
[ "$left" -gt 0 ] || die "Prometheus is not ready after 30 s; see $data/prometheus.log"

echo "Prometheus  http://$address/"
# Debian's Prometheus has the pages of old, under /classic.
alerts=/alerts
curl -fs -o /dev/null "http://$address$alerts" || alerts=/classic/alerts
echo "Alerts      http://$address$alerts"
echo "Dashboard   http://$address/user/dashboard.html"
echo "Ctrl-C ends it. Targets: $*"
for target in "$@"; do
  curl -fks -o /dev/null --max-time 3 "${SCHEME:-http}://$target/metrics" || echo "Nobody answers at $target yet"
done
wait "$prometheus_pid"
