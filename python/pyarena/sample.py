# SPDX-License-Identifier: MIT
"""Memory of a running process and its descendants, read from outside through /proc."""

from __future__ import annotations

import os
import time
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def process_tree(pid: int) -> list[int]:
    """pid and every process that descends from it and has an address space of its own.

    A child between vfork and exec runs in its parent's, and its memory reads the same: it would count twice.
    """
    tree = [pid]
    for parent in tree:
        for path in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                children = [int(child) for child in path.read_text().split()]
            except OSError:  # the thread has ended
                continue
            own = _statm(parent) if children else []
            tree.extend(child for child in children if _statm(child) != own)
    return tree


def _statm(pid: int) -> list[int]:
    """The numbers of a process's statm, in pages; none when it has ended."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/statm").read_text().split()]
    except OSError:
        return []


def resident_bytes(pid: int) -> int:
    """Resident memory of one process; 0 when it has ended."""
    numbers = _statm(pid)
    return numbers[1] * PAGE_BYTES if numbers else 0


def rollup(pid: int) -> dict[str, int]:
    """The bytes of smaps_rollup by name (Pss, Private_Dirty, …); empty when the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return {}
    return {words[0][:-1]: int(words[1]) * 1024 for words in map(str.split, lines[1:])}


def peak_bytes(pid: int) -> int:
    """The highest resident memory that one process has had; 0 when it has ended."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def tree_memory(pid: int) -> tuple[int, int]:
    """Resident memory of a process with all its descendants, and what the descendants share with nobody.

    A page that several of them share counts once.
    """
    tree = process_tree(pid)
    if len(tree) == 1:
        return resident_bytes(pid), 0
    sums = [rollup(process) for process in tree]
    private = sum(one.get("Private_Clean", 0) + one.get("Private_Dirty", 0) for one in sums[1:])
    return sum(one.get("Pss", 0) for one in sums), private


def tree_bytes(pid: int) -> int:
    """Resident memory of a process with all its descendants; a page that they share counts once."""
    return tree_memory(pid)[0]


def tree_usage(pid: int) -> tuple[float, int]:
    """Processor seconds and minor page faults of a process tree, those of ended children included."""
    seconds, faults = 0.0, 0
    for process in process_tree(pid):
        try:
            words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        faults += int(words[7]) + int(words[8])
        seconds += sum(map(int, words[11:15])) / os.sysconf("SC_CLK_TCK")
    return seconds, faults


class Sampler:
    """Samples a process tree over time.  Its own cost stays under a twentieth of the time.

    Public: interval, between two samples; seconds and sizes, two lists of equal length; peak, the highest memory seen, in which the first process
    counts with its own high-water mark, so that a peak between two samples is not missed; and private, the
    most that its descendants had for themselves alone.
    """

    def __init__(self, pid: int, interval: float = 0.005) -> None:
        self._pid = pid
        self.interval = interval
        self._start = time.monotonic()
        self.seconds: list[float] = []
        self.sizes: list[int] = []
        self.peak = 0
        self.private = 0

    def sample(self) -> float:
        """Take one sample; returns how many seconds to wait before the next."""
        before, used = time.monotonic(), time.thread_time()
        size, private = tree_memory(self._pid)
        self.private = max(self.private, private)
        if size:
            self.seconds.append(before - self._start)
            self.sizes.append(size)
            self.peak = max(self.peak, size, peak_bytes(self._pid))
        # Not the time for which others had the processor: it would see nothing for twenty times that.
        return max(self.interval, 20 * (time.thread_time() - used))

    def forget_last(self) -> None:
        """Drop the last sample, unless it is the only one."""
        if len(self.sizes) > 1:
            self.seconds.pop()
            self.sizes.pop()
