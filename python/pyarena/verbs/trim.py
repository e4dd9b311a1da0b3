# SPDX-License-Identifier: MIT
"""Ask a running process to give back all of its free memory, and wait for the answer.

The process is not stopped: a number is written into the library's memory, and each thread that sees it on
its way through the allocator trims its own heap, as pyarena_trim() would; Python's objects are one heap.
That takes it about 50 milliseconds for each GiB that is free.  Python's garbage is not collected for it; the
process itself can do that, by pyarena.trim().

A process that calls nothing cannot answer.  After the time limit that is told, with what is free in the
heaps that were silent; the request stays, and each serves it when it comes to life.

Exit status: 0 if every process has answered or has next to nothing to give back, 1 if one was silent altogether.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Sequence

from pyarena import process
from pyarena.command import Refusal
from pyarena.process import ProcessError
from pyarena.record import Snapshot, Target
from pyarena.text import size

USAGE = "[OPTION ...] PID ..."
SUMMARY = "ask a process to give back all that is free"
EXAMPLES = """\
  pyarena trim 4711
  pyarena trim --tree 4711                     # a server and its workers
  pyarena trim --json 4711 | jq .resident_after
"""

_LOOK_SECONDS = 0.01
_POLITE_SECONDS = 0.3  # to wait for who has next to nothing to give
_WORTH_BYTES = 256 * 1024  # free in a heap, to wait for it


def _limit(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of this verb."""
    parser.add_argument("--timeout", type=_limit, default=5.0, metavar="S", help="seconds to wait at most (default: 5)")
    parser.add_argument("--tree", action="store_true", help="also the descendants of a process that have the library")
    parser.add_argument("--json", action="store_true", help="what was found before and after, as JSON; a list for several")
    parser.add_argument("pid", nargs="+", metavar="PID", help="a process ID")


class _Asked:
    """One process that was asked, and which of its heaps have answered."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._target = Target(pid)
        try:
            self.title = f"process {pid}: {process.command_line(pid)}"
            self.resident_before = process.resident_bytes(pid)
            self.before = self._target.read()
            self._begin = time.monotonic()
            self._request = self._target.ask_to_trim()
        except BaseException:
            self.close()
            raise
        self.names = {heap.id: "CPython's objects" if heap.is_interpreter else "malloc" for heap in self.before.heaps}
        self.silent = {heap["id"] for heap in self.before.heap_table()
                       if heap["dirty_bytes"] >= _WORTH_BYTES and not heap["is_abandoned"]}  # fmt: skip
        self.answered: dict[int, float] = {}

    def close(self) -> None:
        """Let go of the process."""
        self._target.close()

    def look(self) -> bool:
        """Note who has answered; has anybody, and who has much to give?"""
        for heap in self._target.read_heaps():
            if heap.id in self.names and heap.id not in self.answered and heap.trim_served == self._request:
                self.silent.discard(heap.id)
                self.answered[heap.id] = time.monotonic() - self._begin
        return not self.silent and (bool(self.answered) or time.monotonic() - self._begin > _POLITE_SECONDS)

    def finish(self) -> None:
        """Note what it holds now."""
        self.after = self._target.read()
        self.resident_after = process.resident_bytes(self.pid)

    def free_in(self, heap: int) -> int:
        """Bytes that are free and resident in one heap."""
        return sum(one["dirty_bytes"] for one in self.after.heap_table() if one["id"] == heap)

    def values(self) -> dict[str, object]:
        """What was found, for JSON."""

        def told(snapshot: Snapshot) -> int:
            return snapshot.stats.dirty_bytes

        return {"pid": self.pid, "resident_before": self.resident_before, "resident_after": self.resident_after,
                "free_before": told(self.before), "free_after": told(self.after),
                "answered": [{"heap": one, "seconds": round(seconds, 3)} for one, seconds in self.answered.items()],
                "silent": [{"heap": one, "free_bytes": self.free_in(one)} for one in sorted(self.silent)]}  # fmt: skip

    def text(self, limit: float) -> str:
        """What was found, for people."""
        free = f"{size(self.before.stats.dirty_bytes)} -> {size(self.after.stats.dirty_bytes)}"
        lines = [self.title, f"  resident   {size(self.resident_before)} -> {size(self.resident_after)}", f"  free       {free}"]
        for one, seconds in self.answered.items():
            lines.append(f"  answered   heap {one}: {self.names[one]}, after {seconds:.2f} s")
        for one in sorted(self.silent):
            lines.append(f"  silent     heap {one}: {self.names[one]}, {size(self.free_in(one))} free and resident in it")
        if not self.answered and not self.silent:
            lines.append(f"  There was next to nothing to give back: less than {size(_WORTH_BYTES)} in each heap that is in use.")
        elif not self.answered:
            lines.append(f"  Nobody answered within {limit:g} s.  A process answers when it next allocates or frees something that takes")
            lines.append("  more than a block at hand; one that is idle does not.  The request stays until then.  What an idle")
            lines.append("  CPython has free it gives back by itself, down to half a MiB.")
        elif self.silent:
            lines.append(f"  The silent ones made no call within {limit:g} s; the request stays.")
        return "\n".join(lines)


def _processes(pids: Sequence[str], *, tree: bool) -> list[_Asked]:
    """Ask all of them.  Raises ProcessError for those that were named."""
    asked: list[_Asked] = []
    for word in pids:
        if not word.isdigit():
            raise Refusal(f"{word!r} is no process ID")
        asked.append(_Asked(int(word)))
        for child in process.descendants(int(word)) if tree else []:
            with contextlib.suppress(ProcessError):  # it has ended, or is a program without the library
                asked.append(_Asked(child))
    return asked


def main(arguments: argparse.Namespace) -> int:
    """Ask, wait and tell."""
    asked = _processes(arguments.pid, tree=arguments.tree)
    end = time.monotonic() + arguments.timeout
    while not all([one.look() for one in asked]) and time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)
    for one in asked:
        one.finish()
        one.close()
    if arguments.json:
        values = [one.values() for one in asked]
        print(json.dumps(values[0] if len(values) == 1 else values, indent=1))
    else:
        print("\n\n".join(one.text(arguments.timeout) for one in asked))
    return 0 if all(one.answered or not one.silent for one in asked) else 1
