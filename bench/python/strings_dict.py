# SPDX-License-Identifier: MIT
"""A dictionary of strings is built, changed entry by entry, and deleted but for one entry in fifty."""

import random

import _probe


def main(probe: _probe.Probe, scale: float) -> None:
    randomness = random.Random(1)
    count = int(500_000 * scale)
    lengths = [randomness.randrange(1, 120) for _ in range(1009)]
    with probe.timed():
        table = {"key-%d" % number: "v" * lengths[number % 1009] for number in range(count)}
        for number in range(0, count, 2):
            table["key-%d" % number] += "x" * lengths[number % 503]
        for number in range(count // 2):
            table["new-%d" % number] = "n" * lengths[number % 1009]
        for number in range(count):
            if number % 50:
                del table["key-%d" % number]
        for number in range(count // 2):
            del table["new-%d" % number]
        table = dict(table)
    probe.after()
    probe.settle()
    probe.limit_by([table, *table.keys(), *table.values()])


_probe.run(main)
