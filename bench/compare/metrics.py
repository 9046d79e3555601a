#!/usr/bin/env python3
"""What metrics cost: the same deposits with counters compiled out, with counters, and with counters that are scraped all
the time, in alternating rounds on one private cluster. Also how long a scrape takes under that load.

  cmake -S . -B build/without-metrics -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS=-DTXN_WITHOUT_METRICS
  cmake --build build/without-metrics --target transactions-service
  bench/compare/metrics.py
"""
import argparse
import copy
import http.client
import pathlib
import statistics
import sys
import threading
import time

import compare


class Scraper(threading.Thread):
    """Asks for /metrics again and again, and remembers how long each answer took."""

    def __init__(self, url, per_second):
        super().__init__(daemon=True)
        self.address = url.removeprefix("http://")
        self.pause = 1 / per_second
        self.seconds = []
        self.size = 0
        self.done = threading.Event()

    def run(self):
        connection = http.client.HTTPConnection(self.address)
        while not self.done.wait(self.pause):
            begin = time.perf_counter()
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            page = answer.read()
            self.seconds.append(time.perf_counter() - begin)
            if answer.status != 200:
                sys.exit(f"/metrics answered {answer.status}")
            self.size = len(page)

    def stop(self):
        self.done.set()
        self.join()


def start(database, binary):
    bench = copy.copy(database)
    bench.folder = database.folder / binary.parent.name
    bench.folder.mkdir()
    bench.env = database.env | {"LOG_DIR": str(bench.folder)}
    bench.start_service(binary=binary)
    return bench


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--without", type=pathlib.Path, default=compare.ROOT / "build/without-metrics/transactions-service")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=4, help="of each run")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--scrapes-per-second", type=float, default=10)
    parser.add_argument("--postgres", nargs="*", default=[], metavar="NAME=VALUE")
    parser.set_defaults(workload="deposits", service=[])
    options = parser.parse_args()
    for binary in (compare.SERVICE, options.without):
        if not binary.exists():
            sys.exit(f"{binary} is missing; --help says how to make it")

    first = compare.Bench(options)
    services = []
    try:
        first.start_database()
        services = [start(first, binary) for binary in (options.without, compare.SERVICE)]
        off, on = services
        runs = {"off": [], "on": [], "scraped": []}
        scrapes, size = [], 0
        for service in services:
            service.wrk(0)
        for number in range(1, options.rounds + 1):
            # The order changes, so that whoever comes first does not always.
            for kind in (("off", "on", "scraped"), ("scraped", "on", "off"), ("on", "scraped", "off"))[number % 3]:
                if kind == "scraped":
                    scraper = Scraper(on.service.url, options.scrapes_per_second)
                    scraper.start()
                runs[kind].append((off if kind == "off" else on).wrk(number))
                if kind == "scraped":
                    scraper.stop()
                    scrapes += scraper.seconds
                    size = scraper.size
            print(f"round {number}: " + "   ".join(
                f"{kind} {rows[-1]['per_second']:.0f}/s P99 {rows[-1]['p99_us'] / 1000:.2f} ms"
                for kind, rows in runs.items()), flush=True)
        for kind in ("on", "scraped"):
            ratio = statistics.median(a["per_second"] / b["per_second"] for a, b in zip(runs[kind], runs["off"]))
            p99 = statistics.median(a["p99_us"] / b["p99_us"] for a, b in zip(runs[kind], runs["off"]))
            cpu = statistics.median(a["service_us"] / b["service_us"] for a, b in zip(runs[kind], runs["off"]))
            print(f"{kind} against off, median of {options.rounds}: throughput {ratio:.3f}, P99 {p99:.3f}, "
                  f"CPU of the service a request {cpu:.3f}")
        p99 = statistics.median(a["p99_us"] / b["p99_us"] for a, b in zip(runs["scraped"], runs["on"]))
        print(f"scraped against on: P99 {p99:.3f}; medians " + "   ".join(
            f"{kind} {statistics.median(row['per_second'] for row in rows):.0f}/s "
            f"P99 {statistics.median(row['p99_us'] for row in rows) / 1000:.2f} ms "
            f"CPU {statistics.median(row['service_us'] for row in rows):.2f} us" for kind, rows in runs.items()))
        scrapes.sort()
        print(f"{len(scrapes)} scrapes of {size} bytes under load: median {statistics.median(scrapes) * 1000:.2f} ms, "
              f"P95 {scrapes[int(len(scrapes) * 0.95)] * 1000:.2f} ms, most {scrapes[-1] * 1000:.2f} ms")
    finally:
        for service in services:
            service.service.stop()
        first.stop()


if __name__ == "__main__":
    main()
