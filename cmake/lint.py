#!/usr/bin/env python3
"""Checks formatting and runs static analysis over our own sources:  lint.py BUILD_DIR

clang-format checks every .h and .cc file, clang-tidy every .cc file that the build compiles (headers through them), with
the commands in BUILD_DIR/compile_commands.json. Analysis is slow, so a file found clean is remembered under build/lint by
a hash of everything that its verdict depends on: the command, the settings, the file, and our headers it includes.
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ["core", "net", "db", "app", "bench", "tests"]
CLANG_FORMAT = "clang-format-19"
CLANG_TIDY = "clang-tidy-19"
INCLUDE = re.compile(rb'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


def our_sources():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *FOLDERS],
        cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return sorted({ROOT / name for name in listed if name.endswith((".h", ".cc")) and (ROOT / name).exists()})


def with_headers(source):
    """The file and our headers that it includes, directly or not. Too many does no harm, so no preprocessor is needed."""
    found, open_files = set(), [source]
    while open_files:
        file = open_files.pop()
        if file in found or not file.is_file():
            continue
        found.add(file)
        for name in INCLUDE.findall(file.read_bytes()):
            open_files += [ROOT / name.decode(), file.parent / name.decode()]
    return sorted(found)


def verdict_key(source, command):
    key = hashlib.sha256(command.encode())
    for file in [ROOT / ".clang-tidy", pathlib.Path(__file__), *with_headers(source)]:
        key.update(str(file).encode() + b"\0" + file.read_bytes() + b"\0")
    return key.hexdigest()


def tidy(source, command, build):
    """The complaints about one file; empty if there are none."""
    stamp = ROOT / "build/lint" / verdict_key(source, command)
    if stamp.exists():
        return ""
    # Walking every path through GoogleTest's macros takes long and says nothing about the service; fixed seeds and
    # strings put together the short way are right in tests.
    lighter = []
    if source.is_relative_to(ROOT / "tests") or source.is_relative_to(ROOT / "bench"):
        lighter = ["--checks=-clang-analyzer-*,-cert-msc5*,-performance-inefficient-*,-bugprone-suspicious-missing-comma"]
    # The build may use GCC, some of whose options Clang does not know; those say nothing about the code.
    done = subprocess.run(
        [CLANG_TIDY, "--quiet", f"-p={build}", *lighter, "--extra-arg=-Wno-unknown-warning-option",
         "--extra-arg=-Wno-ignored-optimization-argument", str(source)],
        cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 0:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()
        return ""
    return done.stdout + "".join(line for line in done.stderr.splitlines(True) if "generated." not in line)


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    sources = our_sources()
    bad = 0

    if sources and subprocess.run([CLANG_FORMAT, "--dry-run", "--Werror", *map(str, sources)], cwd=ROOT).returncode != 0:
        print(f"Formatting differs; {CLANG_FORMAT} -i FILE puts it right.")
        bad += 1

    commands = {pathlib.Path(entry["file"]): entry["command"]
                for entry in json.loads((build / "compile_commands.json").read_text())}
    compiled = [source for source in sources if source in commands]
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for complaints in pool.map(lambda source: tidy(source, commands[source], build), compiled):
            if complaints:
                print(complaints, end="", flush=True)
                bad += 1

    print(f"lint: {len(sources)} files formatted, {len(compiled)} analysed, " + (f"{bad} with findings" if bad else "clean"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
