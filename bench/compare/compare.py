#!/usr/bin/env python3
"""Deposits over HTTP against the same deposit by pgbench, in alternating rounds on one private cluster.

Every round runs pgbench with each of --pgbench-clients and then the service; the best pgbench figure of a round is what
the service is compared with. The machine's speed drifts, so the quotient of a round is what to quote, and of those the
median. Afterwards `verify-ledger` audits what was written.

  bench/compare/compare.py                       100,000 accounts, 64 connections, five rounds
  bench/compare/compare.py --accounts 10         hot accounts
  bench/compare/compare.py --workload mixed      deposits, withdrawals and transfers (pgbench still deposits only)
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVICE = ROOT / "build/release/transactions-service"
PRIVATE_POSTGRES = ROOT / "deploy/dev/private-postgres.sh"
FIRST_ACCOUNT = 100_001


def run(*command, env=None):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, env=env).stdout


class Service:
    """A running service: its url, and a token for it. Its standard error goes to the file `log`."""

    def __init__(self, env, log, scheme="http", binary=SERVICE):
        with open(log, "w") as out:
            self.process = subprocess.Popen([binary, "serve"], env=env, stderr=out)
        deadline = time.monotonic() + 10
        port = env["SERVICE_PORT"]
        while port == "0":
            if found := re.search(r'"port":(\d+)', log.read_text()):
                port = found[1]
            elif time.monotonic() > deadline:
                sys.exit("the service did not start: " + log.read_text())
            time.sleep(0.05)
        self.url = f"{scheme}://127.0.0.1:{port}"
        while subprocess.run(["curl", "-skf", "-o", "/dev/null", self.url + "/readyz"]).returncode != 0:
            if time.monotonic() > deadline:
                sys.exit("the service did not become ready")
            time.sleep(0.05)
        self.token = run(SERVICE, "token", "--sub", "1", "--role", "TELLER", "--ttl", "86400", env=env).strip()

    def cpu_seconds(self):
        """Of all its threads, in user mode and in the kernel, since it started."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)


class Bench:
    def __init__(self, options):
        self.options = options
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="txn-bench-", dir="/var/tmp"))
        self.postgres = self.folder / "postgres"
        self.service = None
        self.scheme = "http"
        self.last_account = FIRST_ACCOUNT + options.accounts - 1

    def start_database(self):
        run(PRIVATE_POSTGRES, "start", self.postgres, *self.options.postgres)
        admin = run(PRIVATE_POSTGRES, "conninfo", self.postgres).strip()
        run("psql", admin, "-qXc", "CREATE DATABASE bench")
        self.conninfo = admin.replace("dbname=postgres", "dbname=bench")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "DATABASE_"))} | {
            "DATABASE_URL": self.conninfo,
            "JWT_SECRET_KEY": "a key for benchmarks only, 32 bytes+",
            "RATE_LIMIT_ENABLED": "false",
            "LOG_DIR": str(self.folder / "logs"),
            "SERVICE_HOST": "127.0.0.1",
            "SERVICE_PORT": "0",
        } | dict(setting.split("=", 1) for setting in self.options.service)
        run(SERVICE, "migrate", env=self.env)
        csv = self.folder / "accounts.csv"
        with csv.open("w") as out:
            out.write("account_number,owner_id,privilege,balance,is_active\n")
            for number in range(FIRST_ACCOUNT, self.last_account + 1):
                out.write(f"{number},{number},PREMIUM,1000000.00,true\n")
        run(SERVICE, "account", "import", csv, env=self.env)
        for statement in ("CREATE SEQUENCE pgbench_ids CACHE 32",
                          "SELECT setval('transaction_id_blocks', 1000000000)",  # above all of pgbench's
                          "VACUUM ANALYZE", "CHECKPOINT"):
            run("psql", self.conninfo, "-qXc", statement)

    def start_service(self, log=None, binary=SERVICE):
        self.service = Service(self.env, log or self.folder / "service.log", self.scheme, binary)

    def pgbench(self, clients):
        out = run("pgbench", "-n", "-M", "prepared", "-c", clients, "-j", 2, "-T", self.options.seconds,
                  "-D", f"first={FIRST_ACCOUNT}", "-D", f"last={self.last_account}",
                  "-f", ROOT / "bench/compare/deposit.sql", self.conninfo)
        return float(re.search(r"tps = ([\d.]+) \(without", out)[1])

    def wrk(self, seed, service=None, connections=None, **settings):
        """One run of money.lua; `settings` are variables of its environment that differ from the usual."""
        service = service or self.service
        env = os.environ | {"TOKEN": service.token, "WORKLOAD": self.options.workload, "SEED": str(seed),
                            "ACCOUNTS_FIRST": str(FIRST_ACCOUNT), "ACCOUNTS": str(self.options.accounts)} | settings
        cpu_before = service.cpu_seconds()
        out = run("wrk", "-t", 1, "-c", connections or self.options.connections, "-d", f"{self.options.seconds}s",
                  "-s", ROOT / "bench/load/money.lua", service.url, env=env)
        result = json.loads(out.strip().splitlines()[-1])
        if result["socket_errors"]:
            sys.exit(f"wrk had socket errors: {result}")
        if result["not_200"] and env["WORKLOAD"] != "mixed" and not getattr(self.options, "may_refuse", False):
            sys.exit(f"wrk had answers other than 200: {result}")
        result["service_us"] = (service.cpu_seconds() - cpu_before) * 1e6 / result["requests"]
        result["per_second"] = result["requests"] / (result["duration_us"] / 1e6)
        return result

    def audit(self, env=None):
        """Ends the program if the books do not balance."""
        audit = subprocess.run([SERVICE, "verify-ledger"], env=env or self.env, capture_output=True, text=True)
        print((audit.stdout + audit.stderr).strip())
        if audit.returncode != 0:
            sys.exit("the books do not balance")

    def rounds(self):
        self.wrk(0)  # warms both up, not counted
        rows = []
        for number in range(1, self.options.rounds + 1):
            pgbench = {clients: self.pgbench(clients) for clients in self.options.pgbench_clients}
            best = max(pgbench.values())
            http = self.wrk(number)
            rows.append({"pgbench": pgbench, "best": best, "http": http, "ratio": http["per_second"] / best})
            print(f"round {number}: pgbench {best:8.0f}/s   service {http['per_second']:8.0f}/s   "
                  f"ratio {rows[-1]['ratio']:.2f}   P50 {http['p50_us'] / 1000:.2f} ms   "
                  f"P95 {http['p95_us'] / 1000:.2f} ms   P99 {http['p99_us'] / 1000:.2f} ms", flush=True)
        return rows

    def stop(self):
        if self.service:
            self.service.stop()
        subprocess.run([PRIVATE_POSTGRES, "remove", self.postgres], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="of each run")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--workload", choices=["deposits", "mixed"], default="deposits")
    parser.add_argument("--pgbench-clients", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--postgres", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the server")
    parser.add_argument("--service", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the service")
    parser.add_argument("--json", type=pathlib.Path, help="where to write the figures")
    return parser.parse_args()


def main():
    options = parse()
    if not SERVICE.exists():
        sys.exit(f"{SERVICE} is missing; make build makes it")
    bench = Bench(options)
    try:
        bench.start_database()
        bench.start_service()
        rows = bench.rounds()
        median = lambda pick: statistics.median(pick(row) for row in rows)
        print(f"median of {len(rows)}: pgbench {median(lambda r: r['best']):.0f}/s, "
              f"service {median(lambda r: r['http']['per_second']):.0f}/s, ratio {median(lambda r: r['ratio']):.2f}, "
              f"P50 {median(lambda r: r['http']['p50_us']) / 1000:.2f} ms, "
              f"P95 {median(lambda r: r['http']['p95_us']) / 1000:.2f} ms, "
              f"P99 {median(lambda r: r['http']['p99_us']) / 1000:.2f} ms")
        bench.audit()
        if options.json:
            options.json.write_text(json.dumps({"options": {k: str(v) for k, v in vars(options).items()}, "rounds": rows},
                                               indent=1))
    finally:
        bench.stop()


if __name__ == "__main__":
    main()
