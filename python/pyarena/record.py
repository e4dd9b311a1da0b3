# SPDX-License-Identifier: MIT
"""The library's records in another process: where they are, what they say.

src/record.h tells the form.  What is read is in motion: a sum may be off by what happened meanwhile,
and an arena that has just been unmapped is passed by.
"""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from pyarena import process
from pyarena.elf import ElfError, Image
from pyarena.fields import Stats
from pyarena.process import Memory, ProcessError, UnmappedError

SYMBOL = "pyarena_record"
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_MAGIC = b"pyarena\0"
_VERSION = 2
_HEAD = struct.Struct("<8sII16s12IQ")
_FIELD = struct.Struct("<22sBBII")
_SIGNED, _BITMAP = 1, 2
_UNITS_MAX = 16  # of a pool
_LETTERS = {1: "B", 2: "H", 4: "I", 8: "Q"}

# The places, in the order of enum pa_record_place.
_PLACES = ("reserve", "classes", "manager", "arenas", "heaps", "adoptions", "large_count", "large_bytes",
           "large_cached", "large_table")  # fmt: skip


class RecordError(ProcessError):
    """There is no record that can be read; the text says why."""


@dataclass(frozen=True)
class SizeClass:
    """One entry of the table of size classes.  The last stands for medium objects, each a run of its own."""

    block_bytes: int
    blocks: int
    slots: int


@dataclass(frozen=True)
class Heap:
    """The arenas of one thread or one interpreter."""

    address: int
    id: int
    is_interpreter: bool
    is_abandoned: bool
    sweeps: int
    remote_frees: int
    trim_served: int = 0  # the last request to trim that was served


@dataclass(frozen=True)
class Pool:
    """A run of slots in an arena, cut into blocks of one size class."""

    slot: int
    slots: int
    class_index: int
    used: int
    present: int  # a bit for each unit that blocks may lie in
    dead_units: int  # how many of them probably hold nothing
    run_units: int
    list: int = 0  # address of the first free block
    remote: int = 0  # of the first that others have freed
    lead: int = 0  # bytes before the first block
    dead: int = 0  # a bit for each present unit that holds nothing, where its blocks were looked at


@dataclass(frozen=True)
class Arena:
    """An aligned piece of address space."""

    address: int
    heap: int
    free_slots: int
    touched: int
    purged: int
    dirty_units: int
    dead_units: int
    pools: tuple[Pool, ...]


@dataclass(frozen=True)
class Geometry:
    """How an arena is cut."""

    unit_shift: int
    slot_shift: int
    arena_shift: int
    first_slot: int
    last_slot: int

    @property
    def unit_bytes(self) -> int:
        """The smallest piece that is given back."""
        return 1 << self.unit_shift

    @property
    def slot_units(self) -> int:
        """Units of one slot."""
        return 1 << self.slot_shift - self.unit_shift

    @property
    def arena_units(self) -> int:
        """Units of one arena."""
        return 1 << self.arena_shift - self.unit_shift


@dataclass(frozen=True)
class _Field:
    """One entry of the record's layout."""

    kind: int  # enum pa_record_kind
    width: int
    offset: int
    count: int


class _Numbers(dict[str, int]):
    """The fields of one structure by name."""

    def __missing__(self, name: str) -> int:
        raise RecordError(f"the library in that process publishes no field {name}: use the pyarena of its version")


class _Layout:
    """Unpacks one kind of structure by the names of its fields."""

    def __init__(self, name: str, fields: dict[str, _Field]) -> None:
        chosen = {key.partition(".")[2]: one for key, one in fields.items() if key.startswith(f"{name}.") and one.count}
        form, position = "<", 0
        self.names: list[str] = []
        self._fields: list[_Field] = []
        for field, one in sorted(chosen.items(), key=lambda entry: entry[1].offset):
            if one.offset < position or one.width not in _LETTERS:
                raise RecordError(f"the record describes the field {name}.{field} in a way that makes no sense")
            letter = _LETTERS[one.width].lower() if one.kind == _SIGNED else _LETTERS[one.width]
            form += f"{one.offset - position}x{one.count}{letter}"
            position = one.offset + one.width * one.count
            self.names.append(field)
            self._fields.append(one)
        self._form = form
        self.struct = struct.Struct(form)

    def padded(self, size: int) -> struct.Struct:
        """The same for an array of structures of this size."""
        return struct.Struct(f"{self._form}{size - self.struct.size}x")

    def unpack(self, data: bytes) -> _Numbers:
        """The numbers by name."""
        values = iter(self.struct.unpack_from(data))
        result = _Numbers()
        for name, one in zip(self.names, self._fields):
            shift = 8 * one.width if one.kind == _BITMAP else 0
            result[name] = sum(next(values) << shift * number for number in range(one.count))
        return result


@dataclass(frozen=True)
class Snapshot:
    """Everything that was read at one time."""

    pid: int
    version: str
    geometry: Geometry
    stats: Stats
    classes: Sequence[SizeClass]
    heaps: Sequence[Heap]
    arenas: Sequence[Arena]

    def class_table(self) -> list[dict[str, int]]:
        """For each size class what pyarena_class_stats tells."""
        table = [{"block_bytes": one.block_bytes, "live_blocks": 0, "pools": 0, "pool_bytes": 0}
                 for one in self.classes]  # fmt: skip
        for arena in self.arenas:
            for pool in arena.pools:
                entry = table[pool.class_index]
                entry["live_blocks"] += max(pool.used, 0)
                entry["pools"] += 1
                entry["pool_bytes"] += pool.slots << self.geometry.slot_shift
        return table

    def heap_table(self) -> list[dict[str, int]]:
        """For each heap what pyarena_heap_stats tells."""
        table = {one.address: {"id": one.id, "is_interpreter": int(one.is_interpreter),
                               "is_abandoned": int(one.is_abandoned), "arenas": 0, "live_bytes": 0,
                               "dirty_bytes": 0} for one in self.heaps}  # fmt: skip
        for arena in self.arenas:
            entry = table.get(arena.heap)
            if entry is None:  # made since the heaps were read
                continue
            entry["arenas"] += 1
            entry["live_bytes"] += sum(self.live_bytes(pool) for pool in arena.pools)
            entry["dirty_bytes"] += arena.dirty_units + arena.dead_units << self.geometry.unit_shift
        return list(table.values())

    def purged_by_heap(self) -> dict[int, int]:
        """Bytes that are given back, for each heap by its number."""
        sums = dict.fromkeys((one.id for one in self.heaps), 0)
        numbers = {one.address: one.id for one in self.heaps}
        for arena in self.arenas:
            if arena.heap in numbers:
                sums[numbers[arena.heap]] += popcount(arena.purged) << self.geometry.unit_shift
        return sums

    def live_bytes(self, pool: Pool) -> int:
        """Bytes of a pool's blocks in use."""
        if pool.run_units:
            return max(pool.used, 0) * pool.run_units << self.geometry.unit_shift
        return max(pool.used, 0) * self.classes[pool.class_index].block_bytes

    def report(self) -> dict[str, object]:
        """The same as the library's own report at exit has it, but for the options."""
        return {"pyarena": self.version, "pid": self.pid, "stats": self.stats._asdict(),
                "classes": self.class_table(), "heaps": self.heap_table()}  # fmt: skip


def _used(pool: dict[str, int], blocks: int) -> int:
    """Live blocks, as pa_pool_used counts them; of a pool that was read while that changed, not quite."""
    return min(max(pool["slack"] + pool["watermark"] + 1, 0), blocks)


def _absent(pool: dict[str, int], unit_shift: int) -> int:
    """The absent units, as pa_pool_in_order has them: the lowest bit is the pool's first."""
    first = (pool["start"] >> unit_shift) % _UNITS_MAX
    return (pool["absent"] | pool["absent"] << _UNITS_MAX) >> first & ((1 << _UNITS_MAX) - 1)


def popcount(bits: int) -> int:
    """How many bits are set."""
    return bin(bits).count("1")


class Readable(Protocol):
    """Memory that records lie in."""

    def read(self, address: int, count: int) -> bytes:
        """Bytes at an address; fewer if the memory ends before.  Raises ProcessError if there are none."""


class Records:
    """The library's records, in any memory: of a process that is looked at, or of what a debugger has.

    where names it in messages.
    """

    def __init__(self, memory: Readable, address: int, pid: int, where: str) -> None:
        self.pid = pid
        self._memory = memory
        data = memory.read(address, _HEAD.size + 8 * len(_PLACES))
        magic, version, _, library, *numbers, fields = _HEAD.unpack_from(data)
        is_published, field_count, place_count, *geometry = numbers[:8]
        class_count, class_bytes, self._pool_bytes = numbers[8:11]
        if magic != _MAGIC:
            raise RecordError(f"{where} has no record of libpyarena's where its symbol points to")
        self.version = library.partition(b"\0")[0].decode(errors="replace")
        if version != _VERSION or place_count < len(_PLACES):
            raise RecordError(f"the library {self.version} in {where} publishes a record of form {version}; "
                              f"this pyarena knows form {_VERSION}: use the one of that library")  # fmt: skip
        if not is_published:
            raise RecordError(f"the library is in {where}, but stands aside there "
                              "(PYARENA_DISABLE, PYARENA_SCOPE or a sanitizer)")  # fmt: skip
        self.geometry = Geometry(*geometry)
        self._place = dict(zip(_PLACES, struct.unpack_from(f"<{len(_PLACES)}Q", data, _HEAD.size)))
        layout = self._read_layout(fields, field_count)
        self._reserve, self._manager, self._heap, self._arena, self._pool, size_class = (
            _Layout(name, layout) for name in ("reserve", "manager", "heap", "arena", "pool", "class")
        )
        self._request = layout.get("reserve.trim_request")
        self._pools_at = layout["arena.pools"].offset
        self._pools = self._pool.padded(self._pool_bytes)
        table = self._memory.read(self._place["classes"], (class_count + 1) * class_bytes)
        pieces = (table[place : place + class_bytes] for place in range(0, len(table), class_bytes))
        self.classes = [SizeClass(**size_class.unpack(piece)) for piece in pieces]
        self._masks = [self._units_of(one) for one in self.classes]

    def _read_layout(self, address: int, count: int) -> dict[str, _Field]:
        data = self._memory.read(address, _FIELD.size * count)
        return {name.rstrip(b"\0").decode(): _Field(*rest) for name, *rest in _FIELD.iter_unpack(data)}

    def _units_of(self, one: SizeClass) -> int:
        """A bit for each unit of a pool that blocks of the class can touch."""
        units = -(-one.blocks * one.block_bytes // self.geometry.unit_bytes)
        return (1 << units) - 1

    def _number(self, place: str) -> int:
        return int(struct.unpack("<Q", self._memory.read(self._place[place], 8))[0])

    def read(self) -> Snapshot:
        """Read everything.  Raises ProcessError when the process has ended."""
        heaps = list(self.read_heaps())
        arenas = [arena for arena in map(self.read_arena, self.arena_addresses()) if arena]
        return Snapshot(self.pid, self.version, self.geometry, self._sum_up(heaps, arenas), self.classes, heaps, arenas)

    def read_memory(self, address: int, count: int) -> bytes:
        """Memory of the process.  Raises ProcessError where there is none."""
        return self._memory.read(address, count)

    def read_counters(self) -> dict[str, int]:
        """The counters of the reserve alone: a few reads, whatever the heap's size."""
        return self._reserve.unpack(self._memory.read(self._place["reserve"], self._reserve.struct.size))

    def read_heaps(self) -> Iterator[Heap]:
        """The heaps alone.  Raises ProcessError when the process has ended."""
        address, seen = self._number("heaps"), set()
        while address and address not in seen:
            seen.add(address)
            heap = self._heap.unpack(self._memory.read(address, self._heap.struct.size))
            yield Heap(address, heap["id"], heap["kind"] == 1, heap["state"] != 0, heap["sweeps"], heap["remote_frees"],
                       heap.get("trim_served", 0))  # fmt: skip
            address = heap["next"]

    def arena_addresses(self) -> list[int]:
        """Where the arenas are, those included that are kept for reuse."""
        # The list is replaced as a whole when it grows, and then the old one may vanish under us.
        for _ in range(3):
            registry = self._number("arenas")
            if not registry:
                return []
            try:
                count = struct.unpack("<8xQ", self._memory.read(registry, 16))[0]
                data = self._memory.read(registry + 16, 8 * count) if count else b""
            except UnmappedError:
                continue
            return [address for (address,) in struct.iter_unpack("<Q", data)]
        return []

    def read_arena(self, address: int) -> Arena | None:
        """One arena; None if it is not there any more, or is kept for reuse."""
        slots = 1 << self.geometry.arena_shift - self.geometry.slot_shift
        try:
            data = self._memory.read(address, self._pools_at + self._pool_bytes * (self.geometry.last_slot + 1))
        except UnmappedError:
            return None
        arena = self._arena.unpack(data)
        if not arena["heap"]:  # free: it is among the cached ones
            return None
        records = list(self._pools.iter_unpack(data[self._pools_at :]))
        pools, slot = [], self.geometry.first_slot
        while slot <= self.geometry.last_slot:
            if arena["free_slots"] >> slot & 1:
                slot += 1
                continue
            pool = self._pool_of(slot, _Numbers(zip(self._pool.names, records[slot])))
            if pool is None or slot + pool.slots > slots:
                slot += 1  # it has just come or gone
                continue
            pools.append(pool)
            slot += pool.slots
        return Arena(address, arena["heap"], arena["free_slots"], arena["touched"], arena["purged"],
                     arena["dirty_units"], arena["dead_units"], tuple(pools))  # fmt: skip

    def large_objects(self) -> dict[int, int]:
        """Address and bytes of the objects that have mappings of their own."""
        table = self._number("large_table")
        if not table:
            return {}
        capacity = struct.unpack("<Q", self._memory.read(table, 8))[0]
        pairs = struct.iter_unpack("<QQ", self._memory.read(table + 8, 16 * capacity))
        return {address: count for address, count in pairs if address}

    def _pool_of(self, slot: int, record: dict[str, int]) -> Pool | None:
        index, run = record["class_index"], len(self.classes) - 1
        if not record["start"]:
            return None
        if index == run:
            units = record["run_units"]
            slots = -(-units // self.geometry.slot_units)
            return Pool(slot, slots, index, _used(record, 1), (1 << units) - 1, 0, units,
                        record["list"], record["remote"]) if units else None
        if index > run or not self.classes[index].slots:
            return None
        present = self._masks[index] & ~_absent(record, self.geometry.unit_shift)
        dead = min(record["dead_units"], popcount(present))
        return Pool(slot, self.classes[index].slots, index, _used(record, self.classes[index].blocks), present,
                    dead, 0, record["list"], record["remote"], record["start"] & (1 << self.geometry.slot_shift) - 1)

    def _sum_up(self, heaps: list[Heap], arenas: list[Arena]) -> Stats:
        """The figures of pyarena_stats, by the same definitions."""
        unit = self.geometry.unit_shift
        reserve = self.read_counters()
        manager = self._manager.unpack(self._memory.read(self._place["manager"], self._manager.struct.size))
        live_blocks = live_bytes = live_units = 0
        for arena in arenas:
            for pool in arena.pools:
                used = max(pool.used, 0)
                live_blocks += used
                if pool.run_units:
                    live_bytes += used * pool.run_units << unit
                    live_units += used * pool.run_units
                elif used:
                    live_bytes += used * self.classes[pool.class_index].block_bytes
                    live_units += popcount(pool.present) - pool.dead_units
        large_bytes, large_blocks = self._number("large_bytes"), self._number("large_count")
        table = self._number("large_table")
        table_bytes = 8 + 16 * struct.unpack("<Q", self._memory.read(table, 8))[0] if table else 0
        cached = (manager["cached_units"] << unit) + self._number("large_cached")
        page = self.geometry.unit_bytes
        return Stats(
            mapped_bytes=reserve["mapped_units"] << unit,
            live_bytes=live_bytes + large_bytes,
            live_blocks=live_blocks + large_blocks,
            live_page_bytes=(live_units << unit) + large_bytes,
            large_bytes=large_bytes,
            large_blocks=large_blocks,
            dirty_bytes=(sum(one.dirty_units + one.dead_units for one in arenas) << unit) + cached,
            purged_bytes=sum(popcount(one.purged) for one in arenas) << unit,
            reserve_bytes=reserve["limit_units"] << unit,
            cached_bytes=cached,
            record_bytes=manager["record_bytes"] + table_bytes + (len(arenas) + manager["cached"]) * page,
            arenas=len(arenas),
            heaps=len(heaps),
            arenas_made=manager["made"],
            arenas_released=manager["released"],
            purges=reserve["purges"],
            purged_pages=(reserve["purged_units"] << unit) // _PAGE_BYTES,
            refault_pages=(reserve["refault_units"] << unit) // _PAGE_BYTES,
            sweeps=sum(one.sweeps for one in heaps),
            remote_frees=sum(one.remote_frees for one in heaps),
            adoptions=self._number("adoptions"),
            page_cost_ns=reserve.get("purge_ns", 0) + reserve.get("touch_ns", 0),
        )


class Target(Records):
    """A process with the library in it.  Found once, then read as often as wanted.  A context manager."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._process = Memory(pid)
        try:
            super().__init__(self._process, self._find(), pid, f"process {pid}")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the process."""
        self._process.close()

    def _find(self) -> int:
        """The record's address: a symbol of the one library that defines it."""
        address = self.symbol(SYMBOL)
        if address is not None:
            return address
        raise RecordError(f"libpyarena is not loaded in process {self.pid} ({process.command_line(self.pid)})")

    def _read_from(self, start: int, position: int, count: int) -> bytes:
        return self._process.read(start + position, count)

    def symbol(self, name: str) -> int | None:
        """Where a symbol that the program or one of its libraries exports is in the process."""
        for start in self._images():
            try:
                image = Image(functools.partial(self._read_from, start), is_mapped=True)
                image.loaded_at = start
                address = image.loaded_symbol(name)
            except (ElfError, ProcessError, struct.error):
                continue
            if address is not None:
                return address
        return None

    def _images(self) -> list[int]:
        """Where the files that may be programs and libraries are mapped, likely ones first."""
        found = [one for one in process.mappings(self.pid) if one.path.startswith("/") and one.offset == 0]
        return [one.start for one in sorted(found, key=lambda one: "libpyarena" not in one.path)]

    def ask_to_trim(self) -> int:
        """Ask the process to give back all that is free; returns the request, which heaps name when they have served it.

        One number is written (src/request.h), whose upper half says who is meant: a forked child has a copy of it.
        Raises ProcessError.
        """
        if self._request is None:
            raise RecordError(f"the library {self.version} in process {self.pid} cannot be asked to trim: it is too old")
        address = self._place["reserve"] + self._request.offset
        before = int(struct.unpack("<Q", self._memory.read(address, 8))[0])
        request = process.own_id(self.pid) << 32 | (before + 1) & 0xFFFFFFFF
        self._process.write(address, struct.pack("<Q", request))
        return request
