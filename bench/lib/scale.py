# SPDX-License-Identifier: MIT
"""bench/scale: what calls, forks and giving back cost as the heap grows."""

from __future__ import annotations

import argparse

from bench.lib import peers
from bench.lib.results import Results
from pyarena import machine
from pyarena.allocators import Allocator
from pyarena.table import Figure

_FIGURES = (
    Figure("fill", "to fill, ns a malloc", "{:.0f}".format, "malloc, and the first write, of a new block"),
    Figure("replace", "to replace, ns a free and malloc", "{:.0f}".format, "a block of random place and size"),
    Figure("fork", "fork, ms", lambda time: f"{(time or 0) / 1e6:.2f}", "how long the parent is in it"),
    Figure("child", "fork until the child ends, ms", lambda time: f"{(time or 0) / 1e6:.2f}", "of a child that only ends"),
    Figure("drain", "to drain, ns a free", "{:.0f}".format, "nine blocks of ten, scattered"),
    Figure("longest", "the longest of these, ms", lambda time: f"{(time or 0) / 1e6:.2f}", "longest free"),
    Figure("left", "then resident / in use", "{:.2f}".format, "resident as a multiple of what is in use"),
)
_SIZES = (10, 100, 1000, 4000)
_SHARE = 0.6  # of the memory at hand that a heap may take: an allocator holds more than what is asked for

_DESCRIPTION = """\
Time malloc, free and fork in heaps of small blocks, from some MB to some GB.

A heap is filled; then blocks at random places are replaced; then the process forks; then nine blocks of ten are freed.
"""


def time_heaps(results: Results, columns: list[Allocator], arguments: argparse.Namespace) -> None:
    """All rounds; a row is a size.  Sizes for which there is not memory enough are left out."""
    program, most = peers.build("scale"), _SHARE * machine.available_bytes() / 2**20
    for size in arguments.megabytes or _SIZES:
        if size > most:
            peers.say(f"{size} MB are left out: a heap may take {most:.0f} MB here")
            continue
        for number, turn in peers.in_turns(columns, arguments.rounds):
            for column in turn:
                peers.say(f"{size} MB, round {number}, {column.name}")
                (values,) = peers.run([program, size], column)[0]
                figures = dict(zip((figure.key for figure in _FIGURES), map(float, values)))
                results.add(f"{size} MB", column.name, figures)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = peers.parser("bench/scale", _DESCRIPTION, rounds=3)
    made.add_argument(
        "--megabytes",
        type=int,
        action="append",
        metavar="MB",
        help=f"only a heap of this size; may be given several times (default: {', '.join(map(str, _SIZES))})",
    )
    return made


def main(words: list[str] | None = None) -> int:
    """The program; returns its exit status."""
    return peers.measure(parser().parse_args(words), time_heaps, _FIGURES, is_absolute=True, has_mean=False)
