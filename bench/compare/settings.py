#!/usr/bin/env python3
"""The service with some settings against the service with others, in alternating rounds of `wrk` on one private cluster.

What to quote is the median of the rounds' quotients, the second over the first, and what a request costs the service in
CPU time: that hardly depends on what else the machine does. CPU time over that of a whole request (all CPUs' time over
the rate) says what share of throughput a difference can cost where CPUs are what there is too little of.

  bench/compare/settings.py --second RATE_LIMIT_ENABLED=true RATE_LIMIT_DEPOSITS=1000000/second
  bench/compare/settings.py --first LOG_LEVEL=ERROR --second LOG_LEVEL=INFO
"""
import argparse
import copy
import os
import socket
import statistics

import compare


def start(database, options, service_settings):
    bench = copy.copy(database)
    bench.options = options
    bench.folder = database.folder / str(len(list(database.folder.iterdir())))
    bench.folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]  # not left to the service, which logs it at a level that may be switched off
    bench.env = database.env | {"SERVICE_PORT": str(port), "LOG_DIR": str(bench.folder / "logs")}
    bench.env |= dict(setting.split("=", 1) for setting in service_settings)
    bench.start_service(os.devnull if options.stderr == "null" else None)
    return bench


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the first")
    parser.add_argument("--second", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the second")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=4, help="of each run")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--workload", choices=["deposits", "mixed"], default="deposits")
    parser.add_argument("--stderr", choices=["file", "null"], default="file", help="where their logs go besides LOG_DIR")
    options = parser.parse_args()
    options.postgres = options.service = []

    database = compare.Bench(options)
    services = []
    try:
        database.start_database()
        services = [start(database, options, settings) for settings in (options.first, options.second)]
        for service in services:
            service.wrk(0)  # warms up, not counted
        quotients, rates, costs = [], ([], []), ([], [])
        for number in range(1, options.rounds + 1):
            order = (0, 1) if number % 2 else (1, 0)
            for which in order:
                result = services[which].wrk(number)
                rates[which].append(result["per_second"])
                costs[which].append(result["service_us"])
            quotients.append(rates[1][-1] / rates[0][-1])
            print(f"round {number}: first {rates[0][-1]:8.0f}/s   second {rates[1][-1]:8.0f}/s   "
                  f"quotient {quotients[-1]:.3f}", flush=True)
        print(f"medians: first {statistics.median(rates[0]):.0f}/s, second {statistics.median(rates[1]):.0f}/s, "
              f"quotient {statistics.median(quotients):.3f} ({min(quotients):.3f} to {max(quotients):.3f})")
        cost = [statistics.median(of) for of in costs]
        whole = len(os.sched_getaffinity(0)) * 1e6 / statistics.median(rates[0])
        print(f"CPU of the service a request: first {cost[0]:.2f} us, second {cost[1]:.2f} us; "
              f"the difference is {(cost[1] - cost[0]) / whole:.3f} of what a request costs all CPUs ({whole:.1f} us)")
    finally:
        for service in services:
            service.service.stop()
        database.stop()


if __name__ == "__main__":
    main()
