# SPDX-License-Identifier: MIT
"""Stock and another allocator at the same time, on two processors that change places from round to round.

Where a machine's speed changes from minute to minute, the two runs of a pair see the same of it.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from bench.lib.results import Results

T = TypeVar("T")


def processors() -> tuple[int, int] | None:
    """Two processors that this process may use; None if it may not."""
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[-1]) if len(allowed) > 1 else None


def _placed(function: Callable[[], T], place: int) -> T:
    os.sched_setaffinity(0, {place})  # of this process, which its children inherit
    return function()


def beside(first: Callable[[], T], second: Callable[[], T], places: tuple[int, int]) -> tuple[T, T]:
    """Call both at the same time, each in a process and on a processor of its own, and so what they start.

    What they take and return is pickled.  Raises what one of them does.
    """
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as executor:
        futures = [executor.submit(_placed, function, place) for function, place in zip((first, second), places)]
        return futures[0].result(), futures[1].result()


@dataclass
class Pairs(Results):
    """Results whose multiples are medians over pairs; pairs[row][column] are an allocator's figures and stock's."""

    pairs: dict[str, dict[str, list[tuple[dict[str, float], dict[str, float]]]]] = field(default_factory=dict)

    def add_pair(self, row: str, column: str, figures: dict[str, float], base_figures: dict[str, float]) -> None:
        """Add two runs that were beside each other."""
        self.add(row, column, figures)
        self.add(row, self.base, base_figures)
        self.pairs.setdefault(row, {}).setdefault(column, []).append((figures, base_figures))

    def _ratios(self, row: str, column: str, key: str) -> list[float]:
        pairs = self.pairs.get(row, {}).get(column, [])
        return [own[key] / base[key] for own, base in pairs if own.get(key) and base.get(key)]

    def ratio(self, row: str, column: str, key: str) -> float | None:
        """The median over the pairs; the base's own is 1."""
        ratios = [1.0] if column == self.base else self._ratios(row, column, key)
        return statistics.median(ratios) if ratios else None

    def spread(self, row: str, key: str) -> float | None:
        """The largest distance between two pairs of one column, as a share of its median."""
        several = [ratios for column in self.pairs.get(row, {}) if len(ratios := self._ratios(row, column, key)) > 1]
        return max(((max(one) - min(one)) / statistics.median(one) for one in several), default=None)

    def whole(self) -> dict[str, object]:
        """Besides, the pairs: of each row and column the figures of both runs."""
        return super().whole() | {"pairs": self.pairs}
