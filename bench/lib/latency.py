# SPDX-License-Identifier: MIT
"""bench/latency: how long single calls of malloc and free take in a service under churn."""

from __future__ import annotations

import argparse

from bench.lib import peers
from bench.lib.results import Results
from pyarena.allocators import Allocator
from pyarena.table import Figure

_FIGURES = (
    Figure("p50", "half of the calls within, ns", "{:.0f}".format, "median"),
    Figure("p99", "99 % within, ns", "{:.0f}".format, "99th percentile"),
    Figure("p999", "99.9 % within, ns", "{:.0f}".format, "99.9th percentile"),
    Figure("longest", "the longest, µs", lambda time: f"{(time or 0) / 1000:.0f}", "longest call"),
    Figure("late", "calls above 1 ms", "{:.0f}".format, "calls that took more than a millisecond"),
)

_DESCRIPTION = """\
Time each call of malloc and free alone, in a service whose memory grows to some 60 MB and falls again, by turns.

Sizes are mixed, most of them small; with two threads, each frees what either made.  "first touch" is the first
write to all pages of a new block, "nothing" what the clock itself takes: its longest is the noise of the machine.
Calls in which the kernel gave the processor to another thread count neither as the longest nor as above 1 ms.
The tables show medians over the rounds, of each round's percentile or longest call.
"""


def time_calls(results: Results, columns: list[Allocator], arguments: argparse.Namespace) -> None:
    """All rounds; a row is a kind of call with a number of threads."""
    program = peers.build("latency")
    for number, turn in peers.in_turns(columns, arguments.rounds):
        for threads in arguments.threads or (1, 2):
            for column in turn:
                peers.say(f"round {number}, {threads} threads, {column.name}")
                command = [program, "--operations", arguments.operations, "--threads", threads]
                for call, *values in peers.run(command, column)[0]:
                    row = f"{call}, {threads} thread{'s' if threads > 1 else ''}"
                    figures = dict(zip(("calls", *(figure.key for figure in _FIGURES)), map(float, values)))
                    results.add(row, column.name, figures)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = peers.parser("bench/latency", _DESCRIPTION, rounds=11)
    made.add_argument(
        "--operations", type=int, default=4_000_000, metavar="N", help="operations of a run (default: 4,000,000)"
    )
    made.add_argument(
        "--threads", type=int, action="append", metavar="N", help="may be given several times (default: 1 and 2)"
    )
    return made


def main(words: list[str] | None = None) -> int:
    """The program; returns its exit status."""
    return peers.measure(parser().parse_args(words), time_calls, _FIGURES, is_absolute=True, has_mean=False)
