# SPDX-License-Identifier: MIT
"""What it costs a process to be watched.

One process allocates without pause and tells how long each piece of the same work took, and how much processor
time.  It is watched for a while, left alone for a while, and so on, in turns of alternating order, so that a drift of
the machine touches both alike.  Each turn gives a ratio of medians; printed are their median, and the range in which
it lies with a probability of 95 % (bootstrap).
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from pyarena.observed import Group

_ROOT = Path(__file__).resolve().parents[2]
_LIBRARY = _ROOT / "build" / ".libs" / "libpyarena.so"
_DRAWS = 2000

# Keeps some memory, of which there is much to read; then tells, for each piece, when it began and its times.
_WORK = """
import sys, time
kept = [bytes(1000) for _ in range(int(sys.argv[1]) * 1000)]
print(flush=True)
while True:
    began, used = time.monotonic_ns(), time.thread_time_ns()
    for _ in range(4):
        some = [bytes(number % 700) for number in range(20000)]
    print(began, time.monotonic_ns() - began, time.thread_time_ns() - used, flush=True)
"""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lib", type=Path, default=_LIBRARY, metavar="FILE", help="the library (default: the default build's)")
    parser.add_argument("--turns", type=int, default=25, metavar="N", help="how often it is watched (default: 25)")
    parser.add_argument("--seconds", type=float, default=2.0, metavar="S", help="for how long, and left alone (default: 2)")
    parser.add_argument("--interval", type=float, default=1.0, metavar="S", help="between two looks, as of top (default: 1)")
    parser.add_argument("--megabytes", type=int, default=100, metavar="MB", help="that the process keeps (default: 100)")
    return parser.parse_args()


def _watch(pid: int, seconds: float, interval: float) -> int:
    """Look at a process as pyarena top does; returns how often."""
    group, end, count = Group([pid], tree=False), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        group.look()
        count += 1
        time.sleep(max(0.0, min(interval, end - time.monotonic())))
    group.close()
    return count


def _measure(pid: int, arguments: argparse.Namespace) -> tuple[list[tuple[int, int, bool]], int]:
    """Watch and leave alone in turns; returns the slices, each with whether it was watched, and the number of looks."""
    slices, looks = [], 0
    for number in range(arguments.turns):
        for is_watched in (True, False) if number % 2 else (False, True):
            begin = time.monotonic_ns()
            if is_watched:
                looks += _watch(pid, arguments.seconds, arguments.interval)
            else:
                time.sleep(arguments.seconds)
            slices.append((begin, time.monotonic_ns(), is_watched))
    return slices, looks


def _ratios(slices: Sequence[tuple[int, int, bool]], pieces: Sequence[tuple[int, int]]) -> list[float]:
    """Time watched over time alone, for each turn in both of whose slices work was begun."""
    used = [[used for began, used in pieces if begin <= began < end] for begin, end, _ in slices]
    turns = [turn for turn in zip(slices[::2], used[::2], used[1::2]) if turn[1] and turn[2]]
    if not turns:
        sys.exit("no piece of work was begun in both parts of a turn; try more --seconds")
    medians = [(is_watched, statistics.median(first), statistics.median(second)) for (_, _, is_watched), first, second in turns]
    return [first / second if is_watched else second / first for is_watched, first, second in medians]


def _result(name: str, ratios: Sequence[float]) -> str:
    draws = sorted(statistics.median(random.choices(ratios, k=len(ratios))) for _ in range(_DRAWS))
    middle, low, high = (100 * (ratio - 1) for ratio in (statistics.median(ratios), draws[_DRAWS // 40], draws[-_DRAWS // 40]))
    return f"{name}: {middle:+.2f} % ({low:+.2f} to {high:+.2f})"


def main() -> int:
    """Measure and print."""
    arguments = _arguments()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYARENA_", "PYTHON"))}
    environment["LD_PRELOAD"] = str(arguments.lib.resolve())
    with tempfile.TemporaryFile("w+") as output, \
            subprocess.Popen([sys.executable, "-c", _WORK, str(arguments.megabytes)], env=environment, stdout=output) as process:
        try:
            while os.fstat(output.fileno()).st_size == 0:
                if process.poll() is not None:
                    sys.exit(f"{sys.executable} ended with {process.returncode} under {arguments.lib}")
                time.sleep(0.05)
            slices, looks = _measure(process.pid, arguments)
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        lines = output.read().split("\n")[1:-1]  # the first is empty, the last may have been cut
    pieces = [tuple(map(int, line.split())) for line in lines]
    print(f"watched {looks} times in {arguments.turns} turns, {len(pieces)} pieces of work")
    for column, name in ((1, "time"), (2, "processor time")):
        print(_result(name, _ratios(slices, [(piece[0], piece[column]) for piece in pieces])))
    return 0
