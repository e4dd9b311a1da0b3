# SPDX-License-Identifier: MIT
"""The blocks of one pool: which of them live, and which are free and why.

A free block begins with the address of the next in its list; one that touches an absent unit is in no list.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pyarena.record import Arena, Pool, Records

# The states of a block.
LIVE = "in use"
LISTED = "free"
REMOTE = "free, by a thread that does not own it; not yet collected"
ABSENT = "free; its page was given back, or was never used"


@dataclass(frozen=True)
class Blocks:
    """A pool of small blocks with its memory, as it was when it was read."""

    start: int  # address of its first slot
    pool: Pool
    count: int
    block_bytes: int
    unit_bytes: int
    memory: bytes  # zeros where it is absent

    @staticmethod
    def read(records: Records, arena: Arena, pool: Pool) -> Blocks:
        """Read a pool that is no run; what was given back is not read, and so not touched.  Raises ProcessError."""
        unit = records.geometry.unit_bytes
        start = arena.address + (pool.slot << records.geometry.slot_shift)
        pieces = (records.read_memory(start + place * unit, unit) if pool.present >> place & 1 else bytes(unit)
                  for place in range(pool.present.bit_length()))  # fmt: skip
        size_class = records.classes[pool.class_index]
        return Blocks(start, pool, size_class.blocks, size_class.block_bytes, unit, b"".join(pieces))

    def live(self) -> Iterator[int]:
        """The offsets of the live blocks."""
        free = self._listed(self.pool.list) | self._listed(self.pool.remote)
        for number in range(self.count):
            offset = self.pool.lead + number * self.block_bytes
            if offset not in free and self._is_present(offset):
                yield offset

    def dead_units(self) -> int:
        """A bit for each present unit on which no block lives."""
        dead = self.pool.present
        for offset in self.live():
            for place in range(offset // self.unit_bytes, (offset + self.block_bytes - 1) // self.unit_bytes + 1):
                dead &= ~(1 << place)
        return dead

    def state(self, number: int) -> str:
        """What a block is."""
        offset = self.pool.lead + number * self.block_bytes
        if not self._is_present(offset):
            return ABSENT
        if offset in self._listed(self.pool.list):
            return LISTED
        return REMOTE if offset in self._listed(self.pool.remote) else LIVE

    def _is_present(self, offset: int) -> bool:
        units = range(offset // self.unit_bytes, (offset + self.block_bytes - 1) // self.unit_bytes + 1)
        return all(self.pool.present >> place & 1 for place in units)

    def _listed(self, first: int) -> set[int]:
        """The offsets of the blocks of a list, as far as it lies in this memory."""
        found: set[int] = set()
        offset = first - self.start
        while 0 <= offset <= len(self.memory) - 8 and offset not in found:
            found.add(offset)
            offset = struct.unpack_from("<Q", self.memory, offset)[0] - self.start
        return found
