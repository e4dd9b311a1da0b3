# SPDX-License-Identifier: MIT
"""pyarena map: each page stands in one state, and the forms show what the library counts."""
from __future__ import annotations

import collections
import struct
import subprocess
import xml.etree.ElementTree
import zlib
from pathlib import Path

import pytest

import programs
import tools

from pyarena.heap_map import FREE, GIVEN_BACK, LIVE, HeapMap
from pyarena.heap_picture import fill

# 30 MB of which scattered blocks survive, 20 MB that stay whole, and large objects.
HOLES = """
scattered = [bytes(1000) for _ in range(30000)]
whole = [bytes(400) for _ in range(50000)]
large = [bytearray(1 << 20) for _ in range(3)]
kept = scattered[::60]
del scattered
"""


def test_each_page_has_one_state() -> None:
    with tools.served(HOLES) as process:
        heap = HeapMap.of_process(process.pid)
    units: collections.Counter[str] = collections.Counter()
    for arena in heap.snapshot.arenas:
        cells = list(heap.cells(arena))
        assert sum(cell.count for cell in cells) == heap.snapshot.geometry.arena_units
        assert all(cell.count > 0 for cell in cells[:-1])
        assert all((cell.pool is not None) == (cell.state == LIVE) for cell in cells)
        for cell in cells:
            units[cell.state] += cell.count
    stats = heap.snapshot.stats
    page = heap.snapshot.geometry.unit_bytes
    assert units[GIVEN_BACK] * page == stats.purged_bytes > 10e6
    live = stats.live_page_bytes - stats.large_bytes
    dead = sum(pool.dead_units for arena in heap.snapshot.arenas for pool in arena.pools)
    assert abs(units[LIVE] * page - live) <= dead * page
    assert units[FREE] * page <= stats.dirty_bytes + 64 * page


def test_holders_name_the_scattered_ones() -> None:
    with tools.served(HOLES) as process:
        holders = HeapMap.of_process(process.pid).holders()
    size, live, pages, excess = holders[0]
    assert 1032 <= size <= 1088 and 480 * size <= live <= 800 * size
    assert excess == pages - live > 1e6
    by_size = {entry[0]: entry for entry in holders}
    whole = max(by_size, key=lambda one: by_size[one][1])
    assert by_size[whole][1] > 0.95 * by_size[whole][2], "what stays whole holds little beyond need"


def test_text_fits_a_terminal() -> None:
    with tools.served(HOLES) as process:
        out = tools.pyarena("map", "--rows", "12", process.pid).out
    rows = [line for line in out.splitlines() if set(line) & set("▁▂▃▄▅▆▇█") and " to " not in line]
    assert len(rows) == 12 and all(len(row) <= 64 for row in rows)
    assert "heap objects 1" in out and "held beyond need" in out and "more; --rows N" in out
    assert all(len(line) <= 150 for line in out.splitlines())


def test_a_saved_map_is_the_same(tmp_path: Path) -> None:
    saved = tmp_path / "heap.map"
    with tools.served(HOLES) as process:
        tools.pyarena("map", "--save", saved, process.pid)
        before = HeapMap.of_file(saved)
        assert before.snapshot.arenas == HeapMap.of_process(process.pid).snapshot.arenas
        assert before.title.startswith(f"process {process.pid}: ")
        tools.tell(process, "del whole")
        both = tools.pyarena("map", saved, process.pid).out
    last = both.splitlines()[-1]
    assert last.startswith("from the first to the second: live -2"), last
    assert "given back +" in last


def test_pictures_are_sound(tmp_path: Path) -> None:
    picture, page = tmp_path / "heap.svg", tmp_path / "heap.html"
    with tools.served(HOLES) as process:
        result = tools.pyarena("map", "--svg", picture, "--html", page, process.pid)
    assert result.out == ""
    root = xml.etree.ElementTree.parse(picture).getroot()
    space = "{http://www.w3.org/2000/svg}"
    told = [title.text or "" for title in root.iter(f"{space}title")]
    assert any("400" in one or "448" in one for one in told if "% full" in one), told[:5]
    assert "given back" in told
    width = float(root.get("width", "0"))
    for box in root.iter(f"{space}rect"):
        assert float(box.get("x", "0")) + float(box.get("width", "0")) <= width + 0.01
    text = page.read_text()
    assert "<script" not in text and "src=" not in text and "<svg" in text


def test_pixels_are_those_of_the_cells(tmp_path: Path) -> None:
    """Decoded by hand: the library of pictures that would do it may not be there."""
    picture, saved = tmp_path / "heap.png", tmp_path / "heap.map"
    with tools.served(HOLES) as process:
        tools.pyarena("map", "--save", saved, process.pid)
    assert tools.pyarena("map", "--png", picture, saved).out == ""
    data = picture.read_bytes()
    assert data[:16] == b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" and data[-8:-4] == b"IEND"
    width, height = struct.unpack(">II", data[16:24])
    length, = struct.unpack(">I", data[33:37])
    assert data[37:41] == b"IDAT" and zlib.crc32(data[37:41 + length]) == struct.unpack(">I", data[41 + length:45 + length])[0]
    raw = zlib.decompress(data[41:41 + length])
    assert len(raw) == height * (1 + 3 * width)
    first = raw[1:1 + 3 * width]
    heap = HeapMap.of_file(saved)
    geometry = heap.snapshot.geometry
    pixels = width // geometry.arena_units
    assert height >= 9 * len(heap.snapshot.arenas) > 100 and width == pixels * geometry.arena_units
    unit = 0
    for cell in heap.cells(heap.arenas()[0]):
        colour = fill(heap, cell)
        for place in (unit, unit + cell.count - 1) if cell.count else ():
            pixel = first[3 * pixels * place:3 * pixels * place + 3]
            assert len(colour) != 7 or pixel.hex() == colour[1:], (place, cell)
            assert colour or pixel == b"\xff\xff\xff"
        unit += cell.count
    assert len({first[place:place + 3] for place in range(0, len(first), 3)}) > 3


def test_a_pair_is_shown_in_a_browser(tmp_path: Path) -> None:
    program = tools.browser()
    saved, page = tmp_path / "before.map", tmp_path / "pair.html"
    with tools.served(HOLES) as process:
        tools.pyarena("map", "--save", saved, process.pid)
        tools.tell(process, "del whole")
        tools.pyarena("map", "--html", page, saved, process.pid)
    done = subprocess.run([program, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
                           f"--user-data-dir={tmp_path}/profile", "--dump-dom", page.as_uri()],
                          capture_output=True, text=True, timeout=120)
    assert "CONSOLE" not in done.stderr, done.stderr
    assert done.stdout.count("<svg") == 2 and done.stdout.count("% full") > 100


def test_refusals_say_why(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.map"
    damaged.write_text('{"form": "pyarena map, form 1", "title": "x", "snapshot": {}}')
    other = programs.ROOT / "COPYING"
    for words, reason in [
            ([tmp_path / "none"], "cannot be read: No such file"),
            ([other], "is no saved map"),
            ([damaged], "is a saved map that is damaged"),
            ([1, 2, 3], "one target, or two"),
            (["--svg", tmp_path / "x.svg", 1, 2], "--svg, --png and --save take one target"),
            ([2**22 + 1], "there is no process")]:
        result = tools.pyarena("map", *words, status=2)
        assert reason in result.err and result.err.count("\n") == 1, result


@pytest.mark.parametrize("python", [programs.served_pythons()[0], programs.served_pythons()[-1]],
                         ids=programs.label)
def test_every_python_can_be_mapped(python: programs.Python) -> None:
    with tools.served(HOLES, python=python.path) as process:
        assert "heap objects 1" in tools.pyarena("map", process.pid).out
