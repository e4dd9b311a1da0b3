# SPDX-License-Identifier: MIT
"""A million objects made, freed and made again, in four cycles; nothing survives.

The benchmark of the text that gave CPython's allocator its arenas back (2005): a program that allocates and
frees cyclically pays for every page that goes back too early.
"""

import _probe


def main(probe: _probe.Probe, scale: float) -> None:
    count = int(1_000_000 * scale)
    for _ in range(4):
        with probe.timed():
            objects = [[number] for number in range(count)]
            del objects
    probe.after()
    probe.settle()
    probe.limit_by([])


_probe.run(main)
