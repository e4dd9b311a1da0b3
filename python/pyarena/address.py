# SPDX-License-Identifier: MIT
"""What an address is to the library: a block, whose, and whether it is free."""

from __future__ import annotations

from pyarena.blocks import LIVE, REMOTE, Blocks
from pyarena.record import Arena, Pool, Records
from pyarena.text import number, size

FOREIGN = "not in memory of libpyarena's: of the program, a stack, or a freed large object"


def describe(records: Records, address: int) -> list[tuple[str, str]]:
    """What there is to say, each with a name; the first is "it is", the answer in short.  Raises ProcessError."""
    for start, count in records.large_objects().items():
        if start <= address < start + count:
            return [("it is", f"{_inside(address - start)} a large object, in use"),
                    ("object", f"{start:#x}, {size(count)}, a mapping of its own")]  # fmt: skip
    arena_bytes = 1 << records.geometry.arena_shift
    start = address // arena_bytes * arena_bytes
    if start not in records.arena_addresses():
        return [("it is", FOREIGN)]
    arena = records.read_arena(start)
    if arena is None:
        return [("it is", "in a free arena that is kept for reuse")]
    return _in_arena(records, arena, address)


def _inside(offset: int) -> str:
    return "the beginning of" if offset == 0 else f"{number(offset)} bytes into"


def _in_arena(records: Records, arena: Arena, address: int) -> list[tuple[str, str]]:
    geometry = records.geometry
    slot = address - arena.address >> geometry.slot_shift
    around = [("arena", _arena_text(records, arena)), ("heap", _heap_text(records, arena))]
    pool = next((one for one in arena.pools if one.slot <= slot < one.slot + one.slots), None)
    if pool:
        return [*_in_pool(records, arena, pool, address), *around]
    if slot < geometry.first_slot:
        return [("it is", "among the library's own records, at the beginning of an arena"), *around]
    if slot > geometry.last_slot:
        return [("it is", "at the end of an arena, which is never used"), *around]
    unit = address - arena.address >> geometry.unit_shift
    state = "given back" if arena.purged >> unit & 1 else "resident" if arena.touched >> unit & 1 else "never used"
    return [("it is", f"free: in no pool; its page is {state}"), *around]


def _arena_text(records: Records, arena: Arena) -> str:
    usable = records.geometry.last_slot - records.geometry.first_slot + 1
    return f"{arena.address:#x}, {usable - bin(arena.free_slots).count('1')} of {usable} slots in use"


def _heap_text(records: Records, arena: Arena) -> str:
    for heap in records.read_heaps():
        if heap.address == arena.heap:
            whose = "CPython's objects" if heap.is_interpreter else "malloc"
            return f"{heap.id} at {heap.address:#x}, {whose}" + (", its thread has ended" if heap.is_abandoned else "")
    return f"at {arena.heap:#x}"


def _in_pool(records: Records, arena: Arena, pool: Pool, address: int) -> list[tuple[str, str]]:
    start = arena.address + (pool.slot << records.geometry.slot_shift)
    offset = address - start
    if pool.run_units:
        count = pool.run_units * records.geometry.unit_bytes
        if offset >= count:
            return [("it is", "behind a medium object, in memory that is its own and not used")]
        return [("it is", f"{_inside(offset)} a medium object, {REMOTE if pool.remote else LIVE}"),
                ("object", f"{start:#x}, {size(count)}")]  # fmt: skip
    blocks = Blocks.read(records, arena, pool)
    place = (offset - pool.lead) // blocks.block_bytes
    about = ("pool", f"slot {pool.slot} of its arena: {number(pool.used)} of {number(blocks.count)} blocks of "
             f"{number(blocks.block_bytes)} B in use")  # fmt: skip
    if not 0 <= place < blocks.count:
        return [("it is", f"in a pool, {'before its first' if place < 0 else 'behind its last'} block"), about]
    block = start + pool.lead + place * blocks.block_bytes
    return [("it is", f"{_inside(address - block)} a block, {blocks.state(place)}"),
            ("block", f"{block:#x}, {number(blocks.block_bytes)} B, number {number(place)} of its pool"), about]  # fmt: skip
