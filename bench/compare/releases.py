#!/usr/bin/env python3
"""This build against another one, in alternating rounds: each with a database of its own on one private cluster.

  bench/compare/releases.py ../before/build/release/transactions-service

The other migrates and serves its own database, so the two may need different schemas. Afterwards both audit their books.
"""
import argparse
import pathlib
import statistics

from compare import Bench, Service, run

# Connections, accounts, workload.
CASES = [(64, 100_000, "deposits"), (256, 100_000, "deposits"), (64, 1, "deposits"), (256, 10, "deposits"),
         (256, 1, "deposits"), (64, 100_000, "mixed")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=pathlib.Path, help="the other's transactions-service")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3, help="of each run")
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--postgres", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--service", nargs="*", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    options.workload, options.connections = "deposits", 64
    options.may_refuse = True  # a pause of the machine's longer than LEDGER_QUEUE_DELAY_MAX; they are counted
    bench = Bench(options)
    other = None
    try:
        bench.start_database()
        bench.start_service()
        run("psql", bench.conninfo, "-qXc", "CREATE DATABASE other")
        env = bench.env | {"DATABASE_URL": bench.conninfo.replace("dbname=bench", "dbname=other"),
                           "LOG_DIR": str(bench.folder / "other-logs")}
        run(options.other, "migrate", env=env)
        run(options.other, "account", "import", bench.folder / "accounts.csv", env=env)
        run("psql", env["DATABASE_URL"], "-qXc", "VACUUM ANALYZE")
        other = Service(env, bench.folder / "other.log", binary=options.other)
        for connections, accounts, workload in CASES:
            options.connections, options.accounts, options.workload = connections, accounts, workload
            for service in (bench.service, other):
                bench.wrk(0, service)
            rows = []
            for number in range(1, options.rounds + 1):
                pair = [(bench.service, "this"), (other, "other")]
                found = {name: bench.wrk(number, service) for service, name in (pair if number % 2 else pair[::-1])}
                rows.append(found)
            rate = {name: statistics.median(row[name]["per_second"] for row in rows) for name in ("this", "other")}
            ratios = sorted(row["this"]["per_second"] / row["other"]["per_second"] for row in rows)
            p99 = {name: statistics.median(row[name]["p99_us"] for row in rows) / 1000 for name in ("this", "other")}
            print(f"{workload}, {connections} connections, {accounts} accounts: {rate['this']:.0f}/s against "
                  f"{rate['other']:.0f}/s, ratio {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}), "
                  f"P99 {p99['this']:.1f} against {p99['other']:.1f} ms", flush=True)
            if workload != "mixed":
                refused = {name: sum(row[name]["not_200"] for row in rows) for name in rate}
                print(f"  answers other than 200: {refused['this']} against {refused['other']}", flush=True)
        bench.audit()
    finally:
        if other:
            other.stop()
        bench.stop()


if __name__ == "__main__":
    main()
