# SPDX-License-Identifier: MIT
"""What the benchmarks share whose programs are any, not Python workloads: columns, rounds, options, C programs.

glibc is the base: the program as it comes.  The others are preloaded, and nothing more.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

from bench.lib.results import Results
from bench.lib.tree import PYARENA_LIBRARY, ROOT
from pyarena import allocators, machine
from pyarena.allocators import Allocator
from pyarena.running import RunError
from pyarena.table import Figure

BASE = "glibc"
_SOURCES = ROOT / "bench" / "micro"
_PROGRAMS = ROOT / "build" / "bench"


class _HasName(Protocol):
    @property
    def name(self) -> str: ...


Named = TypeVar("Named", bound=_HasName)
Work = Callable[[Results, list[Allocator], argparse.Namespace], None]


def parser(name: str, description: str, *, rounds: int = 5) -> argparse.ArgumentParser:
    """A command line with the options that all of these benchmarks have."""
    made = argparse.ArgumentParser(
        prog=name, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--rounds", type=int, default=rounds, metavar="N", help=f"rounds to run (default: {rounds})")
    made.add_argument("--allocators", metavar="A,B,…", help="only these columns (glibc is always there)")
    made.add_argument(
        "--lib", action="append", default=[], metavar="NAME=PATH", help="one more allocator, as in bench/run"
    )
    made.add_argument("--csv", type=Path, metavar="FILE", help="write every single measurement as CSV")
    made.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON")
    made.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables as Markdown")
    return made


def in_turns(columns: Sequence[Allocator], rounds: int) -> Iterator[tuple[int, list[Allocator]]]:
    """The columns of each round with its number, from 1; each begins one column later than the last."""
    for number in range(rounds):
        turn = number % len(columns)
        yield number + 1, [*columns[turn:], *columns[:turn]]


def named(programs: Sequence[Named], names: Sequence[str]) -> list[Named]:
    """The programs of these names, all if there are none.  Raises RunError for an unknown one."""
    known = {program.name: program for program in programs}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise RunError(f"no program {', '.join(unknown)}; known: {', '.join(known)}")
    return [known[name] for name in names] or list(programs)


def say(text: str) -> None:
    """Tell how it goes on."""
    print(text, file=sys.stderr, flush=True)


def build(name: str) -> Path:
    """Compile a program of bench/micro unless it is newer than its sources."""
    source, program = _SOURCES / f"{name}.c", _PROGRAMS / name
    newest = max(path.stat().st_mtime for path in (source, *_SOURCES.glob("*.h")))
    if program.exists() and program.stat().st_mtime > newest:
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    compiler = (os.environ.get("CC") or "cc").split()
    command = [*compiler, "-std=gnu11", "-O2", "-g", "-pthread", "-o", str(program), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RunError(f"{' '.join(command)} failed:\n{done.stderr}")
    return program


def run(command: Sequence[object], column: Allocator) -> tuple[list[list[str]], str]:
    """The CSV lines that a program prints, and its standard error."""
    words = [str(word) for word in command]
    environment = column.environment(os.environ, reproducible=True)
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RunError(f"{' '.join(words)} under {column.name} ended with {done.returncode}:\n{done.stderr}")
    return list(csv.reader(done.stdout.splitlines())), done.stderr


def columns_of(arguments: argparse.Namespace) -> tuple[list[Allocator], list[str]]:
    """The allocators that were asked for, glibc first, and warnings of those that are not there."""
    added = [allocators.parse_library(text) for text in arguments.lib]
    wanted = None
    if arguments.allocators:
        wanted = [*arguments.allocators.split(","), *(one.name for one in added)]
    there, warnings = allocators.collect(wanted, added, library=PYARENA_LIBRARY)
    base, libraries = there[0], [column for column in there if column.library is not None]
    return [replace(base, name=BASE), *map(_preloaded_alone, libraries)], warnings


def _preloaded_alone(column: Allocator) -> Allocator:
    kept = tuple(pair for pair in column.variables if pair[0] != "PYTHONMALLOC")
    return replace(column, variables=kept)


def measure(
    arguments: argparse.Namespace,
    work: Work,
    figures: Sequence[Figure],
    *,
    is_timed: bool = True,
    is_absolute: bool = False,
    is_of_best: bool = False,
    has_mean: bool = True,
) -> int:
    """Have the work done, show and write its results; returns the exit status."""
    name = Path(sys.argv[0]).name
    try:
        columns, warnings = columns_of(arguments)
        for column in columns:
            allocators.check(column)
        for warning in [*warnings, machine.unrest() if is_timed else None]:
            if warning:
                say(f"{name}: warning: {warning}")
        facts = machine.describe() | {"rounds": arguments.rounds}
        results = Results([column.name for column in columns], facts, BASE, is_absolute, is_of_best, has_mean)
        work(results, columns, arguments)
    except (allocators.AllocatorError, RunError) as error:
        say(f"{name}: {error}")
        return 2
    print(results.text(figures))
    results.write(figures, arguments.csv, arguments.json, arguments.markdown)
    for failure in results.failures:
        say(f"{name}: failed: {failure}")
    return 1 if results.failures else 0
