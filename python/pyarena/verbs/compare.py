# SPDX-License-Identifier: MIT
"""Run the same command under several allocators and compare time and memory.

The command runs under stock CPython, glibc, each known allocator that is installed, and libpyarena, in
turns, so that a drift of the machine touches all alike.  Its memory, with that of its descendants, is
sampled from outside every few milliseconds.  "after" is the memory when a Python script has ended and
its objects still live, "settled" the same after idling there.

A server does not end by itself: with --ready-url and --load it is started, waited for, put under
load, left idle and stopped.  The time is then that of the load.

Shown are medians; ± is half the range of the runs.  A difference in time that is not larger than the
range under libpyarena or the other one is none.

What the command and the load write is not shown, unless they fail.  Allocators other than libpyarena
are preloaded with PYTHONMALLOC=malloc, because only so do they own CPython's objects.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pyarena import allocators, machine, table
from pyarena.allocators import Allocator, AllocatorError
from pyarena.command import Refusal, add_words, check_writable, library_of, words_of, write_file
from pyarena.comparison import Comparison
from pyarena.curves import Curve
from pyarena.program import Program
from pyarena.running import Progress, RunError
from pyarena.trial import Load, Trial, run_command, run_server
from pyarena.verbs.run import check

USAGE = "[OPTION ...] -- COMMAND [ARG ...]"
SUMMARY = "compare time and memory of a command under several allocators"
EXAMPLES = """\
  pyarena compare -- python3 job.py
  pyarena compare --with jemalloc,mine=./libmine.so --runs 5 --html job.html -- python3 job.py
  pyarena compare --ready-url http://127.0.0.1:8000/ --load 'ab -n 20000 http://127.0.0.1:8000/' -- gunicorn app
"""


_BAR_WIDTH = 20


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of this verb."""
    parser.add_argument("--with", dest="peers", metavar="A,B,NAME=PATH",
                        help="the allocators beside stock and libpyarena: glibc, jemalloc, mimalloc, tcmalloc, or any "
                        "library under a name of yours (default: all that are installed)")
    parser.add_argument("--runs", type=_positive, default=3, metavar="N", help="runs under each; medians are shown (default: 3)")
    parser.add_argument("--idle", type=_seconds, default=2.0, metavar="S", help='idle seconds before "settled" (default: 2)')
    parser.add_argument("--ready-url", metavar="URL", help="the command is a server, which is ready when this address answers")
    parser.add_argument("--load", metavar="CMD", help="shell command that puts load on the server; goes with --ready-url")
    parser.add_argument("--html", type=Path, metavar="FILE",
                        help="write a page with memory over time, figures and machine; it needs no other file")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON, samples included")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write one line for each run as CSV")
    parser.add_argument("--lib", type=Path, metavar="FILE",
                        help="the libpyarena.so to compare (default: the one installed beside this command)")  # fmt: skip
    add_words(parser)


def _columns(arguments: argparse.Namespace) -> list[Allocator]:
    """The allocators to try.  Raises AllocatorError, Refusal."""
    library = library_of(arguments)
    if arguments.peers is None:
        columns, missing = allocators.collect(None, [], library=library)
        for text in missing:
            print(f"note: {text}", file=sys.stderr)
    else:
        words = [word for word in arguments.peers.split(",") if word]
        added = [allocators.parse_library(word) for word in words if "=" in word]
        names = [word for word in words if "=" not in word] + [one.name for one in added]
        columns, _ = allocators.collect([*names, "pyarena"], added, library=library)
    for column in columns:
        allocators.check(column)
    return columns


class Course:
    """Tells how far the whole has come, and when it will probably have ended."""

    def __init__(self, total: int, now: Callable[[], float] = time.monotonic) -> None:
        self._progress, self._total, self._done, self._now = Progress(), total, 0, now
        self._begin = self._begin_of_run = now()
        is_utf8 = (sys.stderr.encoding or "").lower().startswith("utf")
        self._signs = "█░" if is_utf8 else "#-"

    def _each(self) -> float:
        """Seconds that a run takes; 0 if none has ended yet."""
        return (self._begin_of_run - self._begin) / self._done if self._done else 0.0

    def _come(self) -> float:
        """Runs that have ended, and how much of this one probably has."""
        each = self._each()
        return self._done + (min((self._now() - self._begin_of_run) / each, 0.95) if each else 0.0)

    def left(self) -> str:
        """The time that is left, with a comma before it; empty if it is not known, or none."""
        seconds = self._each() * (self._total - self._come())
        if self._done in (0, self._total):
            return ""
        return f", about {seconds:.0f} s left" if seconds < 99.5 else f", about {seconds / 60:.0f} min left"

    def bar(self) -> str:
        """How far all of it has come."""
        full = int(_BAR_WIDTH * self._come() / self._total)
        return self._signs[0] * full + self._signs[1] * (_BAR_WIDTH - full)

    def begin(self, name: str) -> None:
        """A run begins."""
        self._head = f"[{self._done + 1}/{self._total}] {name}"
        self._progress.begin(self._head)

    def show(self, seconds: float, size: int) -> None:
        """It has come so far."""
        self._progress.show(f"{self.bar()} {self._head}: {seconds:.1f} s, {table.megabytes(size)} MB{self.left()}")

    def end(self, trial: Trial) -> None:
        """It has ended."""
        self._done += 1
        self._begin_of_run = self._now()
        ended = f", FAILED with status {trial.status}" if trial.status else ""
        self._progress.end(f"{self._head}: {table.seconds(trial.figures.get('time'))} s, peak "
                           f"{table.megabytes(trial.figures.get('peak'))} MB{ended}{self.left()}")  # fmt: skip


def _versions(program: Program, library: Path) -> dict[str, object]:
    """What was compared: the program, and libpyarena as it tells of itself."""
    environment = {name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", "PYTHONMALLOC")}
    facts: dict[str, object] = {"program": str(program.path)}
    if program.python:
        done = subprocess.run([program.path, "--version"], env=environment, capture_output=True, text=True, check=False)
        facts["program"] = f"{program.path} ({(done.stdout + done.stderr).strip()})"
    done = subprocess.run(["/bin/true"], env=environment | {"LD_PRELOAD": str(library), "PYARENA_VERBOSE": "1"},
                          capture_output=True, text=True, check=False)  # fmt: skip
    found = re.match(r"pyarena: (\S+) ", done.stderr)
    return facts | {"libpyarena": found[1] if found else "unknown"}


def _tried(words: list[str], load: Load | None, column: Allocator, idle: float, course: Course) -> Trial:
    """One run; of a server that fails under an allocator the failure."""
    if not load:
        return run_command(words, column, idle, course.show)
    try:
        return run_server(words, load, column, idle, course.show)
    except RunError as error:
        return Trial({}, Curve(column.name, [], []), 1, error)


def _measure(arguments: argparse.Namespace, words: list[str], comparison: Comparison) -> None:
    """All rounds, the order of the allocators rotating."""
    columns = comparison.allocators
    load = Load(arguments.ready_url, arguments.load) if arguments.load else None
    course = Course(arguments.runs * len(columns))
    for number in range(arguments.runs):
        turn = number % len(columns)
        for column in columns[turn:] + columns[:turn]:
            course.begin(column.name)
            trial = _tried(words, load, column, arguments.idle, course)
            if trial.error and load and not comparison.trials:
                raise trial.error  # it does not work at all
            course.end(trial)
            if trial.error and not any(one.error for one in comparison.trials.get(column.name, [])):
                print(f"under {column.name}: {trial.error}", file=sys.stderr)
            comparison.add(column.name, trial)


def _width() -> int:
    """Columns of the terminal; as many as wanted where the output is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize


def main(arguments: argparse.Namespace) -> int:
    """Measure, print the table and the verdict, write the files."""
    words = words_of(arguments)
    if (arguments.ready_url is None) != (arguments.load is None):
        raise Refusal("--ready-url and --load go together: when the server is ready, and what it then has to do")
    for path in (arguments.html, arguments.json, arguments.csv):
        if path is not None:
            check_writable(path)
    program = check(words)
    try:
        columns = _columns(arguments)
    except AllocatorError as error:
        raise Refusal(str(error)) from error
    unrest = machine.unrest()
    if unrest:
        print(f"note: {unrest}", file=sys.stderr)
    facts = machine.describe() | _versions(program, library_of(arguments)) | ({"note": unrest} if unrest else {})
    comparison = Comparison(words, columns, arguments.idle, facts)
    is_interrupted = False
    try:
        _measure(arguments, words, comparison)
    except RunError as error:
        raise Refusal(str(error)) from error
    except KeyboardInterrupt:
        if not comparison.trials:
            raise
        is_interrupted = True
        print("\ninterrupted: the figures are those of the runs that had ended", file=sys.stderr)
    print(f"\n{comparison.text(_width())}")
    if arguments.json:
        write_file(arguments.json, comparison.json())
    if arguments.csv:
        write_file(arguments.csv, comparison.csv())
    if arguments.html:
        from pyarena.page import page

        write_file(arguments.html, page(comparison))
    if is_interrupted:
        return 130
    return 1 if any(trial.status for trials in comparison.trials.values() for trial in trials) else 0
