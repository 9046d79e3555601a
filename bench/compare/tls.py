#!/usr/bin/env python3
"""The service with TLS against the same service without, over keep-alive connections, in alternating rounds.

Both run on one private cluster, and only one is loaded at a time. The load generator encrypts on the same cores, so what
is compared is a machine that does all of it. Quoted is the median of the rounds' quotients.

  bench/compare/tls.py                      deposits, 64 connections, five rounds
  bench/compare/tls.py --workload livez     nothing but HTTP: the worst that TLS can do to a request
"""
import argparse
import pathlib
import statistics
import sys

import compare

CERTIFICATE = compare.ROOT / "deploy/dev/certificate.sh"


class Side(compare.Bench):
    """One service on the cluster of another Bench."""

    def __init__(self, bench, tls):
        super().__init__(bench.options)
        self.conninfo = bench.conninfo
        self.env = bench.env | {"LOG_DIR": str(self.folder / "logs")}
        self.scheme = "https" if tls else "http"
        if tls:
            compare.run(CERTIFICATE, self.folder / "tls")
            self.env |= {"TLS_CERT_FILE": str(self.folder / "tls/certificate.pem"),
                         "TLS_KEY_FILE": str(self.folder / "tls/key.pem")}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each run")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--workload", choices=["deposits", "mixed", "livez"], default="deposits")
    parser.add_argument("--postgres", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the server")
    parser.add_argument("--service", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the service")
    return parser.parse_args()


def main():
    options = parse()
    if not compare.SERVICE.exists():
        sys.exit(f"{compare.SERVICE} is missing; make build makes it")
    bench = compare.Bench(options)
    sides = []
    try:
        bench.start_database()
        for tls in (False, True):
            sides.append(Side(bench, tls))
            sides[-1].start_service()
            sides[-1].wrk(0)  # warms it up, not counted
        rows = []
        for number in range(1, options.rounds + 1):
            plain, tls = (side.wrk(number) for side in (sides if number % 2 else sides[::-1]))
            if number % 2 == 0:
                plain, tls = tls, plain
            rows.append({"plain": plain, "tls": tls, "ratio": tls["per_second"] / plain["per_second"]})
            print(f"round {number}: plain {plain['per_second']:8.0f}/s P99 {plain['p99_us'] / 1000:.2f} ms   "
                  f"TLS {tls['per_second']:8.0f}/s P99 {tls['p99_us'] / 1000:.2f} ms   ratio {rows[-1]['ratio']:.2f}",
                  flush=True)
        median = lambda pick: statistics.median(pick(row) for row in rows)
        print(f"median of {len(rows)}: plain {median(lambda r: r['plain']['per_second']):.0f}/s, "
              f"TLS {median(lambda r: r['tls']['per_second']):.0f}/s, ratio {median(lambda r: r['ratio']):.2f} "
              f"({min(r['ratio'] for r in rows):.2f} to {max(r['ratio'] for r in rows):.2f}), "
              f"P50 {median(lambda r: r['plain']['p50_us']) / 1000:.2f} and {median(lambda r: r['tls']['p50_us']) / 1000:.2f} ms, "
              f"P99 {median(lambda r: r['plain']['p99_us']) / 1000:.2f} and {median(lambda r: r['tls']['p99_us']) / 1000:.2f} ms")
    finally:
        for side in sides:
            side.stop()
        bench.stop()


if __name__ == "__main__":
    main()
