# SPDX-License-Identifier: MIT
"""bench/micro/run: the C micro-benchmarks under several allocators, timed or counted in instructions."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from bench.lib import peers
from bench.lib.results import Results
from pyarena import allocators
from pyarena.running import RunError
from pyarena.table import Figure

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


def patterns(program: Path) -> list[str]:
    """The names of all patterns."""
    listing = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in listing.splitlines()]


def time_patterns(results: Results, columns: list[allocators.Allocator], arguments: argparse.Namespace) -> None:
    """All rounds, a pattern at a time, the order of the allocators rotating."""
    program = peers.build("micro")
    for number, turn in peers.in_turns(columns, arguments.rounds):
        for pattern in arguments.pattern or patterns(program):
            for column in turn:
                peers.say(f"round {number} {pattern} {column.name}")
                for size in arguments.size or [None]:
                    limits = [] if size is None else ["--size", size]
                    lines, _ = peers.run([program, "--operations", arguments.operations, *limits, pattern], column)
                    for name, block, _, nanoseconds, resident in lines:
                        figures = {"nanoseconds": float(nanoseconds), "resident": float(resident)}
                        results.add(f"{name} {block}", column.name, figures)


def count_instructions(results: Results, columns: list[allocators.Allocator], arguments: argparse.Namespace) -> None:
    """By callgrind, as the difference of two runs of different length: what start-up costs cancels out."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise RunError("valgrind is not installed (Debian: apt-get install valgrind)")
    program = peers.build("micro")
    for pattern in arguments.pattern or _COUNTED_PATTERNS:
        for size in arguments.size or _COUNTED_SIZES:
            for column in columns:
                peers.say(f"counting {pattern} {size} {column.name}")
                totals = []
                with tempfile.TemporaryDirectory(prefix="pyarena-bench-") as directory:
                    tool = [valgrind, "--tool=callgrind", f"--callgrind-out-file={directory}/callgrind.out"]
                    for operations in (20_000, 60_000):
                        work = ["--cold", "--operations", operations, "--size", size, pattern]
                        lines, log = peers.run([*tool, program, *work], column)
                        counted = re.search(r"Collected\s*:\s*(\d+)", log)
                        if counted is None:
                            raise RunError(f"callgrind counted nothing:\n{log}")
                        totals.append((int(counted.group(1)), int(lines[0][2])))
                (less, fewer), (more, longer) = totals
                figures = {"instructions": (more - less) / (longer - fewer)}
                results.add(f"{pattern} {size}", column.name, figures)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = peers.parser("bench/micro/run", _DESCRIPTION)
    made.add_argument("pattern", nargs="*", help="patterns to run (default: all; build/bench/micro --list)")
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
    return made


def main(words: list[str] | None = None) -> int:
    """The program; returns its exit status."""
    arguments = parser().parse_args(words)
    if arguments.instructions:
        return peers.measure(arguments, count_instructions, [_INSTRUCTIONS], is_timed=False)
    return peers.measure(arguments, time_patterns, [_TIME, _MEMORY])
