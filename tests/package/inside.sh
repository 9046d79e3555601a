#!/bin/bash
# What cmake/test-package.sh does with the package on the Debian that it has made:  inside.sh prepare|unit|run
#
#   prepare   installs PostgreSQL, which starts nothing
#   unit      holds the package's unit against systemd-analyze
#   run       installs, starts, upgrades, removes and purges the package
#
# Runs there as root; /test has package.deb and next.deb. A line for each check; ends with 1 when one fails.
set -euo pipefail

name=transactions-service
failures=0
# check WHAT COMMAND...
check() {
  local what=$1
  shift
  if "$@" >/test/check 2>&1; then
    echo "ok      $what"
  else
    echo "FAILED  $what"
    sed 's/^/        /' /test/check
    failures=$((failures + 1))
  fi
}
has_systemd() { [ -d /run/systemd/system ]; }
install() { apt-get -qq -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0 install -y --no-install-recommends "$@"; }

# By the unit, or as it would be done.
as_service=(setpriv --reuid "$name" --regid "$name" --init-groups env -i PATH=/usr/bin:/bin)
start() {
  if has_systemd; then
    systemctl start $name
    return
  fi
  mkdir -p /var/log/$name
  chown $name:$name /var/log/$name
  chmod 0750 /var/log/$name
  "${as_service[@]}" $name serve --config /etc/$name/$name.conf >/test/service.log 2>&1 &
  echo $! >/test/pid
}
pid_of() { if has_systemd; then systemctl show --property MainPID --value $name; else cat /test/pid; fi; }
# Ends well: status 0, so what was under way was finished.
stop() {
  if has_systemd; then
    systemctl stop $name
    [ "$(systemctl show --property Result --property ExecMainStatus --value $name | tr '\n' ' ')" = 'success 0 ' ]
  else
    kill -TERM "$(cat /test/pid)"
    for _ in $(seq 600); do
      ! grep -q 'Transactions service stopped' /test/service.log || break
      sleep 0.1
    done
    grep -q 'Transactions service stopped' /test/service.log
  fi
}
answers() { curl -fsS --silent --retry 30 --retry-delay 1 --retry-all-errors --max-time 5 http://127.0.0.1:8002/readyz; }
deposit() {
  curl -fsS -H "Authorization: Bearer $(cat /test/token)" -H 'Content-Type: application/json' \
    -d '{"account_number": 1001, "amount": 10.00}' http://127.0.0.1:8002/api/v1/deposits
}
# Everything but what apt, dpkg and PostgreSQL keep for themselves.
list_files() {
  find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /test -o -path /root \
    -o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/cache -o -path /var/lib/postgresql -o -path /var/log \
    -o -path /var/tmp -o -path /var/lib/systemd \) -prune -o -print | sort
}

case "${1-}" in
  prepare)
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    apt-get -qq update
    mkdir -p /etc/postgresql-common/createcluster.d
    install postgresql adduser procps
    rm /usr/sbin/policy-rc.d
    ;;

  unit)
    work=$(mktemp -d)
    dpkg-deb --extract /test/package.deb "$work"
    # systemd-analyze asks for what ExecStart names.
    cp "$work/usr/lib/systemd/system/$name.service" /etc/systemd/system/
    cp "$work/usr/bin/$name" /usr/bin/
    check 'systemd-analyze verify has nothing to say' \
      bash -c "said=\$(systemd-analyze verify --man=no /etc/systemd/system/$name.service 2>&1); echo \"\$said\"; [ -z \"\$said\" ]"
    systemd-analyze security --offline=true --threshold=20 "/etc/systemd/system/$name.service" >/test/security 2>&1 ||
      failures=$((failures + 1))
    tail -n 1 /test/security
    rm -rf "$work" "/etc/systemd/system/$name.service" "/usr/bin/${name:?}"
    ;;

  run)
    list_files >/test/files-before
    check 'it installs' install /test/package.deb
    check 'its files are as they came' bash -c "dpkg -V $name | grep -v missing; [ -z \"\$(dpkg -V $name)\" ]"
    check 'it has a user without a shell' bash -c "getent passwd $name | grep -q ':/nonexistent:/usr/sbin/nologin$'"
    check 'settings are for root and the service alone' test "$(stat -c '%a %U:%G' /etc/$name/$name.conf)" = "640 root:$name"
    check 'their folder too' test "$(stat -c '%a %U:%G' /etc/$name)" = "750 root:$name"
    check 'all its libraries are there' bash -c "! ldd /usr/bin/$name | grep 'not found'"
    check 'it says what it is' bash -c "$name --version | grep 'commit'"
    check 'nothing was started' bash -c "! pgrep --exact --ignore-ancestors ${name:0:15}"
    if has_systemd; then
      check 'without settings it does not start' bash -c "! systemctl start $name"
      check 'and says why in one line' bash -c "journalctl --quiet --unit $name --output cat | grep -m 1 JWT_SECRET_KEY"
      systemctl reset-failed $name
    fi

    # As docs/systemd.md says.
    # Under systemd it is there already.
    pg_ctlcluster "$(ls /etc/postgresql)" main start || true
    for _ in $(seq 300); do
      ! runuser -u postgres -- pg_isready --quiet || break
      sleep 0.2
    done
    runuser -u postgres -- psql --quiet --set ON_ERROR_STOP=1 <<'SQL'
DROP DATABASE IF EXISTS gdb_transactions;
DROP ROLE IF EXISTS bank_owner, bank_service;
CREATE ROLE bank_owner LOGIN PASSWORD 'owner-of-the-test';
CREATE ROLE bank_service LOGIN PASSWORD 'service-of-the-test';
CREATE DATABASE gdb_transactions OWNER bank_owner ENCODING 'UTF8' TEMPLATE template0;
SQL
    echo 'PGSSLMODE=require' >/etc/default/$name
    umask 077
    head -c 48 /dev/urandom | base64 -w 0 >/etc/$name/jwt-secret
    head -c 48 /dev/urandom | base64 -w 0 >/etc/$name/pin-secret
    printf service-of-the-test >/etc/$name/database-password
    umask 022
    chgrp $name /etc/$name/jwt-secret /etc/$name/pin-secret /etc/$name/database-password
    chmod 640 /etc/$name/jwt-secret /etc/$name/pin-secret /etc/$name/database-password
    cat >>/etc/$name/$name.conf <<'SETTINGS'
DATABASE_HOST=127.0.0.1
DATABASE_USER=bank_service
DATABASE_NAME=gdb_transactions
DATABASE_PASSWORD_FILE=/etc/transactions-service/database-password
JWT_SECRET_KEY_FILE=/etc/transactions-service/jwt-secret
PIN_SECRET_KEY_FILE=/etc/transactions-service/pin-secret
RATE_LIMIT_ENABLED=false
SETTINGS
    settings=$(sha256sum /etc/$name/$name.conf)
    owner=postgresql://bank_owner:owner-of-the-test@127.0.0.1/gdb_transactions
    check 'it migrates' $name --database-url "$owner" migrate --grant-to bank_service
    check 'demo accounts can be made' $name --database-url "$owner" seed-demo
    check 'the settings are good, as the service sees them' "${as_service[@]}" $name --config /etc/$name/$name.conf check-config
    $name --config /etc/$name/$name.conf token >/test/token

    check 'it can be enabled' systemctl --quiet enable $name
    check 'it starts' start
    check 'it is ready' answers
    check 'it moves money' deposit
    # (/proc/PID itself belongs to root: the service lets nobody look into it.)
    check 'it runs as its user' grep -qE "^Uid:([[:space:]]+$(id -u $name)){4}\$" "/proc/$(pid_of)/status"
    check 'its log is for itself alone' test "$(stat -c '%a %U' /var/log/$name/app.json.log)" = "640 $name"
    if has_systemd; then
      check 'a system call filter is on' grep -q '^Seccomp:[[:space:]]*2' "/proc/$(pid_of)/status"
      check 'it has no capabilities' grep -q '^CapBnd:[[:space:]]*0000000000000000$' "/proc/$(pid_of)/status"
      check 'it can be reloaded' systemctl reload $name
      check 'which it says' bash -c "for i in \$(seq 50); do grep -q -i reload /var/log/$name/app.json.log && exit; sleep 0.1; done; exit 1"
    fi

    before=$(pid_of)
    check 'it is upgraded' install /test/next.deb
    check 'the settings are as they were' test "$(sha256sum /etc/$name/$name.conf)" = "$settings"
    check 'those of the release lie beside them' grep -q 'As the next release has it' /etc/$name/$name.conf.dpkg-dist
    check 'the old release serves on' deposit
    check 'it is the same process' test "$(pid_of)" = "$before"
    check 'it drains' stop
    check 'the new release starts' start
    check 'it is ready' answers
    check 'it moves money' deposit
    check 'going back installs' apt-get -qq -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0 install -y --allow-downgrades /test/package.deb
    check 'it drains' stop
    check 'the old release starts' start
    check 'it is ready' answers
    check 'the books are right' "${as_service[@]}" $name --config /etc/$name/$name.conf verify-ledger
    if ! has_systemd; then check 'it drains' stop; fi

    check 'it is removed' apt-get -qq -o Dpkg::Use-Pty=0 remove -y $name
    check 'and runs no more' bash -c "! pgrep --exact --ignore-ancestors ${name:0:15}"
    check 'settings and logs are still there' test -f /etc/$name/$name.conf -a -f /var/log/$name/app.json.log
    check 'it is purged' apt-get -qq -o Dpkg::Use-Pty=0 purge -y $name
    check 'logs and settings are gone' test ! -e /var/log/$name -a ! -e /etc/$name/$name.conf
    check 'keys are not' test -f /etc/$name/pin-secret
    rm -r "/etc/${name:?}" "/etc/default/${name:?}"
    # What it had brought with it.
    apt-get -qq -o Dpkg::Use-Pty=0 autoremove -y >/dev/null
    pg_ctlcluster "$(ls /etc/postgresql)" main stop
    list_files >/test/files-after
    check 'nothing else is left' bash -c "comm -13 /test/files-before /test/files-after | grep -vE '^/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$'; [ \$(comm -13 /test/files-before /test/files-after | grep -cvE '^/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$') -eq 0 ]"
    ;;

  *)
    sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" | sed '$d'
    exit 2
    ;;
esac
[ "$failures" -eq 0 ]
