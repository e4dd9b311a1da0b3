# SPDX-License-Identifier: MIT
"""A run whose memory is recorded from outside, and its page: pyarena run --report."""

from __future__ import annotations

import os
import resource
import shlex
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from types import FrameType

from pyarena import machine, table
from pyarena.curves import Curve, thinned
from pyarena.plot import Plot, document, pairs
from pyarena.process import ProcessError
from pyarena.record import Target
from pyarena.running import Stopwatch, ending
from pyarena.sample import Sampler
from pyarena.text import number, share, size

_MOST_SAMPLES = 6000  # then fewer are kept, and taken half as often
_RETRY_SECONDS = 0.02  # until the library is looked for again in a process that has just begun
_RESIDENT, _FREE = "resident", "free and resident"
_COLOURS = {_RESIDENT: "#118844", _FREE: "#e0a030"}
_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)  # which the command gets as well


@dataclass(frozen=True)
class Run:
    """What was recorded; status as subprocess gives it."""

    command: Sequence[str]
    status: int
    seconds: float
    cpu_seconds: float
    faults: int
    peak: int
    resident: Curve
    free: Curve
    given_back: int  # bytes
    used_again: int  # bytes of that, soon after
    conditions: dict[str, str]

    def page(self) -> str:
        """The run as a page that needs no other file."""
        command = shlex.join(self.command)
        curves = [curve for curve in (self.resident, self.free) if curve.seconds]
        plot = Plot(curves, _COLOURS, _RESIDENT, "Resident memory over time",
                    "Resident: the process with its descendants. Free: of that, what the library keeps for reuse, in "
                    "the first process.")  # fmt: skip
        parts = [
            f"<h1>Memory over time</h1><p><code>{escape(command)}</code></p>",
            *([plot.figure()] if curves else ["<p>It ended before it could be looked at.</p>"]),
            f"<h2>Figures</h2>{pairs(self._figures())}",
            f"<h2>Conditions</h2>{pairs(self.conditions)}",
        ]
        return document(f"Memory of {command}", parts, plot.script() if curves else "")

    def _figures(self) -> dict[str, str]:
        facts = {
            "it": "ended well" if self.status == 0 else ending(self.status),
            "time": f"{table.seconds(self.seconds)} s; {table.seconds(self.cpu_seconds)} s of processor time in all its processes",
            "peak": size(self.peak),
            "at the end": size(self.resident.sizes[-1] if self.resident.sizes else 0),
            "page faults": number(self.faults),
        }
        if self.free.sizes:
            facts["given back"] = f"{size(self.given_back)}, of which {share(self.used_again, self.given_back)} was soon used again"
            facts["kept for reuse"] = f"at most {size(max(self.free.sizes))}"
        return facts


def _conditions(version: str, environment: dict[str, str]) -> dict[str, str]:
    settings = [f"{name}={value}" for name, value in sorted(environment.items()) if name.startswith("PYARENA_")]
    facts = {"libpyarena": version or "was not seen in the process", "settings": " ".join(settings) or "none"}
    facts |= {name: str(value) for name, value in machine.describe().items()}
    return facts | {"made": time.strftime("%Y-%m-%d %H:%M %Z")}


class _Recorder:
    """Samples a process until it has ended."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._target: Target | None = None
        self._retry = 0.0
        self._begin = time.monotonic()
        self.sampler = Sampler(pid)
        self.free: list[tuple[float, int]] = []
        self.given_back = self.used_again = 0
        self.version = ""

    def look(self) -> float:
        """Take a sample; returns the seconds to wait before the next."""
        wait = self.sampler.sample()
        now = time.monotonic()
        try:
            if self._target is None and now >= self._retry:
                self._target = Target(self._pid)
                self.version = self._target.version
            if self._target:
                counters, unit = self._target.read_counters(), self._target.geometry.unit_bytes
                self.free.append((now - self._begin, max(counters["dirty_units"], 0) * unit))
                self.given_back, self.used_again = counters["purged_units"] * unit, counters["refault_units"] * unit
        except ProcessError:  # it has not begun, has become another program, or has ended
            self.close()
            self._retry = now + _RETRY_SECONDS
        if len(self.sampler.sizes) > _MOST_SAMPLES:
            self._thin()
        return wait

    def _thin(self) -> None:
        kept = thinned(Curve(_RESIDENT, self.sampler.seconds, self.sampler.sizes))
        self.sampler.seconds[:] = [second for second, _ in kept]
        self.sampler.sizes[:] = [size_ for _, size_ in kept]
        self.free = thinned(self.free_curve())
        self.sampler.interval *= 2

    def free_curve(self) -> Curve:
        """What was free and resident."""
        return Curve(_FREE, [second for second, _ in self.free], [free for _, free in self.free])

    def close(self) -> None:
        """Let go of the process."""
        if self._target:
            self._target.close()
        self._target = None


def record(words: Sequence[str], environment: dict[str, str]) -> Run:
    """Run a command to its end, with the caller's input and output.  Signals are handed on.

    Raises OSError if it cannot be started.
    """
    process: subprocess.Popen[bytes] | None = None

    def hand_on(which: int, _: FrameType | None) -> None:
        if process and which in _FORWARDED:
            process.send_signal(which)

    before = {which: signal.signal(which, hand_on) for which in (*_FORWARDED, *_FROM_TERMINAL)}
    try:
        stopwatch = Stopwatch()
        process = subprocess.Popen(words, env=environment)
        recorder = _Recorder(process.pid)
        while process.poll() is None:
            time.sleep(recorder.look())
        recorder.close()
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)
    used, sampler = stopwatch.figures(), recorder.sampler
    resident = Curve(_RESIDENT, sampler.seconds, sampler.sizes)
    return Run(words, process.returncode, used["whole_seconds"], used["whole_cpu_seconds"], int(used["whole_faults"]),
               sampler.peak, resident, recorder.free_curve(), recorder.given_back, recorder.used_again,
               _conditions(recorder.version, environment))  # fmt: skip


def end_as(status: int) -> int:
    """End as a command did: by the same signal, else returns the same status."""
    if status < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # one memory image is enough
        if -status not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status
