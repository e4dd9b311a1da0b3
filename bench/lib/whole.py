# SPDX-License-Identifier: MIT
"""bench/programs: whole programs under several allocators, their time and their peak."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from pathlib import Path

from bench.lib import peers
from bench.lib.measure import measure_command
from bench.lib.programs import PROGRAMS, Program
from bench.lib.results import FIGURES, Results
from pyarena.allocators import Allocator
from pyarena.running import RunError

_DESCRIPTION = """\
Time whole programs under several allocators, and read the peak of their memory in runs of their own.

glibc is the program as it comes; the others are preloaded and nothing more, so CPython's small objects stay with
CPython's own allocator, except under libpyarena.  The peak is of all processes of a program together.
"""


def _chosen(names: list[str]) -> list[Program]:
    """The programs of these names, all if there are none, without those that are not installed."""
    there = []
    for program in peers.named(PROGRAMS, names):
        missing = program.missing()
        if missing:
            peers.say(f"{program.name} is skipped: not installed (Debian: apt-get install {' '.join(missing)})")
        else:
            there.append(program)
    return there


def time_programs(results: Results, columns: list[Allocator], arguments: argparse.Namespace) -> None:
    """All rounds, a program at a time, the order of the allocators rotating."""
    with contextlib.ExitStack() as directories:
        commands = {}
        for program in _chosen(arguments.program):
            directory = directories.enter_context(tempfile.TemporaryDirectory(prefix="pyarena-bench-"))
            commands[program.name] = program.prepare(Path(directory), arguments.scale)
        for number, turn in peers.in_turns(columns, arguments.rounds):
            for name, command in commands.items():
                for column in turn:
                    head = f"round {number} {name} {column.name}"
                    try:
                        figures = measure_command(command, column, timeout=arguments.timeout)
                    except RunError as error:
                        results.failures.append(f"{head}: {error}")
                        continue
                    results.add(name, column.name, figures)
                    peers.say(f"{head}: {figures['seconds']:.3f} s, peak {figures['peak'] / 2**20:.1f} MB")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = peers.parser("bench/programs", _DESCRIPTION, rounds=3)
    made.add_argument("program", nargs="*", help=f"programs to run (default: {' '.join(one.name for one in PROGRAMS)})")
    made.add_argument("--scale", type=float, default=1.0, metavar="X", help="size of the work (default: 1)")
    made.add_argument("--timeout", type=float, default=600.0, metavar="S", help="longest single run (default: 600)")
    return made


def main(words: list[str] | None = None) -> int:
    """The program; returns its exit status."""
    return peers.measure(parser().parse_args(words), time_programs, [FIGURES["time"], FIGURES["peak"]])
