# SPDX-License-Identifier: MIT
"""What each page of the heap is used for, as cells: the model behind all forms of pyarena map.

A cell is a unit of 4 KiB.  How full it is, is told of its pool as a whole.  Which of a pool's units hold
nothing any more takes a look at its blocks; so many pools have one, the emptiest first.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from pyarena import process
from pyarena.blocks import Blocks
from pyarena.dumped import MAGIC, Dump
from pyarena.fields import Stats
from pyarena.process import ProcessError
from pyarena.record import Arena, Geometry, Heap, Pool, SizeClass, Snapshot, Target, popcount

_FORM = "pyarena map, form 1"

# The states of a cell.
LIVE = "live"  # part of a pool with blocks in use
DEAD = "dead"  # in such a pool, resident, and without a block in use
FREE = "free"  # resident and free: the reserve
GIVEN_BACK = "given back"  # address space without memory
UNTOUCHED = "untouched"  # never used since the arena was made
RECORDS = "records"  # the library's own


_MOST_LOOKS = 8000  # at pools, about two seconds


@dataclass(frozen=True)
class Cell:
    """So many units in a row that are used alike."""

    state: str
    count: int
    pool: Pool | None = None


class Holder(NamedTuple):
    """What the pools of a size, or of a heap, hold."""

    name: int | str
    live: int  # bytes in blocks in use
    pages: int  # bytes of the pages that these lie on
    excess: int


Name = TypeVar("Name", int, str)


@dataclass(frozen=True)
class HeapMap:
    """A snapshot with the name of what it is of."""

    title: str
    snapshot: Snapshot

    @staticmethod
    def of_process(pid: int) -> HeapMap:
        """Read a running process.  Raises ProcessError."""
        with Target(pid) as target:
            title, snapshot = f"process {pid}: {process.command_line(pid)}", target.read()
            return HeapMap(title, _with_dead_units(target, snapshot))

    @staticmethod
    def of_file(path: Path) -> HeapMap:
        """Read a map that save() wrote, or the library at exit.  Raises ProcessError."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ProcessError(f"{path} cannot be read: {error.strerror}") from error
        if data.startswith(MAGIC):
            dump = Dump(path, data)
            return HeapMap(f"process {dump.pid} when it wrote {path.name}: {dump.command}", dump.snapshot())
        try:
            values = json.loads(data)
        except ValueError as error:
            raise ProcessError(f"{path} is no saved map: {error}") from error
        if not isinstance(values, dict) or values.get("form") != _FORM:
            raise ProcessError(f"{path} is no map (pyarena map --save FILE PID and pyarena run --map FILE write one)")
        try:
            return HeapMap(str(values["title"]), _snapshot(values["snapshot"]))
        except (KeyError, TypeError) as error:
            raise ProcessError(f"{path} is a saved map that is damaged: {error}") from error

    def save(self) -> str:
        """The map as JSON."""
        return json.dumps({"form": _FORM, "title": self.title, "snapshot": dataclasses.asdict(self.snapshot)}) + "\n"

    def arenas(self) -> list[Arena]:
        """The arenas by heap, those with most in use first."""
        order = {heap.address: number for number, heap in enumerate(self.snapshot.heaps)}
        return sorted(self.snapshot.arenas, key=lambda one: (order.get(one.heap, len(order)), -_used_slots(one)))

    def heap_name(self, arena: Arena) -> str:
        """Whose arena it is."""
        for heap in self.snapshot.heaps:
            if heap.address == arena.heap:
                return f"{'objects' if heap.is_interpreter else 'malloc'} {heap.id}"
        return "a new heap"

    def cells(self, arena: Arena) -> Iterator[Cell]:
        """The arena from its beginning to its end."""
        geometry = self.snapshot.geometry
        slot_units = geometry.slot_units
        yield Cell(RECORDS, geometry.first_slot * slot_units)
        pools = {pool.slot: pool for pool in arena.pools}
        slot = geometry.first_slot
        while slot <= geometry.last_slot:
            pool = pools.get(slot)
            slots = pool.slots if pool else 1
            yield from self._merged(arena, slot * slot_units, slots * slot_units, pool)
            slot += slots
        yield Cell(UNTOUCHED, geometry.arena_units - slot * slot_units)

    def _merged(self, arena: Arena, first: int, count: int, pool: Pool | None) -> Iterator[Cell]:
        """The cells of one pool, or of a free slot."""
        state, length = "", 0
        for unit in range(first, first + count):
            now = self._state(arena, unit, unit - first, pool)
            if now != state and length:
                yield Cell(state, length, pool if state == LIVE else None)
                length = 0
            state, length = now, length + 1
        yield Cell(state, length, pool if state == LIVE else None)

    def _state(self, arena: Arena, unit: int, place: int, pool: Pool | None) -> str:
        if pool and pool.used > 0 and pool.present >> place & 1:
            return DEAD if pool.dead >> place & 1 else LIVE
        if arena.purged >> unit & 1:
            return GIVEN_BACK
        return FREE if arena.touched >> unit & 1 else UNTOUCHED

    def share(self, pool: Pool) -> float:
        """How much of what a pool has present is in use, 0 to 1."""
        unit = self.snapshot.geometry.unit_bytes
        present = bin(pool.present).count("1") * unit
        return min(1.0, self.snapshot.live_bytes(pool) / present) if present else 0.0

    def holders(self) -> list[Holder]:
        """Size classes, by what they hold beyond need; medium objects as size 0."""
        return self._summed(lambda _, pool: 0 if pool.run_units else self.snapshot.classes[pool.class_index].block_bytes)

    def holding_heaps(self) -> list[Holder]:
        """Heaps, by what they hold beyond need."""
        return self._summed(lambda arena, _: self.heap_name(arena))

    def _summed(self, key: Callable[[Arena, Pool], Name]) -> list[Holder]:
        unit = self.snapshot.geometry.unit_bytes
        sums: dict[Name, tuple[int, int]] = {}
        for arena in self.snapshot.arenas:
            for pool in arena.pools:
                if pool.used <= 0:
                    continue
                name = key(arena, pool)
                live, pages = sums.get(name, (0, 0))
                held = popcount(pool.present) - (popcount(pool.dead) or pool.dead_units)
                sums[name] = (live + self.snapshot.live_bytes(pool), pages + held * unit)
        found = [Holder(name, live, pages, max(pages - live, 0)) for name, (live, pages) in sums.items()]
        return sorted(found, key=lambda one: -one.excess)


def _with_dead_units(target: Target, snapshot: Snapshot) -> Snapshot:
    """The snapshot with the dead units of the pools that may have any."""
    found: dict[tuple[int, int], int] = {}
    sparse = sorted((snapshot.live_bytes(pool) / popcount(pool.present), arena.address, pool.slot, arena, pool)
                    for arena in snapshot.arenas for pool in arena.pools if _may_have_dead_units(snapshot, pool))  # fmt: skip
    for _, address, slot, arena, pool in sparse[:_MOST_LOOKS]:
        try:
            found[address, slot] = Blocks.read(target, arena, pool).dead_units()
        except ProcessError:
            continue  # the arena has just gone
    arenas = [dataclasses.replace(arena, pools=tuple(
        dataclasses.replace(pool, dead=found.get((arena.address, pool.slot), 0)) for pool in arena.pools))
        for arena in snapshot.arenas]  # fmt: skip
    return dataclasses.replace(snapshot, arenas=arenas)


def _may_have_dead_units(snapshot: Snapshot, pool: Pool) -> bool:
    """Is there room for a whole page between its blocks in use?"""
    if pool.run_units or pool.used <= 0 or not pool.present:
        return False
    return popcount(pool.present) * snapshot.geometry.unit_bytes - snapshot.live_bytes(pool) >= snapshot.geometry.unit_bytes


def _used_slots(arena: Arena) -> int:
    return sum(pool.slots for pool in arena.pools)


def _snapshot(values: dict[str, object]) -> Snapshot:
    """What dataclasses.asdict has taken apart."""
    entries: dict[str, list[dict[str, object]]] = values  # type: ignore[assignment]
    arenas = [Arena(**{**one, "pools": tuple(Pool(**pool) for pool in one["pools"])}) for one in entries["arenas"]]  # type: ignore
    return Snapshot(
        values["pid"], values["version"], Geometry(**values["geometry"]), Stats(*values["stats"]),  # type: ignore
        [SizeClass(**one) for one in entries["classes"]], [Heap(**one) for one in entries["heaps"]], arenas,  # type: ignore
    )  # fmt: skip
