#!/usr/bin/env python3
"""What the service does with more requests than it can carry out: goodput and latency against the offered rate.

First the peak is looked for (the most 200s a second of an open loop at rising rates), then rounds of rates from a quarter
to three times that peak are run, each round in another order, on one service with default settings but for the rate
limits. Prints medians, and draws the curve with --svg FILE.

The database has the last CPU for itself, as if on a machine of its own; the service and the generator share the first.
On the same CPUs the generator would take from the database what it offers in excess, and the figure would be about that.
"""
import argparse
import json
import os
import pathlib
import random
import re
import resource
import statistics
import subprocess
import sys

from compare import FIRST_ACCOUNT, ROOT, Bench, run

OPEN_LOOP = ROOT / "build/release/open_loop"
FRACTIONS = [0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0]


def offer(bench, rate, seconds, connections, seed):
    done = subprocess.run(
        [OPEN_LOOP, "--port", re.search(r":(\d+)$", bench.service.url)[1], "--token", bench.service.token,
         "--rate", str(rate), "--seconds", str(seconds), "--connections", str(connections), "--seed", str(seed),
         "--workload", bench.options.workload, "--keys", "yes" if bench.options.keys else "no",
         "--accounts-first", str(FIRST_ACCOUNT), "--accounts", str(bench.options.accounts)],
        check=True, capture_output=True, text=True)
    result = json.loads(done.stdout)
    if result["others"]:
        sys.exit(f"answers other than 200 and 503, or none: {result}")
    return result


def find_peak(bench, options):
    best = 0
    for rate in range(options.rate_from, options.rate_to + 1, options.rate_step):
        good = offer(bench, rate, options.seconds, options.connections, rate)["good"]
        best = max(best, good)
        print(f"offered {rate:6d}/s: {good:6.0f}/s", flush=True)
        if good < 0.8 * rate:
            break
    return best


def svg(rows, peak):
    """Goodput, shed requests and P99 against the offered rate."""
    width, height, left, bottom, top = 720, 360, 60, 50, 20
    right_edge = width - 60
    rate_max = max(row["rate"] for row in rows)
    count_max = max(max(row["good"], row["shed"]) for row in rows) * 1.1
    p99_max = max(row["sent_p99_ms"] for row in rows) * 1.25
    x = lambda rate: left + (right_edge - left) * rate / rate_max
    y = lambda value, most: height - bottom - (height - bottom - top) * value / most
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="white"/>']
    for step in range(0, 7):
        rate = rate_max * step / 6
        out.append(f'<line x1="{x(rate):.0f}" y1="{top}" x2="{x(rate):.0f}" y2="{height - bottom}" stroke="#ddd"/>'
                   f'<text x="{x(rate):.0f}" y="{height - bottom + 16}" text-anchor="middle">{rate / peak:.1f}×</text>')
    for step in range(0, 5):
        value = count_max * step / 4
        out.append(f'<text x="{left - 6}" y="{y(value, count_max) + 4:.0f}" text-anchor="end">{value / 1000:.0f}k</text>'
                   f'<text x="{right_edge + 6}" y="{y(value, count_max) + 4:.0f}" fill="#b36b00">{p99_max * step / 4:.0f}</text>')
    def line(name, most, colour, dash=""):
        points = " ".join(f"{x(row['rate']):.1f},{y(row[name], most):.1f}" for row in rows)
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>')
        out.extend(f'<circle cx="{x(row["rate"]):.1f}" cy="{y(row[name], most):.1f}" r="3" fill="{colour}"/>' for row in rows)
    line("good", count_max, "#1a7f37")
    line("shed", count_max, "#888", "5 4")
    line("sent_p99_ms", p99_max, "#b36b00", "2 3")
    legend = [("#1a7f37", "carried out a second"), ("#888", "refused at once (503) a second"), ("#b36b00", "P99 of what was carried out, ms (right)")]
    for i, (colour, text) in enumerate(legend):
        out.append(f'<rect x="{left + 12}" y="{top + 4 + 16 * i}" width="10" height="10" fill="{colour}"/>'
                   f'<text x="{left + 28}" y="{top + 13 + 16 * i}">{text}</text>')
    out.append(f'<text x="{(left + right_edge) / 2}" y="{height - 12}" text-anchor="middle">offered rate, as a multiple of the peak</text></svg>')
    return "\n".join(out) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.5, help="of each rate")
    parser.add_argument("--connections", type=int, default=9000)
    parser.add_argument("--workload", choices=["deposits", "transfers"], default="transfers")
    parser.add_argument("--keys", action="store_true", help="an Idempotency-Key with every request")
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--fractions", type=float, nargs="+", default=FRACTIONS)
    parser.add_argument("--rate-from", type=int, default=12_000)
    parser.add_argument("--rate-to", type=int, default=100_000)
    parser.add_argument("--rate-step", type=int, default=4_000)
    parser.add_argument("--postgres", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--service", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--svg", type=pathlib.Path)
    options = parser.parse_args()
    # Descriptors on both sides of every connection.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2 * options.connections + 1000), hard))
    bench = Bench(options)
    try:
        cpus = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cpus[-1]})
        bench.start_database()
        run("psql", bench.conninfo, "-qXc",  # nothing but overload is to be refused
            "UPDATE transfer_limits SET daily_limit = 9999999999.99, transaction_limit = 2000000000")
        os.sched_setaffinity(0, {cpus[0]})
        bench.start_service()
        offer(bench, options.rate_from, 2, options.connections, 0)  # warms up
        peak = find_peak(bench, options)
        print(f"peak: {peak:.0f}/s")
        results = {fraction: [] for fraction in options.fractions}
        for number in range(options.rounds):
            for fraction in random.Random(number).sample(options.fractions, len(options.fractions)):
                results[fraction].append(offer(bench, round(peak * fraction), options.seconds, options.connections, number))
        rows = []
        for fraction, runs in results.items():
            row = {name: statistics.median(run[name] for run in runs) for name in runs[0]} | {"fraction": fraction}
            rows.append(row)
            print(f"{fraction:4.2f}x  due {row['offered']:6.0f}/s  sent {row['sent']:6.0f}/s  good {row['good']:6.0f}/s  "
                  f"shed {row['shed']:6.0f}/s   since sent P50 {row['sent_p50_ms']:.1f}  P95 {row['sent_p95_ms']:.1f}  "
                  f"P99 {row['sent_p99_ms']:.1f} ms, 503s {row['shed_sent_p99_ms']:.1f} ms   "
                  f"since due P99 {row['p99_ms']:.1f} ms")
        best = max(row["good"] for row in rows)
        print(f"goodput at {rows[-1]['fraction']:.0f}x of the best: {rows[-1]['good'] / best:.2f}")
        bench.audit()
        if options.svg:
            options.svg.write_text(svg(rows, peak))
    finally:
        bench.stop()


if __name__ == "__main__":
    main()
