#!/usr/bin/env python3
"""What a grown log costs: throughput on an empty log against one of ten million rows, pages of it, and its audit.

Two databases of one private cluster with a million accounts each, one with an empty log and one with --rows rows, ten an
account as they would have come in over time: first everybody's first row, then everybody's second. One account has a log
of its own of --deep rows. Each round runs the same load on one and then on the other.
"""
import argparse
import statistics
import time

from compare import FIRST_ACCOUNT, SERVICE, Bench, run


def make_accounts(options):
    return f"""
      INSERT INTO accounts (account_number, owner_id, privilege, balance, opening_balance, is_active)
      SELECT n, n, 'PREMIUM', 1000000, 1000000, true
      FROM generate_series({FIRST_ACCOUNT}, {FIRST_ACCOUNT + options.accounts - 1}) n"""


class Grown(Bench):
    """A bench with a second database and service."""

    def populate(self, conninfo, grown):
        sql = lambda text: run("psql", conninfo, "-qXv", "ON_ERROR_STOP=1", "-c", text)
        sql(make_accounts(self.options))
        if grown:
            accounts, passes, deep = self.options.accounts, self.options.rows // self.options.accounts, self.options.deep
            # 7919 is a prime: neighbours in time are no neighbours in number.
            sql(f"""
              INSERT INTO transaction_logs (id, transaction_id, account_number, seq, created_at, transaction_type,
                                            direction, amount, balance_after, description)
              SELECT 2 * t, t, {FIRST_ACCOUNT} + (t * 7919) % {accounts}, 1 + (t - 1) / {accounts},
                     now() - interval '60 days' + t * interval '0.25 second', 'DEPOSIT', 'CREDIT', 1.00,
                     1000001 + (t - 1) / {accounts}, 'a deposit of long ago'
              FROM generate_series(1::bigint, {accounts * passes}) t""")
            sql(f"UPDATE accounts SET balance = balance + {passes}, log_seq = {passes}")
            sql(f"""
              INSERT INTO transaction_logs (id, transaction_id, account_number, seq, created_at, transaction_type,
                                            direction, amount, balance_after, description)
              SELECT 2 * t, t, {FIRST_ACCOUNT}, {passes} + s, now() - interval '1 day' + s * interval '0.1 second',
                     'DEPOSIT', 'CREDIT', 1.00, {1000000 + passes} + s, 'one of many'
              FROM generate_series(1::bigint, {deep}) s, LATERAL (SELECT {accounts * passes} + s AS t) x""")
            sql(f"UPDATE accounts SET balance = balance + {deep}, log_seq = log_seq + {deep} "
                f"WHERE account_number = {FIRST_ACCOUNT}")
        sql("SELECT setval('transaction_id_blocks', 1000000000)")
        for table in ("accounts", "transaction_logs"):
            sql(f"VACUUM (ANALYZE) {table}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each run")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--accounts", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--deep", type=int, default=200_000, help="further rows of the first account")
    parser.add_argument("--workload", choices=["deposits", "mixed"], default="deposits")
    parser.add_argument("--wait", action="store_true", help="wait for Enter when the data are there")
    parser.add_argument("--postgres", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--service", nargs="*", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()

    imported, options.accounts = options.accounts, 1  # populate() makes the others
    bench = Grown(options)
    try:
        bench.start_database()
        options.accounts = imported
        bench.last_account = FIRST_ACCOUNT + imported - 1
        admin = bench.conninfo
        sides = {}
        for name in ("empty", "grown"):
            run("psql", admin, "-qXc", f"CREATE DATABASE {name}")
            conninfo = admin.replace("dbname=bench", f"dbname={name}")
            env = bench.env | {"DATABASE_URL": conninfo}
            run(SERVICE, "migrate", env=env)
            started = time.monotonic()
            bench.populate(conninfo, name == "grown")
            print(f"{name}: made in {time.monotonic() - started:.0f} s", flush=True)
            bench.env = env
            bench.start_service(bench.folder / f"{name}.log")
            sides[name] = {"service": bench.service, "env": env, "conninfo": conninfo}
        run("psql", admin, "-qXc", "CHECKPOINT")
        if options.wait:
            input("the data are there; Enter goes on")

        for side in sides.values():
            bench.wrk(0, side["service"])
        ratios = []
        for number in range(1, options.rounds + 1):
            found = {}
            for name in (list(sides) if number % 2 else list(sides)[::-1]):
                found[name] = bench.wrk(number, sides[name]["service"])
            ratios.append(found["grown"]["per_second"] / found["empty"]["per_second"])
            print(f"round {number}: empty log {found['empty']['per_second']:.0f}/s (P99 {found['empty']['p99_us'] / 1000:.1f} ms)   "
                  f"grown log {found['grown']['per_second']:.0f}/s (P99 {found['grown']['p99_us'] / 1000:.1f} ms)   "
                  f"ratio {ratios[-1]:.2f}", flush=True)
        print(f"median of {options.rounds}: grown against empty {statistics.median(ratios):.2f}")

        run("psql", admin, "-qXc", "CHECKPOINT")  # what the rounds left to be written is not the pages' matter
        for what, first, accounts, query, connections in (
                ("a random account's first page", FIRST_ACCOUNT + 1, imported - 1, "limit=50", 1),
                ("a random account's first page", FIRST_ACCOUNT + 1, imported - 1, "limit=50", 16),
                (f"first page of an account with {options.deep} rows", FIRST_ACCOUNT, 1, "limit=50", 1),
                (f"500 rows of an account with {options.deep} rows", FIRST_ACCOUNT, 1, "limit=500", 1),
                (f"page behind skip=10000 of an account with {options.deep} rows", FIRST_ACCOUNT, 1, "limit=50&skip=10000", 1)):
            page = bench.wrk(0, sides["grown"]["service"], connections, WORKLOAD="pages", QUERY=query,
                             ACCOUNTS_FIRST=str(first), ACCOUNTS=str(accounts))
            print(f"{what}, {connections} at once: P50 {page['p50_us'] / 1000:.2f} ms   P99 {page['p99_us'] / 1000:.2f} ms   "
                  f"{page['requests'] / (page['duration_us'] / 1e6):.0f}/s", flush=True)

        for side in sides.values():
            side["service"].stop()
        started = time.monotonic()
        bench.audit(sides["grown"]["env"])
        print(f"verify-ledger took {time.monotonic() - started:.1f} s")
        for table in ("accounts", "transaction_logs"):
            print(run("psql", sides["grown"]["conninfo"], "-AtXc",
                      f"SELECT '{table}: ' || pg_size_pretty(pg_relation_size('{table}')) || ', indexes ' || "
                      f"pg_size_pretty(pg_indexes_size('{table}'))").strip())
    finally:
        for side in locals().get("sides", {}).values():
            side["service"].stop()
        bench.stop()


if __name__ == "__main__":
    main()
