# SPDX-License-Identifier: MIT
"""Tables as text and as Markdown, and the numbers in them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

MEGABYTE = 2**20


@dataclass(frozen=True)
class Figure:
    """A column: its key in what was measured, how to print it, what it means."""

    key: str
    heading: str
    show: Callable[[float | None], str]
    meaning: str


def text(head: Sequence[str], rows: Sequence[Sequence[str]], rule_before_last: bool = False) -> str:
    """A table for a terminal: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        return "  ".join(cells).rstrip()

    rule = "-" * len(line(["-" * width for width in widths]))
    lines = [line(head), rule, *map(line, rows)]
    if rule_before_last and len(rows) > 1:
        lines.insert(-1, rule)
    return "\n".join(lines)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same table for a page."""
    rule = ["---"] + ["--:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows])


def geometric_mean(values: Iterable[float]) -> float | None:
    """The geometric mean of positive numbers; None if there are none."""
    logarithms = [math.log(value) for value in values if value > 0]
    return math.exp(sum(logarithms) / len(logarithms)) if logarithms else None


def megabytes(size: float | None) -> str:
    """Bytes as MB of 2^20 bytes."""
    return "-" if size is None else f"{size / MEGABYTE:.1f}"


def seconds(value: float | None) -> str:
    """A time with three significant figures or more."""
    if value is None:
        return "-"
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"
