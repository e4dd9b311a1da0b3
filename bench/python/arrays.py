# SPDX-License-Identifier: MIT
"""Temporaries of array computations, from 8 KB to 8 MB; a few small arrays survive.

With numpy where the interpreter has it, else with array and bytearray.
"""

from __future__ import annotations

import array
import random
from typing import Any

import _probe

try:
    import numpy
except ImportError:
    numpy = None  # type: ignore[assignment]


def step_numpy(count: int, previous: Any) -> Any:
    """A few vector operations, each with a temporary as its result."""
    values = numpy.arange(count, dtype="f8")
    other = values * 0.5 + 1.0
    values = values + other - previous.mean()
    halves = numpy.concatenate([values[: count // 2], other[count // 2 :]])
    return numpy.sort(halves[: min(count, 1024)]).copy()


def step_plain(count: int, previous: Any) -> Any:
    """The same number and sizes of temporaries, made by copying."""
    values = array.array("d", bytes(8 * count))
    other = values + previous
    values = other[:count] + values[: count // 4]
    halves = bytearray(memoryview(values).cast("B"))
    halves += halves[: count // 2]
    return array.array("d", bytes(halves[: 8 * min(count, 1024)]))


def main(probe: _probe.Probe, scale: float) -> None:
    randomness = random.Random(1)
    if numpy is None:
        step, previous = step_plain, array.array("d", [1.0])
    else:
        step, previous = step_numpy, numpy.ones(1)
    probe.record("numpy", int(numpy is not None))
    survivors = []
    with probe.timed():
        for number in range(int(1_500 * scale)):
            count = int(1024 * 2 ** randomness.uniform(0, 10))
            previous = step(count, previous)
            if number % 50 == 0:
                survivors.append(previous)
    del previous
    probe.after()
    probe.settle()
    assert survivors


_probe.run(main)
