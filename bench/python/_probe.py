# SPDX-License-Identifier: MIT
"""How a workload reports on itself: time, peak, after, settled, the limit, as one line of JSON.

A workload is a script with a docstring and

    import _probe

    def main(probe: _probe.Probe, scale: float) -> None:
        with probe.timed():         # may be entered several times; the times add up
            ...
        probe.after()               # right after the peak is freed
        probe.settle()              # two idle seconds in which nothing allocates
        probe.limit_by(survivors)   # only where the workload knows its survivors

    _probe.run(main)

Runs on CPython 3.7 and newer.  It imports little, because its own memory is part of the base.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
import time

TYPE_CHECKING = False  # typing itself would be part of the base
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

_alive: list[Any] = []  # survivors live on to the end of the process, for those who watch it


class MemoryReading:
    """Reads this process's resident memory without allocating: a file held open, a buffer reused."""

    def __init__(self) -> None:
        self._statm = open("/proc/self/statm", "rb", buffering=0)
        self._buffer = bytearray(128)

    def read(self) -> None:
        """Make the reading; resident_bytes gives it out later."""
        self._statm.seek(0)
        self._statm.readinto(self._buffer)

    def resident_bytes(self) -> int:
        return int(self._buffer.split()[1]) * PAGE_BYTES


def resident_bytes() -> int:
    """Resident memory now."""
    reading = MemoryReading()
    reading.read()
    return reading.resident_bytes()


def peak_bytes() -> int:
    """The highest resident memory of this process so far."""
    with open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM")


def private_bytes() -> int:
    """Memory that no other process shares; after a fork, what this process has cost."""
    total = 0
    with open("/proc/self/smaps_rollup", "rb") as rollup:
        for line in rollup:
            if line.startswith((b"Private_Clean:", b"Private_Dirty:")):
                total += int(line.split()[1]) * 1024
    return total


def pages_of(objects: Iterable[object]) -> set[int]:
    """The numbers of the pages that these objects lie on.

    What an object refers to counts only if it is given too; a list's or dict's table lies elsewhere and is not
    counted.
    """
    pages: set[int] = set()
    for item in objects:
        start = id(item) - (16 if gc.is_tracked(item) else 0)
        pages.update(range(start // PAGE_BYTES, (id(item) + sys.getsizeof(item) - 1) // PAGE_BYTES + 1))
    return pages


class _Timed:
    """The timed phase: adds wall time, processor time and page faults to its probe."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    def __enter__(self) -> None:
        self._usage = resource.getrusage(resource.RUSAGE_SELF)
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        seconds = time.perf_counter() - self._start
        now, then = resource.getrusage(resource.RUSAGE_SELF), self._usage
        self._probe.add_work(
            seconds,
            now.ru_utime - then.ru_utime,
            now.ru_stime - then.ru_stime,
            now.ru_minflt - then.ru_minflt,
        )


class Probe:
    def __init__(self, idle: float) -> None:
        self._idle = idle
        self._idle_seconds = 0.0
        self._reading = MemoryReading()
        self._seconds = self._user = self._system = 0.0
        self._faults = 0
        self._base = resident_bytes()
        self._after = self._settled = 0
        self._extra: dict[str, float] = {}

    @property
    def base_bytes(self) -> int:
        """Resident memory before the workload began."""
        return self._base

    def timed(self) -> _Timed:
        return _Timed(self)

    def add_work(self, seconds: float, user: float, system: float, faults: int) -> None:
        """Count work; a workload calls it for what its children have done."""
        self._seconds += seconds
        self._user += user
        self._system += system
        self._faults += faults

    def after(self) -> int:
        """Call right after the peak is freed."""
        self._reading.read()
        self._after = self._reading.resident_bytes()
        return self._after

    def settle(self) -> int:
        """Idle, then read: no allocator is called between the two."""
        self.idle()
        self._reading.read()
        self._settled = self._reading.resident_bytes()
        return self._settled

    def idle(self) -> None:
        time.sleep(self._idle)
        self._idle_seconds += self._idle

    def limit_by(self, survivors: list[Any]) -> None:
        """Tell what the survivors need: the base, and the pages that they lie on."""
        _alive.append(survivors)
        self.record("limit", self._base + len(pages_of(survivors)) * PAGE_BYTES)
        self.record("survivor_bytes", sum(map(sys.getsizeof, survivors)))

    def record(self, name: str, value: float) -> None:
        """Report one more figure, or replace one that the probe would have taken itself."""
        self._extra[name] = value

    def report(self, name: str) -> None:
        # The kernel keeps the high-water mark from counters that lag a little behind those of statm.
        peak = max(peak_bytes(), self._after, self._settled)
        import json

        figures: dict[str, Any] = {
            "workload": name,
            "seconds": self._seconds,
            "user_seconds": self._user,
            "system_seconds": self._system,
            "faults": self._faults,
            "idle_seconds": self._idle_seconds,
            "base": self._base,
            "peak": peak,
            "after": self._after,
            "settled": self._settled,
        }
        figures.update(self._extra)
        print(json.dumps(figures), flush=True)


def run(main: Callable[[Probe, float], None]) -> None:
    """Run the workload of the calling script: [--scale FACTOR] [--idle SECONDS]."""
    script = sys.modules["__main__"]
    name = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    options = {"--scale": 1.0, "--idle": 2.0}
    words = iter(sys.argv[1:])
    for word in words:
        if word in ("-h", "--help"):
            print("usage: %s [--scale FACTOR] [--idle SECONDS]\n\n%s" % (sys.argv[0], (script.__doc__ or name).strip()))
            return
        option, equals, value = word.partition("=")
        try:
            options[option]  # an unknown option fails here
            options[option] = float(value if equals else next(words))
        except (KeyError, StopIteration, ValueError):
            sys.exit("%s: what is %s? Known: --scale FACTOR, --idle SECONDS" % (name, word))
    probe = Probe(options["--idle"])
    main(probe, options["--scale"])
    probe.report(name)
