# SPDX-License-Identifier: MIT
"""bench/micro/run: the C micro-benchmarks under several allocators, timed or counted in instructions."""

from __future__ import annotations

import argparse
import csv
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from bench.lib.results import Results
from bench.lib.tree import PYARENA_LIBRARY, ROOT
from pyarena import allocators, machine
from pyarena.table import Figure

_SOURCE = ROOT / "bench" / "micro" / "micro.c"
_PROGRAM = ROOT / "build" / "bench" / "micro"
_BASE = "glibc"
_TIME = Figure("nanoseconds", "ns an operation", "{:.1f}".format, "wall time of one operation")
_MEMORY = Figure("resident", "resident, MB", lambda size: f"{(size or 0) / 2**20:.1f}", "resident after the pattern")
_INSTRUCTIONS = Figure("instructions", "instructions", "{:.1f}".format, "instructions of one operation")
_COUNTED_PATTERNS = ("pair", "lifo")
_COUNTED_SIZES = (16, 64, 256, 512)

_DESCRIPTION = """\
Time single calls of malloc and its family, in C, under several allocators.

glibc is the base; the others are preloaded.  An operation is one malloc with its free (or one realloc).
The numbers include the loop around the call, the same few instructions in every column.
"""


class MicroError(Exception):
    """The program could not be built or run."""


def build() -> Path:
    """Compile the program unless it is newer than its source."""
    if _PROGRAM.exists() and _PROGRAM.stat().st_mtime > _SOURCE.stat().st_mtime:
        return _PROGRAM
    compiler = os.environ.get("CC") or "cc"
    _PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    command = [*compiler.split(), "-std=gnu11", "-O2", "-g", "-pthread", "-o", str(_PROGRAM), str(_SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MicroError(f"{' '.join(command)} failed:\n{done.stderr}")
    return _PROGRAM


def patterns(program: Path) -> list[str]:
    """The names of all patterns."""
    listing = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in listing.splitlines()]


def run(command: list[str], column: allocators.Allocator) -> tuple[list[list[str]], str]:
    """The program's CSV lines and its standard error."""
    environment = column.environment(os.environ, reproducible=True)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MicroError(f"{' '.join(command)} under {column.name} ended with {done.returncode}:\n{done.stderr}")
    return list(csv.reader(done.stdout.splitlines())), done.stderr


def time_patterns(results: Results, columns: list[allocators.Allocator], arguments: argparse.Namespace) -> None:
    """All rounds, a pattern at a time, the order of the allocators rotating."""
    program = str(build())
    for number in range(arguments.rounds):
        turn = number % len(columns)
        for pattern in arguments.pattern:
            for column in columns[turn:] + columns[:turn]:
                _say(f"round {number + 1} {pattern} {column.name}")
                for size in arguments.size or [None]:
                    limits = [] if size is None else ["--size", str(size)]
                    lines, _ = run([program, "--operations", str(arguments.operations), *limits, pattern], column)
                    for name, block, _, nanoseconds, resident in lines:
                        figures = {"nanoseconds": float(nanoseconds), "resident": float(resident)}
                        results.add(f"{name} {block}", column.name, figures)


def count_instructions(results: Results, columns: list[allocators.Allocator], arguments: argparse.Namespace) -> None:
    """By callgrind, as the difference of two runs of different length: what start-up costs cancels out."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise MicroError("valgrind is not installed (Debian: apt-get install valgrind)")
    program = str(build())
    for pattern in arguments.pattern:
        for size in arguments.size or _COUNTED_SIZES:
            for column in columns:
                _say(f"counting {pattern} {size} {column.name}")
                totals = []
                with tempfile.TemporaryDirectory(prefix="pyarena-bench-") as directory:
                    tool = [valgrind, "--tool=callgrind", f"--callgrind-out-file={directory}/callgrind.out"]
                    for operations in (20_000, 60_000):
                        work = ["--cold", "--operations", str(operations), "--size", str(size), pattern]
                        lines, log = run([*tool, program, *work], column)
                        counted = re.search(r"Collected\s*:\s*(\d+)", log)
                        if counted is None:
                            raise MicroError(f"callgrind counted nothing:\n{log}")
                        totals.append((int(counted.group(1)), int(lines[0][2])))
                (less, fewer), (more, longer) = totals
                figures = {"instructions": (more - less) / (longer - fewer)}
                results.add(f"{pattern} {size}", column.name, figures)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="bench/micro/run", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("pattern", nargs="*", help="patterns to run (default: all; build/bench/micro --list)")
    made.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds to run (default: 5)")
    made.add_argument(
        "--operations", type=int, default=2_000_000, metavar="N", help="operations of each (default: 2,000,000)"
    )
    made.add_argument(
        "--size", type=int, action="append", metavar="BYTES", help="only this size; may be given several times"
    )
    made.add_argument(
        "--instructions",
        action="store_true",
        help="count instructions by valgrind's callgrind instead; they repeat exactly. "
        f"Default patterns {', '.join(_COUNTED_PATTERNS)}, default sizes {', '.join(map(str, _COUNTED_SIZES))}",
    )
    made.add_argument("--allocators", metavar="A,B,…", help="only these columns (glibc is always there)")
    made.add_argument(
        "--lib", action="append", default=[], metavar="NAME=PATH", help="one more allocator, as in bench/run"
    )
    made.add_argument("--csv", type=Path, metavar="FILE", help="write every single measurement as CSV")
    made.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON")
    made.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables as Markdown")
    return made


def _columns(arguments: argparse.Namespace) -> tuple[list[allocators.Allocator], list[str]]:
    """glibc, which is what a C program has without a preload, and the libraries."""
    added = [allocators.parse_library(text) for text in arguments.lib]
    wanted = None
    if arguments.allocators:
        wanted = [*arguments.allocators.split(","), *(one.name for one in added)]
    there, warnings = allocators.collect(wanted, added, library=PYARENA_LIBRARY)
    libraries = [column for column in there if column.library is not None]
    return [replace(there[0], name=_BASE), *libraries], warnings


def main(words: list[str] | None = None) -> int:
    """The program; returns its exit status."""
    arguments = parser().parse_args(words)
    try:
        columns, warnings = _columns(arguments)
        for column in columns:
            allocators.check(column)
        arguments.pattern = arguments.pattern or (
            list(_COUNTED_PATTERNS) if arguments.instructions else patterns(build())
        )
        for warning in [*warnings, None if arguments.instructions else machine.unrest()]:
            if warning:
                _say(f"bench/micro/run: warning: {warning}")
        results = Results([column.name for column in columns], machine.describe(), base=_BASE)
        (count_instructions if arguments.instructions else time_patterns)(results, columns, arguments)
    except (allocators.AllocatorError, MicroError) as error:
        _say(f"bench/micro/run: {error}")
        return 2
    figures = [_INSTRUCTIONS] if arguments.instructions else [_TIME, _MEMORY]
    print(results.text(figures))
    results.write(figures, arguments.csv, arguments.json, arguments.markdown)
    return 0
