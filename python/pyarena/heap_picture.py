# SPDX-License-Identifier: MIT
"""The forms of pyarena map: for a terminal, as SVG, and as a page."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from html import escape

from pyarena import table
from pyarena.heap_map import FREE, GIVEN_BACK, RECORDS, UNTOUCHED, Cell, HeapMap
from pyarena.plot import document
from pyarena.record import Arena, Pool
from pyarena.text import number, share, size

_MOST_HOLDERS = 8
_SHADES = "▁▂▃▄▅▆▇█"
_SIGNS = {FREE: "o", GIVEN_BACK: "·", UNTOUCHED: " ", RECORDS: "r"}
_UNIT_WIDTH, _ROW_HEIGHT, _LABEL_WIDTH = 3.0, 9, 90
_FILLS = {FREE: "#e0a030", GIVEN_BACK: "#8888921f", RECORDS: "#88889280"}


def _size_name(block_bytes: int) -> str:
    return f"{number(block_bytes)} B" if block_bytes else "medium"


def summary(heap: HeapMap) -> str:
    """How much of the heap is in which state, in a line."""
    stats = heap.snapshot.stats
    return (f"{number(len(heap.snapshot.arenas))} arenas: {size(stats.live_page_bytes - stats.large_bytes)} in pages with "
            f"something live, {size(stats.dirty_bytes)} free and resident, {size(stats.purged_bytes)} given back; "
            f"beside them {size(stats.large_bytes)} in {number(stats.large_blocks)} large objects")  # fmt: skip


def _holder_rows(heap: HeapMap) -> tuple[list[str], list[list[str]]]:
    rows = [[_size_name(block), size(live), size(pages), share(live, pages), size(excess)]
            for block, live, pages, excess in heap.holders()[:_MOST_HOLDERS]]  # fmt: skip
    return ["blocks of", "live", "in pages of", "filled", "held beyond need"], rows


# ---- Terminal -----------------------------------------------------------------------------------------


def text(heap: HeapMap, most: int) -> str:
    """The map for a terminal: an arena a row, 16 KiB a letter."""
    arenas = heap.arenas()
    lines = [heap.title, summary(heap), ""]
    name = ""
    for arena in arenas[:most]:
        if heap.heap_name(arena) != name:
            name = heap.heap_name(arena)
            lines.append(f"heap {name}" if name[0] != "a" else name)
        lines.append(f"  {_letters(heap, arena).rstrip()}")
    if len(arenas) > most:
        lines.append(f"  … {len(arenas) - most} more; --rows N shows more of them, --html all")
    lines += ["", f"  {_SHADES[0]} to {_SHADES[-1]} in use, little to full   o free and resident   · given back   "
              "blank never used", ""]  # fmt: skip
    head, rows = _holder_rows(heap)
    return "\n".join([*lines, table.text(head, rows) if rows else "nothing is live"])


def _letters(heap: HeapMap, arena: Arena) -> str:
    geometry = heap.snapshot.geometry
    units: list[Cell] = [cell for cell in heap.cells(arena) for _ in range(cell.count)]
    letters = []
    for first in range(geometry.first_slot * geometry.slot_units, (geometry.last_slot + 1) * geometry.slot_units, geometry.slot_units):
        slot = units[first : first + geometry.slot_units]
        live = [cell for cell in slot if cell.pool]
        if live:
            filled = sum(heap.share(cell.pool) for cell in live if cell.pool) / len(live)
            letters.append(_SHADES[min(len(_SHADES) - 1, int(filled * len(_SHADES)))])
        else:
            letters.append(_SIGNS[max((cell.state for cell in slot), key=[UNTOUCHED, GIVEN_BACK, FREE].index)])
    return "".join(letters)


# ---- Picture ------------------------------------------------------------------------------------------


def _colour(pool: Pool, filled: float) -> str:
    """The hue tells the size class, the lightness how full the pool is."""
    hue = 0.2 + 0.85 * (pool.class_index * 0.618034 % 1)  # not the amber of free pages
    red, green, blue = colorsys.hls_to_rgb(hue % 1, 0.82 - 0.42 * filled, 0.55)
    return f"#{int(red * 255):02x}{int(green * 255):02x}{int(blue * 255):02x}"


def fill(heap: HeapMap, cell: Cell) -> str:
    """The colour of a cell, as #rrggbb or #rrggbbaa; empty for what was never used."""
    return _colour(cell.pool, heap.share(cell.pool)) if cell.pool else _FILLS.get(cell.state, "")


def svg(heap: HeapMap) -> str:
    """The map as a picture: an arena a row, a unit of 4 KiB a cell."""
    arenas = heap.arenas()
    width = _LABEL_WIDTH + _UNIT_WIDTH * heap.snapshot.geometry.arena_units
    height = _ROW_HEIGHT * len(arenas) + 4
    rows = []
    name = ""
    for line, arena in enumerate(arenas):
        y = line * _ROW_HEIGHT + 2
        if heap.heap_name(arena) != name:
            name = heap.heap_name(arena)
            rows.append(f'<text x="0" y="{y + 8}" font-size="10" font-family="sans-serif" fill="#888892">{escape(name)}</text>')
        rows.append(_row(heap, arena, y))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height}" width="{width:g}" height="{height}" '
            f'role="img" aria-label="Use of each page of the heap">{"".join(rows)}</svg>')  # fmt: skip


def _row(heap: HeapMap, arena: Arena, y: int) -> str:
    parts, x = [], float(_LABEL_WIDTH)
    for cell in heap.cells(arena):
        width = cell.count * _UNIT_WIDTH
        box = f'x="{x:g}" y="{y}" width="{width:g}" height="{_ROW_HEIGHT - 2}"'
        if cell.pool:
            filled = heap.share(cell.pool)
            classes = heap.snapshot.classes
            block = 0 if cell.pool.run_units else classes[cell.pool.class_index].block_bytes
            told = f"{_size_name(block)}: {number(cell.pool.used)} in use, {100 * filled:.0f} % full"
            parts.append(f'<rect {box} fill="{fill(heap, cell)}"><title>{told}</title></rect>')
        elif cell.state in _FILLS:
            parts.append(f'<rect {box} fill="{fill(heap, cell)}"><title>{cell.state}</title></rect>')
        x += width
    return "".join(parts)


# ---- Page ---------------------------------------------------------------------------------------------


def page(maps: Sequence[HeapMap]) -> str:
    """One map, or a pair for before and after, as a page that needs no other file."""
    parts = [
        "<h1>Map of the heap</h1>",
        f'<p class="note">An arena a row, a page of 4 KiB a cell. <b>Coloured</b>: in use, each size of blocks in a colour of its '
        f'own, the darker the fuller. <b style="color:{_FILLS[FREE]}">Amber</b>: free and resident. <b>Pale</b>: given back. '
        "Blank: never used. Point at a cell to read what it is.</p>",
    ]
    for heap in maps:
        head, rows = _holder_rows(heap)
        lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
        parts.append(
            f"<h2>{escape(heap.title)}</h2><p>{escape(summary(heap))}.</p>"
            f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table></div>'
            f"<figure>{svg(heap)}</figure>"
        )
    return document(maps[0].title, parts)


def difference(before: HeapMap, after: HeapMap) -> str:
    """What has moved between two maps, in a line."""
    moves = []
    for name, what in (("live_bytes", "live"), ("live_page_bytes", "pages with something live"),
                       ("dirty_bytes", "free and resident"), ("purged_bytes", "given back")):  # fmt: skip
        change = getattr(after.snapshot.stats, name) - getattr(before.snapshot.stats, name)
        moves.append(f"{what} {'+' if change >= 0 else ''}{size(change)}")
    return "from the first to the second: " + ", ".join(moves)
