# SPDX-License-Identifier: MIT
"""pyarena map: each page stands in one state, and the forms show what the library counts."""
from __future__ import annotations

import collections
import json
import re
import struct
import subprocess
import xml.etree.ElementTree
import zlib
from pathlib import Path

import pytest

import programs
import tools

from pyarena.heap_map import DEAD, FREE, GIVEN_BACK, LIVE, HeapMap
from pyarena.blocks import Blocks
from pyarena.heap_picture import fill
from pyarena.record import Target

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
    assert abs(units[LIVE] * page - live) <= (dead + units[DEAD]) * page
    assert units[FREE] * page <= stats.dirty_bytes + 64 * page


def test_holders_name_the_scattered_ones() -> None:
    with tools.served(HOLES) as process:
        heap = HeapMap.of_process(process.pid)
    holders, heaps = heap.holders(), heap.holding_heaps()
    size, live, pages, excess = holders[0]
    assert heaps[0].name == "objects 1" and heaps[0].excess > 0.8 * excess and len(heaps) > 1
    assert sum(one.live for one in heaps) == sum(one.live for one in holders)
    assert 1032 <= size <= 1088 and 480 * size <= live <= 800 * size
    assert excess == pages - live > 1e6
    by_size = {entry[0]: entry for entry in holders}
    whole = max(by_size, key=lambda one: by_size[one][1])
    assert by_size[whole][1] > 0.95 * by_size[whole][2], "what stays whole holds little beyond need"


def test_dead_pages_are_told_from_live_ones() -> None:
    with tools.served(HOLES, variables={"PYARENA_KEEP_FREE": "64M"}) as process:
        heap = HeapMap.of_process(process.pid)
        with Target(process.pid) as target:
            for arena in heap.snapshot.arenas:
                for pool in arena.pools:
                    if not pool.dead:
                        continue
                    blocks = Blocks.read(target, arena, pool)
                    unit = heap.snapshot.geometry.unit_bytes
                    lived_on = {place // unit for offset in blocks.live() for place in (offset, offset + blocks.block_bytes - 1)}
                    assert not any(pool.dead >> place & 1 for place in lived_on)
        text = tools.pyarena("map", "--rows", "100", process.pid).out
    page = heap.snapshot.geometry.unit_bytes
    units = collections.Counter(cell.state for arena in heap.arenas() for cell in heap.cells(arena) for _ in range(cell.count))
    # Every sixtieth block of 1 KiB survives, so nearly all of their 30 MB is dead, and kept.
    assert units[DEAD] * page > 8e6 and 25e6 < (units[DEAD] + units[FREE]) * page < 36e6, units
    assert any("d" in line for line in text.splitlines() if line.startswith("  ") and set(line) <= set("▁▂▃▄▅▆▇█do· "))


def test_text_fits_a_terminal() -> None:
    with tools.served(HOLES) as process:
        out = tools.pyarena("map", "--rows", "12", process.pid).out
    rows = [line for line in out.splitlines() if set(line) & set("▁▂▃▄▅▆▇█") and " to " not in line]
    assert len(rows) == 12 and all(len(row) <= 64 for row in rows)
    assert "heap objects 1" in out and "held beyond need" in out and "more; --rows N" in out
    title, *others = out.splitlines()
    assert all(len(line) <= 80 for line in others), max(others, key=len)


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
    for what in ("the reserve", "dead: ", "given back", "held beyond need", "objects 1"):
        assert what in text, what
    # Who reads the table finds its sizes in the picture by their colour.
    assert re.search(r'style="background:#[0-9a-f]{6}"></span>1,056 B</td>', text), text[:4000]
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
                          capture_output=True, text=True, timeout=300)
    assert "CONSOLE" not in done.stderr, done.stderr
    assert done.stdout.count("<svg") == 2 and done.stdout.count("% full") > 100


# ---- At exit ----------------------------------------------------------------------------------------


def dumped(tmp_path: Path, code: str, *words: object) -> Path:
    """The file that a Python writes when its script has ended."""
    path = tmp_path / "exit.map"
    tools.pyarena("run", "--map", path, *words, "--", programs.default_python().path, "-c", code, library=True)
    return path


def test_a_map_at_exit_has_what_lived_then(tmp_path: Path) -> None:
    path = dumped(tmp_path, HOLES)
    heap = HeapMap.of_file(path)
    stats = heap.snapshot.stats
    size, live, pages, excess = heap.holders()[0]
    assert 1032 <= size <= 1088 and 480 * size <= live <= 800 * size and excess > 1e6
    assert stats.large_blocks >= 3 and stats.large_bytes >= 3 << 20
    assert stats.live_bytes > 25e6 and stats.purged_bytes > 10e6 and len(heap.snapshot.heaps) == stats.heaps
    assert " when it wrote exit.map: " in heap.title and "-c scattered = " in heap.title
    assert "held beyond need" in tools.pyarena("map", path).out
    assert f"in {stats.live_blocks:,} blocks" in tools.pyarena("stats", path).out
    # The library's own report of the same moment, but for what is made for it.
    report = tmp_path / "report.json"
    tools.pyarena("run", f"--stats={report}", "--", programs.default_python().path, "-c",
                  HOLES + "import atexit, ctypes\natexit.register(ctypes.PyDLL(None).pyarena_report)\n", library=True)
    told = json.loads(report.read_text())["stats"]
    assert abs(told["live_bytes"] - stats.live_bytes) < 1e6 and told["large_blocks"] >= 3
    assert abs(told["purged_bytes"] - stats.purged_bytes) < 4e6


def test_the_map_is_that_of_the_process(tmp_path: Path) -> None:
    """What the library writes and what is read from outside at the same moment are the same."""
    path = tmp_path / "own.map"
    with tools.served(HOLES, variables={"PYARENA_STATS": f"map:{path}"}) as process:
        outside = HeapMap.of_process(process.pid)
        tools.tell(process, "import ctypes; ctypes.PyDLL(None).pyarena_report()")
        inside = HeapMap.of_file(path)
    assert inside.snapshot.pid == process.pid and inside.snapshot.classes == outside.snapshot.classes
    assert {one.address for one in inside.snapshot.arenas} >= {one.address for one in outside.snapshot.arenas}
    outside_stats, inside_stats = outside.snapshot.stats, inside.snapshot.stats
    assert inside_stats.large_bytes == outside_stats.large_bytes and inside_stats.purged_pages >= outside_stats.purged_pages
    assert abs(inside_stats.live_bytes - outside_stats.live_bytes) < 1e6  # ctypes was imported


def test_a_program_that_is_no_python_writes_a_map(tmp_path: Path) -> None:
    tools.pyarena("run", "--map", tmp_path / "x.map", "--", "sort", "--version", library=True)
    heap = HeapMap.of_file(tmp_path / "x.map")
    assert heap.title.endswith("sort --version") and heap.snapshot.stats.live_blocks > 0
    assert not any(one.is_interpreter for one in heap.snapshot.heaps)


def test_children_write_maps_of_their_own(tmp_path: Path) -> None:
    python = programs.default_python().path
    code = "import os, sys\nx = [bytes(500) for _ in range(20000)]\nif os.fork() == 0:\n    sys.exit()\nos.wait()\n"
    tools.pyarena("run", "--map", tmp_path / "%p.map", "--", python, "-c", code, library=True)
    maps = [HeapMap.of_file(path) for path in tmp_path.glob("*.map")]
    titles = sorted(one.title.partition(": ")[2].split()[0] for one in maps)
    assert titles == [python, python]
    # The parent wrote when its script had ended, the child when it had freed its objects.
    live = sorted(one.snapshot.stats.live_bytes for one in maps)
    assert live[0] < 2e6 and live[1] > 10e6, live


def test_run_refuses_a_map_beside_statistics(tmp_path: Path) -> None:
    result = tools.pyarena("run", "--map", tmp_path / "x", "--stats", "--", "true", library=True, status=2)
    assert "--map and --stats are one report" in result.err
    result = tools.pyarena("run", "--map", "/nonexistent/x", "--", "true", library=True, status=2)
    assert "there is no such directory" in result.err


def test_refusals_say_why(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.map"
    damaged.write_text('{"form": "pyarena map, form 1", "title": "x", "snapshot": {}}')
    other = programs.ROOT / "COPYING"
    whole = dumped(tmp_path, "x = [bytes(100) for _ in range(20000)]")
    cut, short, foreign, strange = (tmp_path / name for name in ("cut", "short", "foreign", "strange"))
    data = whole.read_bytes()
    cut.write_bytes(data[:-16])
    short.write_bytes(data[:20])
    foreign.write_bytes(data[:8] + struct.pack("<Q", 7) + data[16:])
    strange.write_bytes(data.replace(b"pyarena\0", b"another\0"))
    for words, reason in [
            ([tmp_path / "none"], "cannot be read: No such file"),
            ([other], "is no saved map"),
            ([cut], "is cut short"),
            ([short], "is cut short"),
            ([foreign], "has form 7"),
            ([strange], "has no record of libpyarena's"),
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
