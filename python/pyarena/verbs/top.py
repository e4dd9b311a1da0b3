# SPDX-License-Identifier: MIT
"""Watch processes live: what they hold, what lies free, what is given back and taken again.

Without a PID all processes are shown that have the library and may be read.  They are read from outside
and need not do anything for it.  Columns:

  RES, PRIV, SHARE   resident memory, of that its own alone, and what other processes have as well
  LIVE, FREE, KEEP   blocks in use; free and resident, for reuse; how much of that is allowed now
  BACK/s, AGAIN/s    pages given back each second, and those of them that were soon taken again
  GONE               given back altogether, address space without memory (from 100 columns on)
  MEMORY             resident memory at the last looks

Keys:

  q          quit                  up, down   choose a process; below are its heaps and size classes
  r o l f g  sort by resident, its own, live, free memory, and by what is gone
  b a        sort by pages given back, and taken again soon, each second
  p          sort by process ID; t as a tree
"""

from __future__ import annotations

import argparse
import contextlib
import curses
import json
import locale
import os
import sys
import time
from collections.abc import Callable

from pyarena.command import Refusal, process_id
from pyarena.observed import Group, Observed
from pyarena.statistics_text import merged_classes
from pyarena.text import compact, number, plain, share, sparkline

USAGE = "[OPTION ...] [PID ...]"
SUMMARY = "watch processes live"
EXAMPLES = """\
  pyarena top
  pyarena top --tree 4711                      # a server and its workers
  pyarena top --once --json 4711 | jq '.[0].refault_pages_per_second'
"""

_KEYS: dict[str, tuple[str, Callable[[Observed], float]]] = {
    "r": ("resident", lambda one: -one.resident_bytes),
    "l": ("live", lambda one: -one.stats.live_bytes),
    "f": ("free", lambda one: -one.stats.dirty_bytes),
    "o": ("own", lambda one: -(one.private_bytes or 0)),
    "g": ("gone", lambda one: -one.stats.purged_bytes),
    "b": ("given back", lambda one: -(one.purged_per_second or 0)),
    "a": ("taken again", lambda one: -(one.refaults_per_second or 0)),
    "p": ("process", lambda one: one.pid),
}
_WIDE = 100  # columns, from which on there is room for what has been given back altogether
_HEAD = f"{'PID':>7} {'RES':>5} {'PRIV':>5} {'SHARE':>5} {'LIVE':>5} {'FREE':>5} {'KEEP':>5} {'BACK/s':>6} {'AGAIN/s':>7} "
_LEGEND = "RES resident  PRIV own alone  LIVE in use  FREE kept for reuse, at most KEEP  BACK, AGAIN pages given, retaken  GONE given back"
_SPARK = 12


def _interval(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0.1 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.1 on")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of this verb."""
    parser.add_argument("--tree", action="store_true", help="also the descendants of the given processes")
    parser.add_argument("--interval", type=_interval, default=1.0, metavar="S", help="seconds between looks (default: 1)")
    parser.add_argument("--once", action="store_true", help="look twice, an interval apart, print the table and end")
    parser.add_argument("--json", action="store_true", help="print JSON, a list of processes; goes with --once")
    parser.add_argument("pids", nargs="*", type=process_id, metavar="PID", help="a process")


# ---- What is shown ------------------------------------------------------------------------------------


def _rate(value: float | None) -> str:
    if value is None:
        return "-"
    for letter in ("", "k", "M", "G"):
        if value < (99_999.5 if letter == "" else 9_999.5):
            break
        value /= 1000
    return f"{value:.0f}{letter}"


def head(width: int) -> str:
    """The names of the columns."""
    gone = f"{'GONE':>5} " if width >= _WIDE else ""
    return f"{_HEAD}{gone}{'MEMORY':{_SPARK}} COMMAND"


def row(one: Observed, width: int, *, as_tree: bool) -> str:
    """The line of one process."""
    stats = one.stats
    sizes = (one.resident_bytes, one.private_bytes, one.shared_bytes, stats.live_bytes, stats.dirty_bytes, stats.reserve_bytes)
    cells = " ".join(f"{compact(size):>5}" for size in sizes)
    gone = f"{compact(stats.purged_bytes):>5} " if width >= _WIDE else ""
    rates = f"{_rate(one.purged_per_second):>6} {_rate(one.refaults_per_second):>7}"
    branch = "  " * (one.depth - 1) + "└ " if as_tree and one.depth else ""
    spark = f"{sparkline(list(one.history), _SPARK):{_SPARK}} "
    program, blank, words = one.command.partition(" ")
    command = program.rpartition("/")[2] + blank + words  # at 80 columns each letter counts
    return f"{one.pid:>7} {cells} {rates} {gone}{spark}{branch}{command}"[:width]


def total(shown: list[Observed]) -> str:
    """What all of them hold together."""
    private = sum(one.private_bytes or 0 for one in shown)
    proportional = sum(one.proportional_bytes or 0 for one in shown)
    return (f"{len(shown)} process{'es' if len(shown) != 1 else ''}: {compact(proportional)} with shared memory counted "
            f"once, {compact(private)} of it private")  # fmt: skip


def details(one: Observed, width: int, height: int) -> list[str]:
    """Heaps and the size classes that hold most, of one process."""
    assert one.snapshot is not None, "it has been looked at"
    stats, gone = one.stats, one.snapshot.purged_by_heap()
    held = max(stats.live_page_bytes - stats.live_bytes, 0)
    lines = [f"{one.pid}: {one.command}",
             f"  {compact(stats.live_bytes)} live, {compact(held)} held by it, {compact(stats.dirty_bytes)} free, "
             f"{compact(stats.purged_bytes)} given back and gone", ""]  # fmt: skip
    for heap in one.snapshot.heap_table()[: max(1, height // 3)]:
        kind = "CPython's objects" if heap["is_interpreter"] else "malloc"
        lines.append(f"  heap {heap['id']:<3} {kind:17} {heap['arenas']:>5} arenas {compact(heap['live_bytes']):>6} live "
                     f"{compact(heap['dirty_bytes']):>6} free {compact(gone[heap['id']]):>6} gone")  # fmt: skip
    lines += ["", f"  {'BLOCKS OF':>10} {'LIVE':>12} {'POOLS':>8} {'SPAN':>6} {'IN USE':>7}"]
    found = sorted(merged_classes(one.snapshot.class_table()), key=lambda entry: -entry["pool_bytes"])
    for entry in found:
        used = entry["live_blocks"] * entry["block_bytes"]
        name = f"{number(entry['block_bytes'])} B" if entry["block_bytes"] else "medium"
        lines.append(f"  {name:>10} {number(entry['live_blocks']):>12} {number(entry['pools']):>8} "
                     f"{compact(entry['pool_bytes']):>6} {share(used, entry['pool_bytes']) if used else '-':>7}")  # fmt: skip
    return [line[:width] for line in lines[: max(height, 0)]]


def _sorted(shown: list[Observed], key: str) -> list[Observed]:
    return shown if key == "t" else sorted(shown, key=_KEYS[key][1])


# ---- Once ---------------------------------------------------------------------------------------------


def _once(group: Group, arguments: argparse.Namespace) -> int:
    group.look()
    time.sleep(arguments.interval)
    shown = _sorted(group.look(), "t" if arguments.tree else "r")
    if arguments.json:
        print(json.dumps([one.values() for one in shown], indent=1))
        return 0
    if not shown:
        raise Refusal("no process that may be read has the library in it; pyarena doctor PID says why")
    lines = [head(200), *(row(one, 200, as_tree=arguments.tree) for one in shown), "", total(shown)]
    print("\n".join(line.rstrip() for line in lines))
    return 0


# ---- Live ---------------------------------------------------------------------------------------------


class _Screen:
    """The terminal: draws what was seen last, and takes keys."""

    def __init__(self, window: curses.window, group: Group, arguments: argparse.Namespace) -> None:
        self._window, self._group, self._arguments = window, group, arguments
        self._key = "t" if arguments.tree else "r"
        self._chosen = 0  # a process ID, which stays chosen when the order changes
        self._shown: list[Observed] = []
        with contextlib.suppress(curses.error):
            curses.curs_set(0)

    def run(self) -> None:
        """Until q."""
        while True:
            self._shown = _sorted(self._group.look(), self._key)
            end = time.monotonic() + self._arguments.interval
            while (left := end - time.monotonic()) > 0:
                self._draw()
                self._window.timeout(max(1, int(left * 1000)))
                try:
                    pressed = self._window.getch()
                except KeyboardInterrupt:
                    return
                if pressed in (ord("q"), 27):
                    return
                if pressed >= 0:
                    self._press(pressed)

    def _press(self, pressed: int) -> None:
        pids = [one.pid for one in self._shown]
        place = pids.index(self._chosen) if self._chosen in pids else 0
        step = {curses.KEY_UP: -1, ord("k"): -1, curses.KEY_DOWN: 1, ord("j"): 1}.get(pressed)
        if step and pids:
            self._chosen = pids[max(0, min(len(pids) - 1, place + step))]
        letter = chr(pressed) if pressed < 128 else ""
        if letter == "t" or letter in _KEYS:
            self._key = letter
            self._shown = _sorted(list(self._group.members.values()), letter)

    def _put(self, line: int, text: str, attribute: int = curses.A_NORMAL) -> None:
        height, width = self._window.getmaxyx()
        text = text if self._window.encoding.lower().startswith("utf") else plain(text)
        if line < height:
            with contextlib.suppress(curses.error):  # the last cell of the screen cannot be written
                self._window.addnstr(line, 0, text.ljust(width), width - (line == height - 1), attribute)

    def _draw(self) -> None:
        height, width = self._window.getmaxyx()
        self._window.erase()
        by = "tree" if self._key == "t" else _KEYS[self._key][0]
        self._put(0, f"pyarena top  {time.strftime('%H:%M:%S')}  sorted by {by}")
        self._put(1, total(self._shown) if self._shown else "no process that may be read has the library in it")
        self._put(3, head(width), curses.A_REVERSE)
        room = max(1, min(len(self._shown), height - 6 if height < 20 else (height - 6) // 2))
        pids = [one.pid for one in self._shown]
        place = pids.index(self._chosen) if self._chosen in pids else 0
        first = max(0, min(place - room // 2, len(self._shown) - room))
        for line, one in enumerate(self._shown[first : first + room]):
            attribute = curses.A_BOLD if first + line == place else curses.A_NORMAL
            self._put(4 + line, row(one, width, as_tree=self._key == "t"), attribute)
        if self._shown and height >= 20:
            below = 5 + room
            for line, text in enumerate(details(self._shown[place], width, height - below - 2)):
                self._put(below + line, text)
        self._put(height - 1, _LEGEND if width > len(_LEGEND) else "q quit  r o l f g b a p t sort  arrows choose", curses.A_DIM)
        self._window.refresh()


def main(arguments: argparse.Namespace) -> int:
    """Watch until the user has seen enough."""
    if arguments.json and not arguments.once:
        raise Refusal("--json goes with --once")
    if arguments.tree and not arguments.pids:
        raise Refusal("--tree needs the process at its root")
    if not arguments.once and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Refusal("this is no terminal; --once prints the table and ends")
    group = Group(arguments.pids, tree=arguments.tree)
    try:
        if arguments.once:
            return _once(group, arguments)
        group.look()  # what is refused is told before the screen is taken
        locale.setlocale(locale.LC_ALL, "")
        os.environ.setdefault("ESCDELAY", "25")
        try:
            curses.wrapper(lambda window: _Screen(window, group, arguments).run())
        except curses.error as error:
            raise Refusal(f"the terminal {os.environ.get('TERM', '')} cannot be drawn on: {error}") from error
        return 0
    finally:
        group.close()
