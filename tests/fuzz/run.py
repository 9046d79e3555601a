#!/usr/bin/env python3
"""Runs every fuzz target for a bounded time:  run.py BUILD_DIR KEPT_DIR SECONDS SEED [TARGET...]

SEED is libFuzzer's, the same for every target; 0: another one each time, which the target's log names.
Two targets run at once at most, one a core. What they find new is kept in KEPT_DIR/corpus/NAME and tried first the next
time, crashes in KEPT_DIR/crashes. The last line has the counts; the exit status is 1 when anything was found.
"""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
INPUT_BYTES_MAX = 16384
INPUT_SECONDS_MAX = 20  # one input, sanitized, on a busy machine
MEMORY_MB_MAX = 2048


def run(build, kept, name, seconds, seed):
    """(name, inputs tried, new ones kept, the end of the log if something was found else "")"""
    seeds = HERE / "corpus" / name
    grown = kept / "corpus" / name
    crashes = kept / "crashes"
    grown.mkdir(parents=True, exist_ok=True)
    crashes.mkdir(parents=True, exist_ok=True)
    before = len(list(grown.iterdir()))
    command = [
        str(build / f"{name}_fuzz"), f"-max_total_time={seconds}", f"-seed={seed}",
        f"-artifact_prefix={crashes}/{name}-", f"-max_len={INPUT_BYTES_MAX}", f"-timeout={INPUT_SECONDS_MAX}",
        f"-rss_limit_mb={MEMORY_MB_MAX}", "-print_final_stats=1", "-verbosity=1"]
    dictionary = HERE / "dictionaries" / f"{name}.dict"
    if dictionary.exists():
        command.append(f"-dict={dictionary}")
    # Inputs that leak are looked for while running; at exit only libFuzzer's own leaks are left.
    done = subprocess.run(command + [str(grown), str(seeds)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env=os.environ | {"ASAN_OPTIONS": "leak_check_at_exit=0"})
    log = done.stdout.decode(errors="replace")
    (kept / f"{name}.log").write_text(log)
    tried = re.search(r"number_of_executed_units: (\d+)", log)
    count = int(tried.group(1)) if tried else 0
    wrong = "" if done.returncode == 0 and count > 0 else "\n".join(log.splitlines()[-60:]) or "no output"
    return name, count, len(list(grown.iterdir())) - before, wrong


def main():
    build, kept = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
    seconds, seed = int(sys.argv[3]), int(sys.argv[4])
    names = sys.argv[5:] or sorted(path.name.removesuffix("_fuzz.cc") for path in HERE.glob("*_fuzz.cc"))
    total, broken = 0, []
    with concurrent.futures.ThreadPoolExecutor(min(2, len(os.sched_getaffinity(0)))) as pool:
        for name, count, new, wrong in pool.map(lambda name: run(build, kept, name, seconds, seed), names):
            print(f"{name:20} {count:>12,} inputs {new:>6,} new" + ("   FOUND SOMETHING" if wrong else ""), flush=True)
            if wrong:
                print(wrong, flush=True)
                broken.append(name)
            total += count
    found = f"{len(broken)} broken: {' '.join(broken)}; see {kept}/crashes" if broken else "0 broken"
    print(f"fuzz: {len(names)} targets, {seconds} s each, {total:,} inputs, {found}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
