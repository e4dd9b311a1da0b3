# SPDX-License-Identifier: MIT
"""The forms of pyarena map: for a terminal, as SVG, and as a page."""

from __future__ import annotations

import colorsys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from pyarena import table
from pyarena.heap_map import DEAD, FREE, GIVEN_BACK, RECORDS, UNTOUCHED, Cell, HeapMap, Holder
from pyarena.plot import document
from pyarena.record import Arena
from pyarena.text import BARS, counted, number, share, size

_MOST_HOLDERS = 8
_TEXT_WIDTH = 79
_SIGNS = {FREE: "o", DEAD: "d", GIVEN_BACK: "·", UNTOUCHED: " ", RECORDS: "r"}
_UNIT_WIDTH, _ROW_HEIGHT, _LABEL_WIDTH = 3.0, 9, 90
_FILLS = {FREE: "#e0a030", DEAD: "#e0a03077", GIVEN_BACK: "#8888921f", RECORDS: "#88889280"}


def _size_name(block_bytes: int) -> str:
    return f"{number(block_bytes)} B" if block_bytes else "medium"


def summary(heap: HeapMap) -> str:
    """How much of the heap is in which state, in a line."""
    stats = heap.snapshot.stats
    return (f"{counted(len(heap.snapshot.arenas), 'arena')}: {size(stats.live_page_bytes - stats.large_bytes)} in pages with "
            f"something live, {size(stats.dirty_bytes)} free and resident, {size(stats.purged_bytes)} given back; "
            f"beside them {size(stats.large_bytes)} in {counted(stats.large_blocks, 'large object')}")  # fmt: skip


_HOLDER_HEAD = ["live", "in pages of", "filled", "held beyond need"]


def _holder_row(name: str, one: Holder) -> list[str]:
    return [name, size(one.live), size(one.pages), share(one.live, one.pages), size(one.excess)]


def _holder_tables(heap: HeapMap) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Head and rows of two tables: by size of blocks, and, where there are several, by heap."""
    yield ["blocks of", *_HOLDER_HEAD], [_holder_row(_size_name(int(one.name)), one) for one in heap.holders()[:_MOST_HOLDERS]]
    heaps = [_holder_row(str(one.name), one) for one in heap.holding_heaps()[:_MOST_HOLDERS]]
    if len(heaps) > 1:
        yield ["heap", *_HOLDER_HEAD], heaps


# ---- Terminal -----------------------------------------------------------------------------------------


def text(heap: HeapMap, most: int) -> str:
    """The map for a terminal: an arena a row, 16 KiB a letter."""
    arenas = heap.arenas()
    lines = [heap.title, *textwrap.wrap(summary(heap), _TEXT_WIDTH), ""]
    name = ""
    for arena in arenas[:most]:
        if heap.heap_name(arena) != name:
            name = heap.heap_name(arena)
            lines.append(f"heap {name}" if name[0] != "a" else name)
        lines.append(f"  {_letters(heap, arena).rstrip()}")
    if len(arenas) > most:
        lines.append(f"  … {len(arenas) - most} more; --rows N shows more of them, --html all")
    lines += ["", f"  {BARS[0]} to {BARS[-1]} in use, little to full   o free and resident   · given back",
              "  d free and resident, among blocks in use   blank never used", ""]  # fmt: skip
    tables = [table.text(head, rows) for head, rows in _holder_tables(heap) if rows]
    return "\n".join([*lines, "\n\n".join(tables) or "nothing is live"])


def _letters(heap: HeapMap, arena: Arena) -> str:
    geometry = heap.snapshot.geometry
    units: list[Cell] = [cell for cell in heap.cells(arena) for _ in range(cell.count)]
    letters = []
    for first in range(geometry.first_slot * geometry.slot_units, (geometry.last_slot + 1) * geometry.slot_units, geometry.slot_units):
        slot = units[first : first + geometry.slot_units]
        live = [cell for cell in slot if cell.pool]
        if live:
            filled = sum(heap.share(cell.pool) for cell in live if cell.pool) / len(live)
            letters.append(BARS[min(len(BARS) - 1, int(filled * len(BARS)))])
        else:
            letters.append(_SIGNS[max((cell.state for cell in slot), key=[UNTOUCHED, GIVEN_BACK, DEAD, FREE].index)])
    return "".join(letters)


# ---- Picture ------------------------------------------------------------------------------------------


def _hue(class_index: int, filled: float) -> str:
    """The hue tells the size class, the lightness how full the pool is."""
    hue = 0.2 + 0.85 * (class_index * 0.618034 % 1)  # not the amber of free pages
    red, green, blue = colorsys.hls_to_rgb(hue % 1, 0.82 - 0.42 * filled, 0.55)
    return f"#{int(red * 255):02x}{int(green * 255):02x}{int(blue * 255):02x}"


def fill(heap: HeapMap, cell: Cell) -> str:
    """The colour of a cell, as #rrggbb or #rrggbbaa; empty for what was never used."""
    return _hue(cell.pool.class_index, heap.share(cell.pool)) if cell.pool else _FILLS.get(cell.state, "")


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

_MEANINGS = ((FREE, "free and resident: the reserve"), (DEAD, "dead: the same, among blocks in use"),
             (GIVEN_BACK, "given back"), (RECORDS, "the library's records"))  # fmt: skip


def _swatch(colour: str) -> str:
    return f'<span class="cell" style="background:{colour}"></span>'


def _size_colours(heap: HeapMap) -> dict[str, str]:
    """The colour of each size of blocks, half filled."""
    indices = reversed(list(enumerate(heap.snapshot.classes)))
    return {_size_name(0 if index == len(heap.snapshot.classes) - 1 else one.block_bytes): _hue(index, 0.5) for index, one in indices}


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]], colours: Mapping[str, str]) -> str:
    lines = "".join(
        f"<tr><td>{_swatch(colours[row[0]]) if row[0] in colours else ''}{escape(row[0])}</td>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:]) + "</tr>" for row in rows
    )  # fmt: skip
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table></div>'


def page(maps: Sequence[HeapMap]) -> str:
    """One map, or a pair for before and after, as a page that needs no other file."""
    keys = "".join(f"<li>{_swatch(_FILLS[state])}{meaning}</li>" for state, meaning in _MEANINGS)
    parts = [
        "<h1>Map of the heap</h1>",
        '<p class="note">An arena a row, a page of 4 KiB a cell. In use: each size of blocks in a colour of its own, the darker '
        "the fuller; blank: never used. Point at a cell to read what it is.</p>",
        f'<ul class="legend">{keys}</ul>',
        *([f'<p class="verdict">F{escape(difference(*maps)[1:])}.</p>'] if len(maps) == 2 else []),
    ]
    for heap in maps:
        colours = _size_colours(heap)
        tables = "".join(_html_table(head, rows, colours) for head, rows in _holder_tables(heap) if rows)
        parts.append(
            f"<h2>{escape(heap.title)}</h2><p>{escape(summary(heap))}.</p>"
            f'<div class="beside">{tables}</div><figure>{svg(heap)}</figure>'
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
