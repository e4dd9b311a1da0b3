# SPDX-License-Identifier: MIT
"""As much of the ELF format as the command needs: what a program is, and where a symbol of a library is.

An image is read by virtual address, so a file and a library in another process's memory look alike.
The latter needs no file: it may have been replaced or deleted since, or lie in another container.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

MACHINES = {3: "i386", 40: "arm", 62: "x86_64", 183: "aarch64", 21: "ppc64", 22: "s390x", 243: "riscv64"}

_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB, _DT_SYMTAB, _DT_STRSZ, _DT_GNU_HASH = 1, 5, 6, 10, 0x6FFFFEF5
_SYMBOL_BYTES = 24


class ElfError(Exception):
    """This is no ELF image that can be read; the text says why."""


@dataclass(frozen=True)
class _Segment:
    kind: int
    offset: int
    address: int
    file_bytes: int


class Image:
    """A 64-bit little-endian program or library; of others only bits and machine are known."""

    def __init__(self, read: Callable[[int, int], bytes], *, is_mapped: bool) -> None:
        """read(position, count) reads a file, or, is_mapped, memory from the image's beginning on."""
        self._read = read
        self._is_mapped = is_mapped
        head = read(0, 64)
        if head[:4] != b"\x7fELF":
            raise ElfError("not an ELF file")
        self.bits = 64 if head[4] == 2 else 32
        order = "<" if head[5] == 1 else ">"
        self.machine = MACHINES.get(struct.unpack_from(order + "H", head, 18)[0], "an unknown machine")
        self._segments: list[_Segment] = []
        if self.bits == 64 and order == "<":
            self._segments = self._read_segments(head)

    @staticmethod
    def of_file(path: Path) -> Image:
        """The image in a file.  Raises OSError, or ElfError if it is none."""
        data = path.read_bytes()
        return Image(lambda position, count: data[position : position + count], is_mapped=False)

    def _read_segments(self, head: bytes) -> list[_Segment]:
        start, entry_bytes, count = struct.unpack_from("<Q", head, 32)[0], *struct.unpack_from("<HH", head, 54)
        table = self._read(start, entry_bytes * count)
        if len(table) < entry_bytes * count or (count and entry_bytes < 56):
            raise ElfError("its program headers are cut short")
        segments = []
        for place in range(0, entry_bytes * count, entry_bytes):
            kind, _, offset, address, _, file_bytes = struct.unpack_from("<IIQQQQ", table, place)
            segments.append(_Segment(kind, offset, address, file_bytes))
        return segments

    @cached_property
    def _base(self) -> int:
        """The virtual address of the image's beginning."""
        return min((one.address - one.offset for one in self._segments if one.kind == _PT_LOAD), default=0)

    def _at(self, address: int, count: int) -> bytes:
        """The bytes at a virtual address."""
        if self._is_mapped:
            return self._read(address - self._base, count)
        for one in self._segments:
            if one.kind == _PT_LOAD and one.address <= address < one.address + one.file_bytes:
                return self._read(address - one.address + one.offset, count)
        raise ElfError(f"no segment holds the address {address:#x}")

    def _segment(self, kind: int) -> bytes | None:
        for one in self._segments:
            if one.kind == kind:
                return self._at(one.address, one.file_bytes)
        return None

    @property
    def interpreter(self) -> str | None:
        """The dynamic loader that the program asks for; None for a library and a static program."""
        path = self._segment(_PT_INTERP)
        return None if path is None else path.rstrip(b"\0").decode(errors="replace")

    @property
    def is_static(self) -> bool:
        """Is it a program that no dynamic loader ever sees?"""
        return self.interpreter is None

    @cached_property
    def _dynamic(self) -> list[tuple[int, int]]:
        table = self._segment(_PT_DYNAMIC) or b""
        pairs = struct.iter_unpack("<QQ", table[: len(table) // 16 * 16])
        return [(tag, value) for tag, value in pairs if tag]

    def _dynamic_address(self, tag: int) -> int | None:
        """An address in the dynamic section, which the loader may have made absolute."""
        for found, value in self._dynamic:
            if found == tag:
                return value - self._load_bias(value)
        return None

    def _load_bias(self, value: int) -> int:
        """By how much the loader moved an address: not at all if it lies within the image as linked."""
        end = max((one.address + one.file_bytes for one in self._segments if one.kind == _PT_LOAD), default=0)
        return 0 if value < end else self.loaded_at - self._base

    loaded_at = 0  # where in memory the image begins; set by who reads it there

    @property
    def needed(self) -> list[str]:
        """The libraries that it names."""
        strings = self._dynamic_address(_DT_STRTAB)
        if strings is None:
            return []
        return [self._string(strings + value) for tag, value in self._dynamic if tag == _DT_NEEDED]

    def text(self, address: int, most: int) -> str:
        """The text at a virtual address, up to its NUL."""
        return self._at(address, most).partition(b"\0")[0].decode(errors="replace")

    def _string(self, address: int) -> str:
        return self._at(address, 256).partition(b"\0")[0].decode(errors="replace")

    def symbol(self, name: str) -> int | None:
        """The virtual address of a symbol that the image defines, by its GNU hash table; None if it has none."""
        table = self._dynamic_address(_DT_GNU_HASH)
        symbols, strings = self._dynamic_address(_DT_SYMTAB), self._dynamic_address(_DT_STRTAB)
        if table is None or symbols is None or strings is None:
            return None
        bucket_count, first, bloom_words, _ = struct.unpack("<4I", self._at(table, 16))
        if bucket_count == 0:
            return None
        wanted = 5381
        for letter in name.encode():
            wanted = (wanted * 33 + letter) & 0xFFFFFFFF
        buckets = table + 16 + 8 * bloom_words
        index = struct.unpack("<I", self._at(buckets + 4 * (wanted % bucket_count), 4))[0]
        chains = buckets + 4 * bucket_count
        while index >= first:
            chain = struct.unpack("<I", self._at(chains + 4 * (index - first), 4))[0]
            if chain | 1 == wanted | 1:
                entry = self._at(symbols + _SYMBOL_BYTES * index, _SYMBOL_BYTES)
                place, _, section, value = struct.unpack("<IHHQ", entry[:16])
                if section != 0 and self._string(strings + place) == name:
                    return int(value)
            if chain & 1:
                return None
            index += 1
        return None

    def loaded_symbol(self, name: str) -> int | None:
        """Where in memory a symbol is, for an image that is read there."""
        value = self.symbol(name)
        return None if value is None else value - self._base + self.loaded_at
