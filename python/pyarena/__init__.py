# SPDX-License-Identifier: MIT
"""See and steer libpyarena from within the process that it serves.

    import pyarena

    if pyarena.is_active():
        print(pyarena.stats().live_bytes)
    with pyarena.watch() as moved:
        handle(request)
    print(moved)          # live +1.2 MB, resident +8.0 MB, 0.031 s
    pyarena.trim()

The module belongs to the library that is preloaded; it does not load it.  Where the library is not
there, or stands aside, everything can be called all the same: is_active() is False, counts are 0 and
nothing is given back.  So a program need not ask before it calls.

Workers that are to come down between jobs take two lines: in gunicorn.conf.py

    import pyarena
    def post_request(worker, request, environ, response): worker.nr % 100 or pyarena.trim()

in an application of Celery's

    import celery.signals, pyarena
    celery.signals.task_postrun.connect(lambda **_: pyarena.trim(), weak=False)

and for the workers of Dask, from a client

    import pyarena
    client.run(pyarena.trim)

All functions may be called from any thread and in forked children.  Works with CPython 3.7 and newer.
See pyarena(3) for the same in C, and pyarena(1) for a look from outside.
"""

from __future__ import annotations

import ctypes
import gc
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Optional

from pyarena.fields import Stats

__all__ = ["Stats", "Watch", "is_active", "keep_free", "report", "stats", "trim", "version", "watch"]

_SIZE_MAX = ctypes.c_size_t(-1).value
_MEGABYTE = 2**20
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class _StatsRecord(ctypes.Structure):
    """struct pyarena_stats: its own size, then the fields.  A library that knows fewer writes fewer."""

    _fields_ = [("size", ctypes.c_uint64)] + [(name, ctypes.c_uint64) for name in Stats._fields]


def _find_library() -> Optional[ctypes.PyDLL]:
    """The library, if this process has it; what is asked is the process itself, no file.

    PyDLL keeps the GIL: only so is the interpreter's heap within reach of pyarena_trim.
    """
    process = ctypes.PyDLL(None)
    try:
        process.pyarena_version.restype = ctypes.c_char_p
        process.pyarena_trim.restype = ctypes.c_size_t
        process.pyarena_keep_free.argtypes = [ctypes.c_size_t]
        process.pyarena_keep_free.restype = None
        process.pyarena_stats.argtypes = [ctypes.POINTER(_StatsRecord)]
        process.pyarena_report.restype = None
    except AttributeError:
        return None
    return process


_library = _find_library()


def is_active() -> bool:
    """Does libpyarena serve this process?  Not if it is not loaded, or stands aside."""
    return _library is not None and bool(_library.pyarena_is_active())


def version() -> Optional[str]:
    """The version of the library in this process, such as "0.1.0"; None if there is none."""
    return None if _library is None else str(_library.pyarena_version(), "ascii")


def stats() -> Stats:
    """A snapshot of the allocator; all zeros where it is not active.

    Costs about a microsecond for each MiB of the heap.
    """
    record = _StatsRecord(ctypes.sizeof(_StatsRecord))
    if _library is not None:
        _library.pyarena_stats(ctypes.byref(record))
    return Stats(*(getattr(record, name) for name in Stats._fields))


def trim(full: bool = True) -> int:
    """Give back all free memory that is in reach; returns how many bytes.

    In reach are the interpreter's heap, the calling thread's, those of threads that have ended, and
    the caches.  With full, Python collects its garbage before, which also empties the lists of free
    floats, tuples, frames and the like that CPython keeps: more is free then, at the price of a
    collection.  The memory is taken again, page by page, when it is needed again.  CPython keeps the
    table of interned strings as large as it ever was, and modules their caches, such as re's.
    """
    if full:
        gc.collect()
    return int(_library.pyarena_trim()) if _library is not None else 0


def keep_free(amount: Optional[int]) -> None:
    """Keep at most so many bytes of free memory resident; None: as much as pays for itself.

    Takes the place of PYARENA_KEEP_FREE from the next free on.  0 gives everything back at once.
    Raises ValueError for an amount below 0.
    """
    if amount is not None and amount < 0:
        raise ValueError("keep_free: the amount is a number of bytes, or None for the self-tuned one")
    if _library is not None:
        _library.pyarena_keep_free(_SIZE_MAX if amount is None else min(amount, _SIZE_MAX - 1))


def report() -> None:
    """Write the report that PYARENA_STATS asks for now, not at exit, when CPython has freed its objects.

    For what a process holds when its work is done: atexit.register(pyarena.report).  Does nothing where
    no report is asked for, or this process has written it.
    """
    if _library is not None:
        _library.pyarena_report()


def _resident_bytes() -> int:
    """Resident memory of this process as the kernel tells it."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


class Watch:
    """How memory moved over a block: what watch() yields.

    before and after are snapshots; resident_before and resident_after the resident bytes of the
    process, which are known without the library too.  Until the block has ended, after is as of now.
    """

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self.before = stats()
        self.resident_before = _resident_bytes()
        self._end: Optional[float] = None
        self._after: Optional[Stats] = None
        self._resident_after = 0

    def _finish(self) -> None:
        self._end = time.monotonic()
        self._after = stats()
        self._resident_after = _resident_bytes()

    @property
    def after(self) -> Stats:
        """The snapshot at the end of the block."""
        return stats() if self._after is None else self._after

    @property
    def resident_after(self) -> int:
        """Resident bytes at the end of the block."""
        return _resident_bytes() if self._after is None else self._resident_after

    @property
    def seconds(self) -> float:
        """How long the block took."""
        return (time.monotonic() if self._end is None else self._end) - self._begin

    @property
    def change(self) -> Stats:
        """after less before, field by field; what shrank is negative."""
        return Stats(*(after - before for before, after in zip(self.before, self.after)))

    @property
    def resident_change(self) -> int:
        """By how many bytes resident memory grew; negative if it shrank."""
        return self.resident_after - self.resident_before

    def __str__(self) -> str:
        resident = f"resident {self.resident_change / _MEGABYTE:+.1f} MB, {self.seconds:.3f} s"
        return f"live {self.change.live_bytes / _MEGABYTE:+.1f} MB, {resident}" if is_active() else resident


@contextmanager
def watch() -> Iterator[Watch]:
    """See how memory moves over a block; also when the block ends by an exception.

        with pyarena.watch() as moved:
            work()
        log.info("work: %s", moved)
    """
    watched = Watch()
    try:
        yield watched
    finally:
        watched._finish()
