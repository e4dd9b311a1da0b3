# SPDX-License-Identifier: MIT
"""bench/compare: one program under several allocators, its memory over time in a table and a picture."""

from __future__ import annotations

import argparse
import csv
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.lib import plot
from bench.lib.measure import Python, reported_figures
from bench.lib.peers import in_turns
from bench.lib.results import Results
from bench.lib.tree import PYARENA_LIBRARY, ROOT
from bench.lib.workloads import SCRIPTS
from pyarena import allocators, machine, table
from pyarena.running import Progress, RunError, Stopwatch, failure, running, sample_to_end, with_end_mark
from pyarena.sample import Sampler

_DEFAULT_PROGRAMS = ("arena_patch", "pinned")
_DEFAULT_ALLOCATORS = "stock,glibc,jemalloc,pyarena"

_DESCRIPTION = """\
Run a Python script under several allocators and show its time and its memory over time.

Without SCRIPT two bundled programs are run: a million objects made, freed and made again; and
many objects all freed but a scattered few.  Memory is resident memory of the process and its
descendants, sampled from outside every few milliseconds.  The script's input is empty; its output goes
to files beside the picture.
"""

# Heading of a column, key of its figure, and whether it is a time.  A workload of ours measures itself:
_REPORTED = (
    ("time, s", "seconds", True),
    ("peak, MB", "peak", False),
    ("after, MB", "after", False),
    ("settled, MB", "settled", False),
)
# and any other script is only seen from outside.
_SAMPLED = (
    ("time, s", "whole_seconds", True),
    ("processor, s", "whole_cpu_seconds", True),
    ("peak, MB", "peak", False),
    ("lowest after peak, MB", "lowest", False),
    ("at end, MB", "end", False),
    ("settled, MB", "settled", False),
)
_REPORTED_NOTE = "after: right after the peak was freed; settled: after two idle seconds."
_SAMPLED_NOTE = "at end: when the script has ended, its objects still alive; settled: after two idle seconds there."
_IDLE_SECONDS = 2.0


@dataclass(frozen=True)
class Program:
    """What is run: a name for it, and the interpreter's arguments."""

    name: str
    words: tuple[str, ...]

    @property
    def is_bundled(self) -> bool:
        """Does it report on itself?"""
        return Path(self.words[0]).resolve().parent == SCRIPTS


def run_once(
    program: Program, allocator: allocators.Allocator, python: Python, logs: Path, head: str, progress: Progress
) -> tuple[dict[str, float], plot.Curve, RunError | None]:
    """Run and sample a program.  Its output goes to two files in logs."""
    command = [str(python.path), *program.words]
    idle = 0.0 if program.is_bundled else _IDLE_SECONDS
    marks, writing_end = os.pipe()
    environment = with_end_mark(allocator.environment(os.environ, reproducible=False), writing_end, idle)
    output_path = logs / f"{program.name}.{allocator.name}.out"
    errors_path = output_path.with_suffix(".err")

    def show(seconds: float, size: int) -> None:
        progress.show(f"{head}: {seconds:.1f} s, {table.megabytes(size)} MB")

    progress.begin(head)
    with output_path.open("wb") as output, errors_path.open("wb") as errors:
        stopwatch = Stopwatch()
        with os.fdopen(marks, "rb", buffering=0) as marked:
            os.set_blocking(marks, False)
            with running(command, environment, output, errors, [writing_end]) as process:
                os.close(writing_end)
                sampler = Sampler(process.pid)
                ends = sample_to_end(process, sampler, marked, show)
        figures = stopwatch.figures()
    if sampler.sizes:
        highest = sampler.sizes.index(max(sampler.sizes))
        figures |= {"peak": sampler.peak, "lowest": min(sampler.sizes[highest:])} | ends
    if "settled" in ends:
        figures["whole_seconds"] -= idle
    if program.is_bundled:
        figures |= reported_figures(output_path.read_text(encoding="utf-8")) or {}
    error = None
    if process.returncode != 0:
        error = failure(command, process.returncode, errors_path.read_text(encoding="utf-8", errors="replace"))
    progress.end(f"{head}: {figures['whole_seconds']:.1f} s, peak {table.megabytes(figures.get('peak'))} MB")
    return figures, plot.Curve(allocator.name, sampler.seconds, sampler.sizes), error


def table_of(program: Program, results: Results) -> str:
    """The figures of one program, a line for each allocator; times also as multiples of stock's."""
    headings = _REPORTED if program.is_bundled else _SAMPLED
    head = [program.name]
    for heading, _, is_time in headings:
        head += [heading, "× stock"] if is_time else [heading]
    rows = []
    for column in results.columns:
        row = [column]
        for _, key, is_time in headings:
            value = results.median(program.name, column, key)
            row.append(table.seconds(value) if is_time else table.megabytes(value))
            if is_time:
                ratio = results.ratio(program.name, column, key)
                row.append("-" if ratio is None else f"{ratio:.2f}")
        rows.append(row)
    return table.text(head, rows) + "\n" + (_REPORTED_NOTE if program.is_bundled else _SAMPLED_NOTE)


def write_samples(panels: list[plot.Panel], path: Path) -> None:
    """Every sample as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["program", "allocator", "seconds", "resident_bytes"])
        for panel in panels:
            for curve in panel.curves:
                for second, size in zip(curve.seconds, curve.sizes):
                    writer.writerow([panel.title, curve.name, f"{second:.4f}", size])


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="bench/compare",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--python", default="python3", metavar="PYTHON", help="interpreter to run (default: python3)")
    made.add_argument(
        "--allocators",
        metavar="A,B,…",
        help=f"columns, of those that bench/run --list shows (default: {_DEFAULT_ALLOCATORS})",
    )
    made.add_argument(
        "--lib",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="one more allocator, as in bench/run; may be given several times",
    )
    made.add_argument("--rounds", type=int, default=1, metavar="N", help="runs of each; medians are shown (default: 1)")
    made.add_argument(
        "--out",
        type=Path,
        default=ROOT / "build" / "try",
        metavar="DIR",
        help="directory for picture, samples and output (default: build/try)",
    )
    made.add_argument("script", nargs=argparse.REMAINDER, metavar="SCRIPT [ARG ...]", help="script and its arguments")
    return made


def _programs(words: list[str]) -> list[Program]:
    if words[:1] == ["--"]:
        words = words[1:]
    if words:
        return [Program(Path(words[0]).stem, tuple(words))]
    return [Program(name, (str(SCRIPTS / f"{name}.py"),)) for name in _DEFAULT_PROGRAMS]


def _columns(arguments: argparse.Namespace, python: Python) -> list[allocators.Allocator]:
    """The allocators to run; a default one that is not there is left out with a warning."""
    added = [allocators.parse_library(text) for text in arguments.lib]
    names = (arguments.allocators or _DEFAULT_ALLOCATORS).split(",") + [one.name for one in added]
    if arguments.allocators:
        columns, _ = allocators.collect(names, added, library=PYARENA_LIBRARY)
    else:
        there, missing = allocators.collect(None, added, library=PYARENA_LIBRARY)
        columns = [column for column in there if column.name in names]
        for text in missing:
            if text.split(" ", 1)[0].removesuffix(".so").removeprefix("lib") in names:
                print(f"warning: {text}", file=sys.stderr)
    for column in columns:
        allocators.check(column, python.path)
    return columns


def run_all(
    arguments: argparse.Namespace,
    programs: list[Program],
    columns: list[allocators.Allocator],
    python: Python,
    results: Results,
    panels: list[plot.Panel],
) -> None:
    """All rounds, the order of the allocators rotating; the first round's samples are drawn."""
    progress, total, done = Progress(), arguments.rounds * len(programs) * len(columns), 0
    for number, turn in in_turns(columns, arguments.rounds):
        for program, panel in zip(programs, panels):
            curves = []
            for column in turn:
                done += 1
                head = f"[{done}/{total}] {program.name} under {column.name}"
                figures, curve, failed = run_once(program, column, python, arguments.out, head, progress)
                results.add(program.name, column.name, figures)
                curves.append(curve)
                if failed is not None:
                    results.failures.append(f"under {column.name}: {failed}")
            if number == 1:
                panel.curves.extend(curves)


def _short(path: Path) -> str:
    """The path as the user would write it from here."""
    whole = path.resolve()
    return str(whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole)


def main(words: list[str] | None = None) -> int:
    """The program; returns its exit status."""
    arguments = parser().parse_args(words)
    programs = _programs(arguments.script)
    try:
        python = Python.resolve(arguments.python)
        columns = _columns(arguments, python)
    except (allocators.AllocatorError, RunError) as error:
        print(f"bench/compare: {error}", file=sys.stderr)
        return 2
    warning = machine.unrest()
    if warning:
        print(f"warning: {warning}", file=sys.stderr)
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    results = Results([column.name for column in columns], {})
    panels = [plot.Panel(program.name, []) for program in programs]
    print(f"CPython {python.version}, {python.path}", file=sys.stderr)
    try:
        run_all(arguments, programs, columns, python, results, panels)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    for program in programs:
        print(f"\n{table_of(program, results)}")
    write_samples(panels, out / "rss.csv")
    try:
        print("\nResident memory over time:", *(_short(path) for path in plot.draw(panels, out / "rss")))
    except plot.PlotError as error:
        results.failures.append(f"no picture: {error}")
    print(f"Samples: {_short(out / 'rss.csv')}; output of each run: {_short(out)}/*.out, *.err")
    for text in results.failures:
        print(f"failed: {text}", file=sys.stderr)
    return 1 if results.failures else 0
