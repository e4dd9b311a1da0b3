# SPDX-License-Identifier: MIT
"""Show what each page of a heap is used for, and which sizes of blocks hold how much.

TARGET is a process ID, or a file: one that --save wrote, or the library itself at exit, by pyarena run
--map=FILE or PYARENA_STATS=map:FILE.  With two targets both are shown, as before and after.
In the terminal an arena (1 MiB) is a row and 16 KiB a letter; the picture shows every page of 4 KiB.
Large objects (above 256 KiB) lie in mappings of their own and are only counted.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pyarena.command import Refusal, write_file
from pyarena.heap_map import HeapMap
from pyarena.heap_picture import difference, page, svg, text
from pyarena.heap_pixels import png
from pyarena.text import plain

USAGE = "[OPTION ...] TARGET [TARGET]"
SUMMARY = "draw what the pages of a heap are used for"
EXAMPLES = """\
  pyarena map 4711
  pyarena map --html heap.html 4711
  pyarena map --save before.map 4711; …; pyarena map --html both.html before.map 4711
"""


def _rows(text_: str) -> int:
    if not text_.isdigit():
        raise argparse.ArgumentTypeError(f"{text_!r} is not a number of rows")
    return int(text_)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of this verb."""
    parser.add_argument("--rows", type=_rows, default=40, metavar="N", help="arenas to show in the terminal (default: 40)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with the picture; it needs no other file")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write the picture alone, of one target")
    parser.add_argument("--png", type=Path, metavar="FILE", help="the same without names, for where no SVG can be shown")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the map of one target, to be shown later")
    parser.add_argument("targets", nargs="+", metavar="TARGET", help="a process ID, or a saved map")


def main(arguments: argparse.Namespace) -> int:
    """Show the map, or write it."""
    if len(arguments.targets) > 2:
        raise Refusal("one target, or two for before and after")
    if len(arguments.targets) == 2 and (arguments.svg or arguments.png or arguments.save):
        raise Refusal("--svg, --png and --save take one target; --html shows two")
    maps = [HeapMap.of_process(int(one)) if one.isdigit() else HeapMap.of_file(Path(one)) for one in arguments.targets]
    if arguments.save:
        write_file(arguments.save, maps[0].save())
    if arguments.svg:
        write_file(arguments.svg, svg(maps[0]) + "\n")
    if arguments.png:
        write_file(arguments.png, png(maps[0]))
    if arguments.html:
        write_file(arguments.html, page(maps))
    if not (arguments.save or arguments.svg or arguments.png or arguments.html):
        shown = "\n\n\n".join(text(one, arguments.rows) for one in maps)
        print(shown if (sys.stdout.encoding or "").lower().startswith("utf") else plain(shown))
        if len(maps) == 2:
            print(f"\n{difference(*maps)}")
    return 0
