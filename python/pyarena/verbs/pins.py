# SPDX-License-Identifier: MIT
"""Find what keeps memory from coming down: pages that few blocks hold, and the objects in these blocks.

A page of 4 KiB goes back when nothing lives in it any more.  Shown are the pages of which at most a
quarter is in use: by size of blocks, and, for CPython, by the types of the objects that hold them.  An
object's own memory is told by its type; tables that belong to it (of a list, of a dictionary) are not.

Types are told by reading memory that is in motion, so take the counts as close, not as exact.
"""

from __future__ import annotations

import argparse
import json

from pyarena import process, table
from pyarena.command import process_id
from pyarena.pinned import NO_OBJECT, Pins, find
from pyarena.record import Target
from pyarena.text import number, size

USAGE = "[OPTION ...] PID"
SUMMARY = "name the objects that keep memory from coming down"
EXAMPLES = """\
  pyarena pins 4711
  pyarena pins --filled 50 4711                # pages that are half empty, too
  pyarena pins --json 4711 | jq .types
"""
_MOST_ROWS = 15
_UNIT_BYTES = 4096


def _percent(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 90:
        raise argparse.ArgumentTypeError(f"{text!r} is not a percentage from 1 to 90")
    return int(text)


def _pools(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of this verb."""
    parser.add_argument("--filled", type=_percent, default=25, metavar="N",
                        help="show pages that are in use up to so many per cent (default: 25)")  # fmt: skip
    parser.add_argument("--pools", type=_pools, default=4000, metavar="N",
                        help="read at most so many pools, chosen by chance, and scale up (default: 4000)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="JSON: sizes and types with pages and blocks")
    parser.add_argument("pid", type=process_id, metavar="PID", help="the process")


def _values(pid: int, pins: Pins) -> dict[str, object]:
    types = {name: {"pages": pins.whole(pages), "blocks": pins.whole(pins.blocks_by_type[name])}
             for name, pages in pins.pages_by_type.most_common()}  # fmt: skip
    sizes = [{"block_bytes": block, "pages": pins.whole(one.pages), "blocks": pins.whole(one.blocks)}
             for block, one in sorted(pins.sizes.items())]  # fmt: skip
    return {"pid": pid, "part_read": pins.part, "pages": pins.whole(pins.pages), "sizes": sizes, "types": types}


def _text(pid: int, pins: Pins, filled: int) -> str:
    about = "about " if pins.part < 1 else ""
    pages = pins.whole(pins.pages)
    lines = [f"process {pid}: {process.command_line(pid)}", ""]
    if not pages:
        return "\n".join([*lines, f"No page is in use by less than {filled} %: nothing is pinned."])
    blocks = sum(one.blocks for one in pins.sizes.values())
    live = sum(one.bytes for one in pins.sizes.values())
    lines.append(f"{about}{number(pages)} pages ({size(pages * _UNIT_BYTES)}) are held by {number(pins.whole(blocks))} blocks "
                 f"({size(pins.whole(live))}), each page in use by at most {filled} %")  # fmt: skip
    named = [(name, count) for name, count in pins.pages_by_type.most_common() if name not in (NO_OBJECT, "malloc")]
    if named:
        name, count = named[0]
        lines.append(f"{number(pins.whole(count))} of them are held by {number(pins.whole(pins.blocks_by_type[name]))} "
                     f"{name} objects")  # fmt: skip
    if pins.part < 1:
        lines.append(f"(scaled up from {100 * pins.part:.0f} % of the sparse pools)")
    types = [[name, number(pins.whole(count)), number(pins.whole(pins.blocks_by_type[name]))]
             for name, count in pins.pages_by_type.most_common(_MOST_ROWS)]  # fmt: skip
    sizes = [[f"{number(block)} B", number(pins.whole(one.pages)), number(pins.whole(one.blocks))]
             for block, one in sorted(pins.sizes.items(), key=lambda entry: -entry[1].pages)[:_MOST_ROWS]]  # fmt: skip
    return "\n".join([*lines, "", table.text(["held by", "pages", "blocks"], types), "",
                      table.text(["blocks of", "pages", "blocks"], sizes), "",
                      "A page that objects of several types hold is counted for each of them."])  # fmt: skip


def main(arguments: argparse.Namespace) -> int:
    """Find and print."""
    with Target(arguments.pid) as target:
        pins = find(target, filled=arguments.filled / 100, most_pools=arguments.pools)
    if arguments.json:
        print(json.dumps(_values(arguments.pid, pins), indent=1))
    else:
        print(_text(arguments.pid, pins, arguments.filled))
    return 0
