# SPDX-License-Identifier: MIT
"""The records of a heap whose process has ended: the file that PYARENA_STATS=map:FILE has the library write.

src/dump.h tells its form: a head, then pieces of memory with their addresses, the last one empty.
"""

from __future__ import annotations

import bisect
import struct
from pathlib import Path

from pyarena.process import ProcessError, UnmappedError, printable
from pyarena.record import Records, Snapshot

MAGIC = b"pyadump\0"
_FORM = 1
_HEAD = struct.Struct("<8s3Q")  # magic, form, process ID, address of the record
_PIECE = struct.Struct("<2Q")  # address, bytes
_COMMAND = 0  # the address that the command line has


class Dump:
    """The memory of such a file, and what it says of the process."""

    def __init__(self, path: Path, data: bytes) -> None:
        """Raises ProcessError if this is not the whole of a dump."""
        if len(data) < _HEAD.size:
            raise ProcessError(f"{path} is cut short")
        magic, form, self.pid, self.record = _HEAD.unpack_from(data)
        if magic != MAGIC or form != _FORM:
            raise ProcessError(f"{path} has form {form}; this pyarena knows form {_FORM}: use the one of that library")
        self._path = path
        self._pieces = self._read(data)
        self._starts = sorted(self._pieces)
        self.command = printable(self._pieces.get(_COMMAND, b"").decode(errors="replace"))

    def _read(self, data: bytes) -> dict[int, bytes]:
        pieces: dict[int, bytes] = {}
        place = _HEAD.size
        while place + _PIECE.size <= len(data):
            address, count = _PIECE.unpack_from(data, place)
            place += _PIECE.size
            if not count:
                return pieces
            pieces[address] = data[place : place + count]
            place += count
        raise ProcessError(f"{self._path} is cut short: the process ended, or the disk was full, while it was written")

    def read(self, address: int, count: int) -> bytes:
        """Bytes at an address, as Memory.read has them."""
        place = bisect.bisect_right(self._starts, address) - 1
        start = self._starts[place] if place >= 0 else 0
        found = self._pieces[start][address - start : address - start + count] if start else b""
        if not found:
            raise UnmappedError(f"nothing of the address {address:#x} is in {self._path}")
        return found

    def snapshot(self) -> Snapshot:
        """What the library knew.  Raises ProcessError."""
        try:
            return Records(self, self.record, self.pid, str(self._path)).read()
        except (struct.error, KeyError, IndexError) as error:
            raise ProcessError(f"{self._path} is damaged: {error}") from error
