# SPDX-License-Identifier: MIT
"""Pages that few blocks hold, and what these blocks are: why memory did not come down.

Which blocks of a pool live is found by its lists of free ones.  A live block of an interpreter's heap
is an object if, at one of the places where CPython puts an object into its memory, there is a pointer to
a type; what is left are the tables of lists and dictionaries, buffers, and the like.
"""

from __future__ import annotations

import random
import struct
from collections import Counter
from dataclasses import dataclass, field

from pyarena.blocks import Blocks
from pyarena.process import ProcessError
from pyarena.record import Arena, Pool, Snapshot, Target

NO_OBJECT = "no object (tables of lists and dictionaries, buffers)"

# Offsets in CPython's PyTypeObject, alike from 3.7 to 3.13 in builds without debugging.
_TYPE_OF, _NAME, _FLAGS, _TYPE_BYTES = 8, 24, 168, 176
_HAVE_GC = 1 << 14
# Where in its memory an object begins: without the collector's head, behind it, and behind a head and
# the two pointers that instances have before it from 3.11 on.
_PLAIN, _BEHIND_HEAD, _BEHIND_BOTH = 0, 16, 32


@dataclass
class SizePins:
    """Blocks of one size: the pages that few of them hold."""

    pages: int = 0
    blocks: int = 0
    bytes: int = 0


@dataclass
class Pins:
    """What was found; counts are scaled up where only a part of the pools was read."""

    pools: int = 0  # that were read
    part: float = 1.0  # of those that were worth it
    pages: int = 0
    sizes: dict[int, SizePins] = field(default_factory=dict)
    pages_by_type: Counter[str] = field(default_factory=Counter)
    blocks_by_type: Counter[str] = field(default_factory=Counter)

    def whole(self, count: int) -> int:
        """A count as it would be if all had been read."""
        return round(count / self.part)


class _Types:
    """Tells what type a block's object is of."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._type_type = target.symbol("PyType_Type")
        self._known: dict[int, tuple[str, bool] | None] = {}

    def name(self, block: bytes) -> str:
        """The name of the type, or NO_OBJECT."""
        for place, needs_gc in ((_PLAIN, False), (_BEHIND_HEAD, True), (_BEHIND_BOTH, True)):
            if self._type_type is None or len(block) < place + 16:
                break
            address = struct.unpack_from("<Q", block, place + _TYPE_OF)[0]
            if address not in self._known:
                self._known[address] = self._look(address)
            found = self._known[address]
            if found and found[1] == needs_gc:
                return found[0]
        return NO_OBJECT

    def _look(self, address: int) -> tuple[str, bool] | None:
        """Name of a type, and whether the collector looks at its objects; None if there is no type."""
        if address % 8 or not 4096 <= address < 1 << 47:
            return None
        try:
            record = self._target.read_memory(address, _TYPE_BYTES)
            if len(record) < _TYPE_BYTES or not self._is_metatype(struct.unpack_from("<Q", record, _TYPE_OF)[0]):
                return None
            name = self._target.read_memory(struct.unpack_from("<Q", record, _NAME)[0], 100).partition(b"\0")[0]
        except ProcessError:
            return None
        text = name.decode(errors="replace")
        flags = struct.unpack_from("<Q", record, _FLAGS)[0]
        return (text, bool(flags & _HAVE_GC)) if text.isprintable() and text else None

    def _is_metatype(self, address: int) -> bool:
        if address == self._type_type:
            return True
        if address % 8 or not 4096 <= address < 1 << 47:
            return False
        return bool(struct.unpack("<Q", self._target.read_memory(address + _TYPE_OF, 8))[0] == self._type_type)


def find(target: Target, *, filled: float, most_pools: int) -> Pins:
    """Pages of which at most a share is in use.  Of many sparse pools, so many are read, chosen by chance."""
    snapshot = target.read()
    objects = {heap.address for heap in snapshot.heaps if heap.is_interpreter}
    sparse = [(arena, pool) for arena in snapshot.arenas for pool in arena.pools if _is_sparse(snapshot, pool)]
    chosen = sparse if len(sparse) <= most_pools else random.sample(sparse, most_pools)
    pins = Pins(part=len(chosen) / len(sparse) if sparse else 1.0)
    types = _Types(target)
    for arena, pool in chosen:
        try:
            _look_at(target, arena, pool, types if arena.heap in objects else None, filled, pins)
        except ProcessError:
            continue  # the arena has just gone
        pins.pools += 1
    return pins


def _is_sparse(snapshot: Snapshot, pool: Pool) -> bool:
    """Can a page of the pool be in use by less than half?"""
    if pool.run_units or pool.used <= 0:
        return False
    present = bin(pool.present).count("1") * snapshot.geometry.unit_bytes
    return snapshot.live_bytes(pool) < 0.9 * present


def _look_at(target: Target, arena: Arena, pool: Pool, types: _Types | None, filled: float, pins: Pins) -> None:
    blocks = Blocks.read(target, arena, pool)
    unit, block_bytes, memory = blocks.unit_bytes, blocks.block_bytes, blocks.memory
    pages: dict[int, list[int]] = {}
    for offset in blocks.live():
        for page in range(offset // unit, (offset + block_bytes - 1) // unit + 1):
            pages.setdefault(page, []).append(offset)
    pinned = {page: offsets for page, offsets in pages.items()
              if sum(_overlap(offset, block_bytes, page, unit) for offset in offsets) <= filled * unit}  # fmt: skip
    if not pinned:
        return
    sizes = pins.sizes.setdefault(block_bytes, SizePins())
    holders = {offset for offsets in pinned.values() for offset in offsets}
    sizes.pages += len(pinned)
    sizes.blocks += len(holders)
    sizes.bytes += len(holders) * block_bytes
    pins.pages += len(pinned)
    if types is None:
        pins.blocks_by_type["malloc"] += len(holders)
        pins.pages_by_type["malloc"] += len(pinned)
        return
    names = {offset: types.name(memory[offset : offset + block_bytes]) for offset in holders}
    pins.blocks_by_type.update(names.values())
    for offsets in pinned.values():
        pins.pages_by_type.update({names[offset] for offset in offsets})


def _overlap(offset: int, size: int, page: int, unit: int) -> int:
    return min(offset + size, (page + 1) * unit) - max(offset, page * unit)
