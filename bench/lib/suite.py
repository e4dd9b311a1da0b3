# SPDX-License-Identifier: MIT
"""bench/mimalloc-bench: the C and C++ programs of mimalloc-bench under several allocators."""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.lib import peers
from bench.lib.results import FIGURES, Results
from pyarena import table
from pyarena.allocators import Allocator
from pyarena.running import RunError, failure
from pyarena.table import Figure

_DESCRIPTION = """\
Time the C and C++ programs of mimalloc-bench, and read their peak, under several allocators.

DIRECTORY is a clone of https://github.com/daanx/mimalloc-bench whose programs are built in its out/bench, as its own
build-bench-env.sh does.  Programs and parameters are those of its bench.sh, of those that need nothing else than a
compiler; what is not built is left out.
"""

_FIGURES = (
    Figure("seconds", "time, s", table.seconds, "of the program, or for an amount of the work that it says it did"),
    FIGURES["peak"],
)
_LOOK_S = 0.02  # between two looks at the peak


@dataclass(frozen=True)
class Entry:
    """A program as bench.sh runs it.

    words: {all} stands for the number of processors.
    stdin: a file of the clone.
    seconds: makes a time of what the program says, for those that run for a fixed time or sleep.
    """

    name: str
    words: str
    stdin: str | None = None
    seconds: Callable[[str], float] | None = None


def _said(pattern: str, amount: float | None = None) -> Callable[[str], float]:
    """A time that the program says itself; or, of a rate or a count, the time for an amount of work."""

    def seconds(output: str) -> float:
        found = re.search(pattern, output)
        number = float(found[1]) if found else 0.0
        if number == 0:
            raise RunError(f"says no number where {pattern!r} is expected: {output!r}")
        return number if amount is None else amount / number

    return seconds


_ENTRIES = (
    Entry("cfrac", "cfrac 17545186520507317056371138836327483792789528"),
    Entry("espresso", "espresso ../../bench/espresso/largest.espresso"),
    Entry("barnes", "barnes", stdin="bench/barnes/input"),
    Entry("alloc-test1", "alloc-test 1"),
    Entry("alloc-testN", "alloc-test {all}"),
    Entry("larsonN", "larson 5 8 1000 5000 100 4141 {all}", seconds=_said(r"relative time: ([0-9.]+)s")),
    Entry("larsonN-sized", "larson-sized 5 8 1000 5000 100 4141 {all}", seconds=_said(r"relative time: ([0-9.]+)s")),
    Entry("xmalloc-testN", "xmalloc-test -w {all} -t 5 -s 64", seconds=_said(r"rtime: ([0-9.]+)")),
    Entry("cache-thrash1", "cache-thrash 1 1000 1 2000000 {all}"),
    Entry("cache-thrashN", "cache-thrash {all} 1000 1 2000000 {all}"),
    Entry("cache-scratch1", "cache-scratch 1 1000 1 2000000 {all}"),
    Entry("cache-scratchN", "cache-scratch {all} 1000 1 2000000 {all}"),
    Entry("malloc-large", "malloc-large"),
    Entry("mstressN", "mstress {all} 50 25"),
    Entry("mleak10", "mleak 5"),
    Entry("mleak100", "mleak 50"),
    Entry(
        "rptestN", "rptest {all} 0 1 2 500 1000 100 8 16000", seconds=_said(r"\.\.\.([0-9]+) memory ops", amount=2e6)
    ),
    Entry("glibc-simple", "glibc-simple"),
    Entry("glibc-thread", "glibc-thread {all}", seconds=_said(r"^([0-9.]+)", amount=1e9)),
)


def _peak_of(process: subprocess.Popen[bytes]) -> int:
    """The high-water mark so far, in bytes; 0 when the process has ended."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _watched(
    process: subprocess.Popen[bytes], began: float, timeout: float
) -> tuple[dict[str, float], str | None]:
    """Wait for the end: the figures, and what went wrong.  What getrusage tells of a peak begins with this process's own."""
    peak, wrong = 0, None
    has_ended = threading.Event()

    def watch() -> None:
        nonlocal peak, wrong
        while not has_ended.wait(_LOOK_S):
            peak = max(peak, _peak_of(process))
            if time.perf_counter() - began > timeout:
                wrong = f"took more than {timeout:g} s"
                os.kill(process.pid, signal.SIGKILL)  # not process.kill(), which may wait for it
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # its number stays its own
        took = time.perf_counter() - began
    finally:
        has_ended.set()
        watcher.join()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    figures = {"seconds": took, "whole_cpu_seconds": usage.ru_utime + usage.ru_stime, "whole_faults": usage.ru_minflt}
    return figures | ({"peak": peak} if peak else {}), wrong  # no peak: it ended before it was looked at


def _run(entry: Entry, clone: Path, column: Allocator, timeout: float) -> dict[str, float]:
    """Run once."""
    words = entry.words.format(all=len(os.sched_getaffinity(0))).split()
    built = clone / "out" / "bench"
    command = [str(built / words[0]), *words[1:]]
    with open(clone / entry.stdin if entry.stdin else os.devnull, "rb") as source, tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=built,
            env=column.environment(os.environ, reproducible=True),
            stdin=source,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        figures, wrong = _watched(process, began, timeout)
        output.seek(0)
        said = output.read().decode(errors="replace")
    if wrong:
        raise RunError(f"{' '.join(command)} {wrong}")
    if process.returncode != 0:
        raise failure(command, process.returncode, said)
    if entry.seconds:
        figures["seconds"] = entry.seconds(said)
    return figures


def _chosen(clone: Path, names: list[str]) -> list[Entry]:
    there = []
    for entry in peers.named(_ENTRIES, names):
        if (clone / "out" / "bench" / entry.words.split()[0]).exists():
            there.append(entry)
        else:
            peers.say(f"{entry.name} is left out: it is not built")
    if not there:
        raise RunError(f"no program of mimalloc-bench is built in {clone / 'out' / 'bench'}")
    return there


def time_suite(results: Results, columns: list[Allocator], arguments: argparse.Namespace) -> None:
    """All rounds, a program at a time, the order of the allocators rotating."""
    clone = arguments.directory.absolute()
    entries = _chosen(clone, arguments.program)
    for number, turn in peers.in_turns(columns, arguments.rounds):
        for entry in entries:
            for column in turn:
                head = f"round {number} {entry.name} {column.name}"
                try:
                    figures = _run(entry, clone, column, arguments.timeout)
                except (RunError, OSError) as error:
                    results.failures.append(f"{head}: {error}")
                    continue
                results.add(entry.name, column.name, figures)
                peers.say(f"{head}: {figures['seconds']:.3f} s, peak {table.megabytes(figures.get('peak'))} MB")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    names = " ".join(entry.name for entry in _ENTRIES)
    made = peers.parser("bench/mimalloc-bench", _DESCRIPTION, rounds=3)
    made.add_argument("directory", type=Path, metavar="DIRECTORY", help="a clone of mimalloc-bench, built")
    made.add_argument("program", nargs="*", help=f"programs to run (default: {names})")
    made.add_argument("--timeout", type=float, default=600.0, metavar="S", help="longest single run (default: 600)")
    return made


def main(words: list[str] | None = None) -> int:
    """The program; returns its exit status."""
    return peers.measure(parser().parse_args(words), time_suite, _FIGURES, is_of_best=True)
