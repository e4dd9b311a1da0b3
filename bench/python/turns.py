# SPDX-License-Identifier: MIT
"""Two kinds of blocks take turns: one is dropped, but for a few that hold its pages, and then the other is made.

After each turn as much is in use as after the last.  So whoever keeps what has been dropped needs more memory than
that, and whoever does not pays for it again and again.
"""

from __future__ import annotations

import _probe

KINDS = ((160, 80), (900, 16))  # bytes of a block, and of how many one stays


def main(probe: _probe.Probe, scale: float) -> None:
    turn_bytes = int(12_000_000 * scale)
    blocks: list[list[bytes | None]] = [[None] * max(turn_bytes // size, 1) for size, _ in KINDS]
    with probe.timed():
        for number in range(150):
            kind = number % 2
            stays = KINDS[1 - kind][1]
            others = blocks[1 - kind]
            for index in range(len(others)):
                if index % stays:
                    others[index] = None
            size = KINDS[kind][0]
            made = blocks[kind]
            for index, block in enumerate(made):
                if block is None:
                    made[index] = b"x" * (size + index % 7)
    survivors = [block for (_, stays), made in zip(KINDS, blocks) for block in made[::stays]]
    del blocks, others, made, block
    probe.after()
    probe.settle()
    probe.limit_by(survivors)


_probe.run(main)
