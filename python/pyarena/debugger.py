# SPDX-License-Identifier: MIT
"""The command pyarena and the pretty-printers for gdb; scripts/pyarena-gdb.py loads them.

The command reads the library's record, as pyarena(1) does: it needs no debugging information, and serves
running programs and core files alike.  The printers need the information that gcc -g leaves.
"""

from __future__ import annotations

from collections.abc import Iterator

import gdb
import gdb.printing

from pyarena.address import describe
from pyarena.process import ProcessError, UnmappedError
from pyarena.record import SYMBOL, RecordError, Records
from pyarena.statistics_text import Report, text


class _Memory:
    """The memory of the program that gdb has."""

    def read(self, address: int, count: int) -> bytes:
        """Bytes at an address.  Raises UnmappedError."""
        try:
            return bytes(gdb.selected_inferior().read_memory(address, count))
        except gdb.MemoryError as error:
            raise UnmappedError(f"there is no memory at {address:#x}") from error


def _records() -> Records:
    try:
        address = int(gdb.parse_and_eval(f"(unsigned long)&{SYMBOL}"))
    except gdb.error as error:
        raise RecordError("libpyarena is not in this program, or the program does not run yet") from error
    pid = gdb.selected_inferior().pid
    return Records(_Memory(), address, pid, f"process {pid}")


class _Command(gdb.Command):
    """Tell what an address is to libpyarena, or where the memory is.

pyarena ADDRESS
  The block, pool, arena and heap that the address is in, and whether the block is free.  ADDRESS is any
  expression, such as a pointer.
pyarena
  What "pyarena stats" tells of a process: live and free memory, by size of blocks and by heap."""

    def __init__(self) -> None:
        super().__init__("pyarena", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def invoke(self, argument: str, from_tty: bool) -> None:
        """Run it."""
        try:
            gdb.write((self._address(argument) if argument else self._summary()) + "\n")
        except ProcessError as error:
            raise gdb.GdbError(str(error)) from error

    def _address(self, argument: str) -> str:
        address = int(gdb.parse_and_eval(f"(unsigned long)({argument})"))
        return "\n".join([f"{address:#x}", *(f"  {name:6} {what}" for name, what in describe(_records(), address))])

    def _summary(self) -> str:
        space = gdb.current_progspace()
        return text(Report((space and space.filename) or "the program", None, _records().read().report()))


# ---- Printers -----------------------------------------------------------------------------------------


def _named(value: gdb.Value, enumeration: str, prefix: str) -> str:
    """The name of a number that stands for a constant, in small letters."""
    number = int(value)
    for constant in gdb.lookup_type(f"enum {enumeration}").fields():
        if constant.enumval == number:
            return str(constant.name).removeprefix(prefix).lower()
    return str(number)


def _bits(words: gdb.Value) -> int:
    first, last = words.type.range()
    return sum(bin(int(words[place])).count("1") for place in range(first, last + 1))


class _Printer:
    """A sentence on a structure, then those of its fields that matter."""

    fields: tuple[str, ...] = ()

    def __init__(self, value: gdb.Value) -> None:
        self.value = value

    def to_string(self) -> str:
        """In short."""
        raise NotImplementedError

    def children(self) -> Iterator[tuple[str, gdb.Value]]:
        """The fields."""
        return ((name, self.value[name]) for name in self.fields)


class _Pool(_Printer):
    fields = ("list", "remote", "watermark", "absent", "dead_units")

    def children(self) -> Iterator[tuple[str, gdb.Value]]:
        """The fields, where they mean anything."""
        return super().children() if int(self.value["state"]) else iter(())

    def to_string(self) -> str:
        """In short."""
        state = _named(self.value["state"], "pa_pool_state", "PA_POOL_")
        if state == "free":
            return "no pool begins here"
        if state == "run":
            return f"run of {int(self.value['run_units'])} pages"
        size_class = gdb.parse_and_eval("pa_classes")[int(self.value["class_index"])]
        used = int(self.value["slack"]) + int(self.value["watermark"]) + 1
        return f"{state} pool, {used} of {int(size_class['blocks'])} blocks of {int(size_class['block_bytes'])} B in use"


class _Arena(_Printer):
    fields = ("heap", "free_slots", "dirty_units", "dead_units", "is_queued")

    def to_string(self) -> str:
        """In short."""
        free = bin(int(self.value["free_slots"])).count("1")
        owner = f"of heap {int(self.value['heap']['id'])}" if int(self.value["heap"]) else "of no heap"
        return (f"arena {owner}, {free} slots free, {_bits(self.value['touched'])} pages resident, "
                f"{_bits(self.value['purged'])} given back")  # fmt: skip


class _Heap(_Printer):
    fields = ("arena_mask", "queue_first", "dirty_units", "sweeps", "remote_frees", "remote_pools", "next")

    def to_string(self) -> str:
        """In short."""
        kind = _named(self.value["kind"], "pa_heap_kind", "PA_HEAP_")
        return f"heap {int(self.value['id'])}, {kind}, {_named(self.value['state'], 'pa_heap_state', 'PA_HEAP_')}"


def register() -> None:
    """Have gdb know the command and the printers."""
    _Command()
    printers = gdb.printing.RegexpCollectionPrettyPrinter("pyarena")
    for name, printer in (("pool", _Pool), ("arena", _Arena), ("heap", _Heap)):
        printers.add_printer(name, f"^pa_{name}$", printer)
    gdb.printing.register_pretty_printer(None, printers, replace=True)
