# SPDX-License-Identifier: MIT
"""Fifty rounds in which sizes drift and one object in a hundred survives, for ten rounds.

From round 10 on as much dies as survives, so memory must not creep.
"""

from __future__ import annotations

import collections
import random

import _probe

ROUNDS = 50


def main(probe: _probe.Probe, scale: float) -> None:
    randomness = random.Random(1)
    count = max(100, int(100_000 * scale))
    offsets = [randomness.randrange(200) for _ in range(997)]
    survivors: collections.deque[list[bytes]] = collections.deque(maxlen=10)
    reading = _probe.MemoryReading()
    resident = []
    for number in range(ROUNDS):
        with probe.timed():
            smallest = 16 + 12 * number
            blobs = [bytes(smallest + offsets[index % 997]) for index in range(count)]
            kept = blobs[number % 100 :: 100]
            del blobs
            survivors.append(kept)
        reading.read()
        resident.append(reading.resident_bytes())
    del kept
    probe.after()
    probe.settle()
    probe.record("after_round_10", resident[9])
    probe.record("after_round_50", resident[-1])
    probe.record("highest_after_round", max(resident[9:]))
    probe.limit_by([blob for kept in survivors for blob in kept])


_probe.run(main)
