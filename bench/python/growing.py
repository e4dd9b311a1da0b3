# SPDX-License-Identifier: MIT
"""Lists, bytearrays and strings grow bit by bit to tens of MB, several side by side; nothing survives.

What realloc costs: whether it copies, and what it leaves behind.
"""

from __future__ import annotations

import _probe


def grow_lists(count: int) -> None:
    lists: list[list[None]] = [[] for _ in range(4)]
    for number in range(count):
        for one in lists:
            one.append(None)


def grow_bytearrays(count: int) -> None:
    chunk = b"x" * 4096
    buffers = [bytearray() for _ in range(2)]
    for _ in range(count):
        for buffer in buffers:
            buffer += chunk


def grow_text(count: int) -> int:
    text = ""
    for _ in range(count):
        text += "one more line of text\n"
    return len(text)


def grow_small(count: int) -> None:
    """Many lists that stay small."""
    for _ in range(count):
        small = []
        for number in range(40):
            small.append(number)


def main(probe: _probe.Probe, scale: float) -> None:
    with probe.timed():
        grow_lists(int(4_000_000 * scale))
        grow_bytearrays(int(20_000 * scale))
        grow_text(int(3_000_000 * scale))
        grow_small(int(300_000 * scale))
    probe.after()
    probe.settle()
    probe.limit_by([])


_probe.run(main)
