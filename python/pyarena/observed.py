# SPDX-License-Identifier: MIT
"""Processes that are looked at again and again: what they hold, and how fast it moves.

Each look costs the looker some time, and the kernel a lock on the process's mappings for a moment.  So
the next look is put off until that is a small share of the time.
"""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

from pyarena import process
from pyarena.fields import Stats
from pyarena.process import ProcessError
from pyarena.record import RecordError, Snapshot, Target
from pyarena.sample import rollup

_HISTORY = 60  # looks
_SHARE = 50  # a look of one millisecond is not repeated within so many


class Observed:
    """One process.  look() brings it up to date; all else is as of the last look."""

    def __init__(self, pid: int, parent: int = 0, depth: int = 0) -> None:
        """Raises ProcessError if the library is not in the process, or it may not be read."""
        self.pid = pid
        self.parent = parent
        self.depth = depth
        self.command = process.command_line(pid)
        self.snapshot: Snapshot | None = None
        self.resident_bytes = 0
        self.private_bytes: int | None = None  # None where the kernel does not tell
        self.proportional_bytes: int | None = None
        self.purged_per_second: float | None = None  # pages; None until there were two looks
        self.refaults_per_second: float | None = None
        self.history: deque[int] = deque(maxlen=_HISTORY)
        self._target = Target(pid)
        self._looked = 0.0
        self._next = {"records": 0.0, "mappings": 0.0}

    def close(self) -> None:
        """Let go of the process."""
        self._target.close()

    @property
    def stats(self) -> Stats:
        """The library's figures."""
        assert self.snapshot is not None, "it has been looked at"
        return self.snapshot.stats

    @property
    def shared_bytes(self) -> int | None:
        """Resident memory that other processes have as well."""
        return None if self.private_bytes is None else max(self.resident_bytes - self.private_bytes, 0)

    def look(self) -> None:
        """Read the process.  Raises ProcessError when it has ended."""
        now = time.monotonic()
        self.resident_bytes = process.resident_bytes(self.pid)
        if not self.resident_bytes:
            raise ProcessError(f"process {self.pid} has ended")
        self.history.append(self.resident_bytes)
        if now >= self._next["mappings"]:
            self._look_at_mappings()
            self._put_off("mappings", now)
        if now >= self._next["records"]:
            begin, is_first = time.monotonic(), self.snapshot is None
            self._look_at_records(now)
            if not is_first:  # the second look is not put off: without it there are no rates
                self._put_off("records", begin)

    def _put_off(self, what: str, begin: float) -> None:
        end = time.monotonic()
        self._next[what] = end + _SHARE * (end - begin) - 0.01

    def _look_at_mappings(self) -> None:
        sums = rollup(self.pid)
        if sums:
            self.private_bytes = sums.get("Private_Clean", 0) + sums.get("Private_Dirty", 0)
            self.proportional_bytes = sums.get("Pss", 0)

    def _look_at_records(self, now: float) -> None:
        before = self.snapshot
        self.snapshot = self._target.read()
        if before is not None:
            passed = now - self._looked
            self.purged_per_second = (self.stats.purged_pages - before.stats.purged_pages) / passed
            self.refaults_per_second = (self.stats.refault_pages - before.stats.refault_pages) / passed
        self._looked = now

    def values(self) -> dict[str, object]:
        """Everything, for scripts."""
        assert self.snapshot is not None, "it has been looked at"
        return {
            "pid": self.pid,
            "parent": self.parent or None,
            "command": self.command,
            "resident_bytes": self.resident_bytes,
            "private_bytes": self.private_bytes,
            "shared_bytes": self.shared_bytes,
            "proportional_bytes": self.proportional_bytes,
            "purged_pages_per_second": self.purged_per_second,
            "refault_pages_per_second": self.refaults_per_second,
            **self.snapshot.report(),
        }


class Group:
    """The processes that are watched, new ones found at each look and those that have ended dropped."""

    def __init__(self, pids: list[int], *, tree: bool) -> None:
        """pids, with tree also their descendants; no pids: every process that has the library."""
        self._pids = pids
        self._tree = tree
        self._without: dict[int, str] = {}  # without the library, and as what: it may yet exec another program
        self.members: dict[int, Observed] = {}

    def close(self) -> None:
        """Let go of all."""
        for one in self.members.values():
            one.close()

    def _wanted(self) -> list[tuple[int, int, int]]:
        """Process, parent and depth of all that are wanted."""
        if not self._pids:
            return [(int(path.name), 0, 0) for path in Path("/proc").glob("[1-9]*") if _has_library(int(path.name))]
        return [entry for pid in self._pids for entry in (_family(pid) if self._tree else [(pid, 0, 0)])]

    def look(self) -> list[Observed]:
        """Look at all of them; in the order in which they were found, children behind their parents."""
        present = []
        for pid, parent, depth in self._wanted():
            try:
                one = self.members.get(pid) or self._add(pid, parent, depth)
                if one is None:
                    continue
                one.look()
            except ProcessError:
                if pid in self._pids and pid not in self.members:
                    raise
                continue
            present.append(one)
        for pid in set(self.members) - {one.pid for one in present}:
            self.members.pop(pid).close()
        return present

    def _add(self, pid: int, parent: int, depth: int) -> Observed | None:
        name = process.command_line(pid)
        if self._without.get(pid) == name:
            return None
        try:
            self.members[pid] = Observed(pid, parent, depth)
        except RecordError:
            if pid in self._pids:
                raise
            self._without[pid] = name
            return None
        return self.members[pid]


def _has_library(pid: int) -> bool:
    return "libpyarena" in process.read_text(pid, "maps")


def _family(pid: int, parent: int = 0, depth: int = 0) -> list[tuple[int, int, int]]:
    found = [(pid, parent, depth)]
    for child in process.children(pid):
        found += _family(child, pid, depth + 1)
    return found
