# SPDX-License-Identifier: MIT
"""Memory over time as it is drawn: which colour an allocator has, and how many points are enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_COLOURS = {"stock": "#777777", "glibc": "#cc8833", "jemalloc": "#4477aa", "pyarena": "#118844"}
_SPARE_COLOURS = ("#aa3377", "#66ccee", "#bb5555", "#999933")
_MOST_POINTS = 1200


@dataclass(frozen=True)
class Curve:
    """Resident bytes of one allocator over seconds."""

    name: str
    seconds: Sequence[float]
    sizes: Sequence[int]


def colours_of(names: Sequence[str]) -> dict[str, str]:
    """A colour for each name, the same for a known name in every picture."""
    unnamed = [name for name in names if name not in _COLOURS]
    return {name: _SPARE_COLOURS[number % len(_SPARE_COLOURS)] for number, name in enumerate(unnamed)} | _COLOURS


def thinned(curve: Curve) -> list[tuple[float, int]]:
    """The points of a curve; of many, the lowest and highest of each stretch are kept, so no peak is lost."""
    points = list(zip(curve.seconds, curve.sizes))
    stretch = 2 * -(-len(points) // _MOST_POINTS)
    if stretch <= 2:
        return points
    pieces = [points[first : first + stretch] for first in range(0, len(points), stretch)]
    ends = [{min(piece, key=lambda point: point[1]), max(piece, key=lambda point: point[1])} for piece in pieces]
    return [point for pair in ends for point in sorted(pair)]
