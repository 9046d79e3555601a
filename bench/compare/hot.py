#!/usr/bin/env python3
"""Deposits on uniform accounts against deposits on 10 accounts and on a single one, in alternating rounds.

A database that locks a row per request slows down by a factor when everybody wants the same row. A batch writes an
account once however often it is hit, so here hot accounts should cost nothing.
"""
import argparse
import statistics

from compare import Bench


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each run")
    parser.add_argument("--connections", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--hot", type=int, nargs="+", default=[10, 1])
    parser.add_argument("--postgres", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--service", nargs="*", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    options.workload = "deposits"
    connections_all, uniform = options.connections, options.accounts
    bench = Bench(options)
    try:
        bench.start_database()
        bench.start_service()
        for connections in connections_all:
            options.connections = connections
            ratios = {hot: [] for hot in options.hot}
            bench.wrk(0)
            for number in range(1, options.rounds + 1):
                options.accounts = uniform
                base = bench.wrk(number)["per_second"]
                line = f"{connections} connections, round {number}: {uniform} accounts {base:.0f}/s"
                for hot in options.hot:
                    options.accounts = hot
                    found = bench.wrk(number)["per_second"]
                    ratios[hot].append(found / base)
                    line += f"   {hot} accounts {found:.0f}/s ({found / base:.2f})"
                print(line, flush=True)
            options.accounts = uniform
            for hot, found in ratios.items():
                print(f"median, {connections} connections: {hot} accounts against {uniform}: {statistics.median(found):.2f}")
        bench.audit()
    finally:
        bench.stop()


if __name__ == "__main__":
    main()
