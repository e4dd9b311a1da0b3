# SPDX-License-Identifier: MIT
"""bench/run: workloads × allocators, interleaved, and the tables of the result."""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bench.lib import workloads
from bench.lib.beside import Pairs, beside, processors
from bench.lib.measure import Python, measure
from bench.lib.peers import in_turns
from bench.lib.results import DEFAULT_FIGURES, FIGURES, Results, figures_of
from bench.lib.tree import PYARENA_LIBRARY
from pyarena import allocators, machine
from pyarena.running import RunError

_DESCRIPTION = """\
Measure time and memory of Python workloads under several allocators, side by side.

Every round runs each workload under each allocator once, in an order that rotates from round to round.
The tables show stock CPython's medians, and for each other allocator the multiple of stock's; "spread"
is the largest difference between two rounds of one allocator, so a smaller difference means nothing.
MB are 2^20 bytes of resident memory.  docs/benchmarks.md explains workloads and figures.
"""

_EPILOG = """\
examples:
  bench/run                                   everything, five rounds (half an hour)
  bench/run --rounds 1 --scale 0.1            everything, quickly and roughly
  bench/run pinned churn --allocators stock,pyarena
  bench/run --lib mine=./libmine.so --csv result.csv
  bench/run --lib 'keep0=build/.libs/libpyarena.so PYARENA_KEEP_FREE=0'
  bench/run trees churn --beside --rounds 6 --allocators stock,pyarena
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    figures = "\n".join(f"  {name:9} {figure.meaning}" for name, figure in FIGURES.items())
    made = argparse.ArgumentParser(
        prog="bench/run",
        description=_DESCRIPTION,
        epilog=f"figures:\n{figures}\n\n{_EPILOG}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("workload", nargs="*", help="workloads to run (default: all; see --list)")
    made.add_argument("--list", action="store_true", help="list workloads and allocators, and end")
    made.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds to run (default: 5)")
    made.add_argument("--scale", type=float, default=1.0, metavar="X", help="size of the work (default: 1)")
    made.add_argument("--idle", type=float, default=2.0, metavar="S", help='idle seconds before "settled" (default: 2)')
    made.add_argument("--timeout", type=float, default=600.0, metavar="S", help="longest single run (default: 600)")
    made.add_argument(
        "--python",
        action="append",
        metavar="PYTHON",
        help="interpreter to measure; may be given several times (default: python3)",
    )
    made.add_argument("--allocators", metavar="A,B,…", help="only these columns (stock is always there)")
    made.add_argument(
        "--lib",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="one more column (or another library for a known one): the shared object to preload, with "
        "PYTHONMALLOC=malloc unless it is a libpyarena. Variables may follow: 'NAME=PATH VARIABLE=VALUE …'",
    )
    made.add_argument("--plain", action="store_true", help="also preload the peers without PYTHONMALLOC=malloc")
    made.add_argument(
        "--figures",
        metavar="F,G,…",
        help=f"figures to show, or all (default: {DEFAULT_FIGURES})",
    )
    made.add_argument(
        "--beside",
        action="store_true",
        help="run each allocator at the same time as stock, each on one processor, and these change places every "
        "round (so an even number of rounds is fair); the multiples are medians over the pairs, and spread is how far "
        "pairs lie apart. For machines whose speed changes; shows processor time (figure cpu) unless told otherwise, "
        "and no workloads that are whole commands",
    )
    made.add_argument("--absolute", action="store_true", help="show values in all columns, not multiples of stock's")
    made.add_argument("--csv", type=Path, metavar="FILE", help="write every single measurement as CSV")
    made.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON")
    made.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables as Markdown")
    return made


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _list(columns: list[allocators.Allocator]) -> None:
    print("workloads:")
    for workload in workloads.known():
        print(f"  {workload.name:15} {workload.summary}")
    print("\nallocators:")
    for column in columns:
        settings = " ".join(f"{name}={value}" for name, value in column.settings().items())
        print(f"  {column.name:15} {settings or 'CPython as it comes'}")


@dataclass(frozen=True)
class Run:
    """What is measured, and how."""

    columns: list[allocators.Allocator]
    chosen: list[workloads.Workload]
    pythons: list[Python]
    arguments: argparse.Namespace

    def rows(self) -> Iterator[tuple[str, Python, workloads.Workload]]:
        """The rows of the tables."""
        for python in self.pythons:
            for workload in self.chosen:
                yield workload.name if len(self.pythons) == 1 else f"{workload.name} {python.version}", python, workload

    def measure(self, workload: workloads.Workload, column: allocators.Allocator, python: Python) -> dict[str, float]:
        """Once."""
        told = self.arguments
        return measure(workload, column, python, scale=told.scale, idle=told.idle, timeout=told.timeout)


class Step(NamedTuple):
    """What is to be done at one point of a run."""

    number: int  # of the round, from 1
    row: str
    python: Python
    workload: workloads.Workload
    column: allocators.Allocator


def run_all(results: Results, run: Run, columns: list[allocators.Allocator], do: Callable[[Step], str]) -> None:
    """Do each step, which tells what came of it.  A failure is noted in the results and the rest goes on."""
    total = run.arguments.rounds * len(run.pythons) * len(run.chosen) * len(columns)
    done, start = 0, time.monotonic()
    for number, turn in in_turns(columns, run.arguments.rounds):
        for row, python, workload in run.rows():
            for column in turn:
                done += 1
                head = f"[{done}/{total}, {time.monotonic() - start:.0f} s] round {number} {row} {column.name}"
                try:
                    _say(f"{head}: {do(Step(number, row, python, workload, column))}")
                except RunError as error:
                    results.failures.append(f"{row} under {column.name}: {error}")
                    _say(f"{head}: FAILED\n{error}")


def run_in_turns(results: Results, run: Run) -> None:
    """One after the other."""

    def alone(step: Step) -> str:
        figures = run.measure(step.workload, step.column, step.python)
        results.add(step.row, step.column.name, figures)
        return f"{figures['seconds']:.3f} s, peak {figures['peak'] / 2**20:.1f} MB"

    run_all(results, run, run.columns, alone)


def run_beside(results: Pairs, run: Run, places: tuple[int, int]) -> None:
    """Each allocator at the same time as stock."""
    stock = next(column for column in run.columns if column.name == results.base)

    def pair(step: Step) -> str:
        figures, base_figures = beside(
            functools.partial(run.measure, step.workload, step.column, step.python),
            functools.partial(run.measure, step.workload, stock, step.python),
            places if step.number % 2 else places[::-1],
        )
        results.add_pair(step.row, step.column.name, figures, base_figures)
        return f"{figures['cpu_seconds']:.3f} s of processor time, stock {base_figures['cpu_seconds']:.3f} s"

    run_all(results, run, [column for column in run.columns if column is not stock], pair)


def main(words: list[str] | None = None) -> int:
    """The program; returns its exit status."""
    arguments = parser().parse_args(words)
    try:
        added = [allocators.parse_library(text) for text in arguments.lib]
        wanted = arguments.allocators.split(",") if arguments.allocators else None
        columns, warnings = allocators.collect(
            None if wanted is None else [*wanted, *(one.name for one in added)], added, library=PYARENA_LIBRARY, plain=arguments.plain
        )
        if arguments.list:
            _list(columns)
            return 0
        chosen = workloads.select(arguments.workload)
        pythons = [Python.resolve(command) for command in arguments.python or ["python3"]]
        for column in columns:
            for python in pythons:
                allocators.check(column, python.path)
        figures = figures_of(arguments.figures or ("cpu" if arguments.beside else DEFAULT_FIGURES))
        places = processors()
        if arguments.beside:
            scripts = [workload for workload in chosen if workload.script is not None]
            if places is None or len(columns) < 2 or (arguments.workload and scripts != chosen):
                raise RunError("--beside needs two processors, an allocator beside stock, and no whole command")
            chosen = scripts
    except KeyError as error:
        _say(f"bench/run: no figure {error.args[0]}; known: {', '.join(FIGURES)}")
        return 2
    except (allocators.AllocatorError, workloads.WorkloadError, RunError) as error:
        _say(f"bench/run: {error}")
        return 2
    for warning in [*warnings, machine.unrest()]:
        if warning:
            _say(f"bench/run: warning: {warning}")
    facts = machine.describe() | {"rounds": arguments.rounds, "scale": arguments.scale}
    facts |= {"python": ", ".join(python.version for python in pythons)}
    names = [column.name for column in columns]
    run = Run(columns, chosen, pythons, arguments)
    results = (Pairs if arguments.beside else Results)(names, facts, is_absolute=arguments.absolute)
    try:
        if isinstance(results, Pairs) and places:
            run_beside(results, run, places)
        else:
            run_in_turns(results, run)
    except KeyboardInterrupt:
        results.failures.append("interrupted; the tables hold what was measured before")
    print(results.text(figures))
    results.write(figures, arguments.csv, arguments.json, arguments.markdown)
    for failure in results.failures:
        _say(f"bench/run: failed: {failure}")
    return 1 if results.failures else 0
