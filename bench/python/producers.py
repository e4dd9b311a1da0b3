# SPDX-License-Identifier: MIT
"""Four producer threads make objects, one consumer frees them: each object dies in another thread.

Allocators with a heap for each thread pay here for every free; CPython's own has one heap under the GIL.
"""

from __future__ import annotations

import queue
import threading
from typing import Any

import _probe

PRODUCERS = 4
BATCH = 500


def produce(work: queue.Queue[Any], batches: int, seed: int) -> None:
    for number in range(batches):
        work.put([(seed, index, {"key": index, "text": "%d-%d" % (number, index)}) for index in range(BATCH)])
    work.put(None)


def consume(work: queue.Queue[Any]) -> int:
    total, running = 0, PRODUCERS
    while running:
        batch = work.get()
        if batch is None:
            running -= 1
            continue
        for _, index, record in batch:
            total += index + len(record["text"])
    return total


def main(probe: _probe.Probe, scale: float) -> None:
    work: queue.Queue[Any] = queue.Queue(maxsize=64)
    batches = max(1, int(800 * scale))
    with probe.timed():
        threads = [threading.Thread(target=produce, args=(work, batches, seed)) for seed in range(PRODUCERS)]
        for thread in threads:
            thread.start()
        consume(work)
        for thread in threads:
            thread.join()
    del thread, threads, work
    probe.after()
    probe.settle()
    probe.limit_by([])


_probe.run(main)
