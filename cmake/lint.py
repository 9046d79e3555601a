#!/usr/bin/env python3
"""Checks formatting and runs static analysis over our own sources:  lint.py BUILD_DIR [--deep]

clang-format checks every .h and .cc file, clang-tidy every .cc file that the build compiles (headers through them), with
the commands in BUILD_DIR/compile_commands.json. Analysis is slow, so a file found clean is remembered under build/lint by
a hash of everything that its verdict depends on: the command, the settings, the file, and our headers it includes.

Without --deep the analyzer walks fewer paths of each function, and tests are not analysed: ten minutes instead of an hour.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ["core", "net", "db", "app", "bench", "tests"]
CLANG_FORMAT = "clang-format-19"
CLANG_TIDY = "clang-tidy-19"
COMMANDS = ROOT / "build/lint/commands"
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


def one_command_a_file(build):
    """The command of each file; clang-tidy finds them in the folder COMMANDS. Some files are compiled several times, with
    planted bugs for instance, and clang-tidy would analyse each of them."""
    entries = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        # GCC's precompiled headers mean nothing to Clang.
        entry["command"] = re.sub(r"-Winvalid-pch|-include \S+/cmake_pch\.hxx", "", entry["command"])
        entries.setdefault(entry["file"], entry)
    COMMANDS.mkdir(parents=True, exist_ok=True)
    (COMMANDS / "compile_commands.json").write_text(json.dumps(list(entries.values())))
    return {pathlib.Path(file): entry["command"] for file, entry in entries.items()}


def options(source, deep):
    """What clang-tidy is told about one file beyond .clang-tidy."""
    found = []
    if source.is_relative_to(ROOT / "tests") or source.is_relative_to(ROOT / "bench"):
        # Walking every path through GoogleTest's macros takes long and says nothing about the service; fixed seeds and
        # strings put together the short way are right in tests.
        found.append("--checks=-clang-analyzer-*,-cert-msc5*,-performance-inefficient-*,-bugprone-suspicious-missing-comma")
    elif not deep:
        found += ["--extra-arg=-Xclang", "--extra-arg=-analyzer-config", "--extra-arg=-Xclang", "--extra-arg=mode=shallow"]
    return found


def stamp(source, command, deep):
    """Exists if the file, as it is, was found clean."""
    key = hashlib.sha256(repr((command, deep)).encode())
    for file in [ROOT / ".clang-tidy", pathlib.Path(__file__), *with_headers(source)]:
        key.update(str(file).encode() + b"\0" + file.read_bytes() + b"\0")
    return ROOT / "build/lint" / key.hexdigest()


def tidy(source, command, deep):
    """The complaints about one file; empty if there are none."""
    clean = stamp(source, command, deep)
    # What is clean in depth is clean.
    if clean.exists() or stamp(source, command, True).exists():
        return ""
    # The build may use GCC, some of whose options Clang does not know; those say nothing about the code.
    done = subprocess.run(
        [CLANG_TIDY, "--quiet", f"-p={COMMANDS}", *options(source, deep), "--extra-arg=-Wno-unknown-warning-option",
         "--extra-arg=-Wno-ignored-optimization-argument", str(source)],
        cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 0:
        clean.touch()
        return ""
    return done.stdout + "".join(line for line in done.stderr.splitlines(True) if "generated." not in line)


def main():
    arguments = argparse.ArgumentParser(description="Checks formatting and runs static analysis over our own sources.")
    arguments.add_argument("build", type=pathlib.Path, help="a configured build folder")
    arguments.add_argument("--deep", action="store_true", help="more paths, and the tests too")
    given = arguments.parse_args()
    sources = our_sources()
    bad = 0

    if sources and subprocess.run([CLANG_FORMAT, "--dry-run", "--Werror", *map(str, sources)], cwd=ROOT).returncode != 0:
        print(f"Formatting differs; {CLANG_FORMAT} -i FILE puts it right.")
        bad += 1

    commands = one_command_a_file(given.build.resolve())
    compiled = [source for source in sources
                if source in commands and (given.deep or not source.is_relative_to(ROOT / "tests"))]
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for complaints in pool.map(lambda source: tidy(source, commands[source], given.deep), compiled):
            if complaints:
                print(complaints, end="", flush=True)
                bad += 1

    print(f"lint: {len(sources)} files formatted, {len(compiled)} analysed, " + (f"{bad} with findings" if bad else "clean"))
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
