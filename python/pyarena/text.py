# SPDX-License-Identifier: MIT
"""Numbers as people read them."""

from __future__ import annotations

_PREFIXES = ("B", "KiB", "MiB", "GiB", "TiB")


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


def share(part: float, whole: float) -> str:
    """A part as per cent of the whole."""
    return f"{100 * part / whole:.0f} %" if whole else "-"
