# SPDX-License-Identifier: MIT
"""The form of pyarena map for where no SVG can be shown: PNG, a row of pixels for each arena."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

from pyarena.heap_map import HeapMap
from pyarena.heap_picture import fill

_UNIT_PIXELS, _ROW_PIXELS, _GAP_PIXELS = 3, 7, 2
_PAPER = bytes((255, 255, 255))


def png(heap: HeapMap) -> bytes:
    """The map as a picture: an arena a row, a unit of 4 KiB a cell; heaps apart from each other, in order, without names."""
    width = heap.snapshot.geometry.arena_units * _UNIT_PIXELS
    gap = [_PAPER * width]
    lines: list[bytes] = []
    name = ""
    for arena in heap.arenas():
        if lines and heap.heap_name(arena) != name:
            lines += gap * _ROW_PIXELS
        name = heap.heap_name(arena)
        line = b"".join(_pixel(fill(heap, cell)) * (cell.count * _UNIT_PIXELS) for cell in heap.cells(arena))
        lines += [line] * _ROW_PIXELS + gap * _GAP_PIXELS
    return _encoded(lines or gap, width)


def _pixel(colour: str) -> bytes:
    """#rrggbb or, on white paper, #rrggbbaa; the paper for none."""
    if not colour:
        return _PAPER
    values = bytes.fromhex(colour[1:])
    part = values[3] / 255 if len(values) > 3 else 1.0
    return bytes(round(255 + (value - 255) * part) for value in values[:3])


def _encoded(lines: Sequence[bytes], width: int) -> bytes:
    """PNG of lines with three bytes for each pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, len(lines), 8, 2, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + line for line in lines), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
