# SPDX-License-Identifier: MIT
"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Sequence

_PREFIXES = ("B", "KiB", "MiB", "GiB", "TiB")
BARS = "▁▂▃▄▅▆▇█"


def size(count: float) -> str:
    """Bytes with three significant digits: 512 B, 1.50 KiB, 23.4 MiB."""
    value = float(abs(count))
    sign = "-" if count < 0 else ""
    for prefix in _PREFIXES:
        if value < 999.5 or prefix == _PREFIXES[-1]:
            break
        value /= 1024
    if prefix == "B":
        return f"{sign}{value:.0f} B"
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{sign}{value:.{digits}f} {prefix}"


def number(count: int) -> str:
    """A count with its thousands apart."""
    return f"{count:,}"


def counted(count: int, what: str) -> str:
    """A count with what is counted: 1 arena, 2 arenas."""
    return f"{number(count)} {what}{'' if count == 1 else 's'}"


def share(part: float, whole: float) -> str:
    """A part as per cent of the whole."""
    return f"{100 * part / whole:.0f} %" if whole else "-"


def compact(count: float | None) -> str:
    """Bytes in at most five columns: 512B, 1.5K, 23M, 1.2G; a dash for what is not known."""
    if count is None:
        return "-"
    value = float(count)
    for letter in "BKMGT":
        if value < 999.5 or letter == "T":
            break
        value /= 1024
    return f"{value:.1f}{letter}" if letter != "B" and value < 9.95 else f"{value:.0f}{letter}"


def sparkline(values: Sequence[float], width: int) -> str:
    """The last values as a row of bars, the highest of them full."""
    shown = list(values)[-width:]
    highest = max(shown, default=0)
    if highest <= 0:
        return " " * len(shown)
    return "".join(BARS[min(len(BARS) - 1, int(value / highest * len(BARS)))] for value in shown)


def plain(shown: str) -> str:
    """The same in ASCII, for where a terminal knows no other letters."""
    return shown.translate(str.maketrans(BARS + "·…└", "12345678.~`"))
