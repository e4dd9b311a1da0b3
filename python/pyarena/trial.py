# SPDX-License-Identifier: MIT
"""One run of a command or a server under one allocator, measured from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO

from pyarena import sample
from pyarena.allocators import Allocator
from pyarena.curves import Curve
from pyarena.running import RunError, Stopwatch, ending, failure, running, sample_to_end, with_end_mark

_READY_SECONDS = 60.0  # that a server may take until it answers
_STOP_SECONDS = 10.0  # that it may take to end when it is asked to

Show = Callable[[float, int], None]


@dataclass(frozen=True)
class Trial:
    """What one run has shown.  Figures that could not be had are absent; memory is in bytes."""

    figures: dict[str, float]
    curve: Curve
    status: int
    error: RunError | None = None


@dataclass(frozen=True)
class Load:
    """How a server is used: the address that answers when it is ready, and the command that then asks of it."""

    ready_url: str
    command: str


def run_command(words: Sequence[str], allocator: Allocator, idle: float, show: Show) -> Trial:
    """Run a command to its end.

    If it is a Python, "after" is its memory when the script has ended and its objects still live, and
    "settled" that after idle seconds there.
    """
    marks, writing_end = os.pipe()
    environment = with_end_mark(allocator.environment(os.environ, reproducible=False), writing_end, idle)
    with tempfile.TemporaryFile() as output:
        stopwatch = Stopwatch()
        with os.fdopen(marks, "rb", buffering=0) as marked:
            os.set_blocking(marks, False)
            try:
                with running(words, environment, output, output, [writing_end]) as process:
                    closing, writing_end = writing_end, -1  # first: an interrupt may come at once
                    os.close(closing)
                    sampler = sample.Sampler(process.pid)
                    ends = sample_to_end(process, sampler, marked, show)
            finally:
                if writing_end >= 0:
                    os.close(writing_end)
        used = stopwatch.figures()
        figures = {"time": used["whole_seconds"] - (idle if "settled" in ends else 0),
                   "cpu": used["whole_cpu_seconds"], "faults": used["whole_faults"]}  # fmt: skip
        if "end" in ends:
            figures["after"] = ends["end"]
        if "settled" in ends:
            figures["settled"] = ends["settled"]
        error = failure(words, process.returncode, _text(output)) if process.returncode else None
    return _trial(figures, sampler, allocator, process.returncode, error)


def run_server(words: Sequence[str], load: Load, allocator: Allocator, idle: float, show: Show) -> Trial:
    """Start a server, wait until it is ready, put the load on it, let it idle, and stop it.

    "time" is that of the load; "after" is the memory when it has ended, "settled" that after idle seconds.
    """
    with tempfile.TemporaryFile() as output:
        environment = allocator.environment(os.environ, reproducible=False)
        with running(words, environment, output, output) as server:
            sampler = sample.Sampler(server.pid)
            begin = time.monotonic()

            def watch(until: Callable[[], bool]) -> None:
                """Sample until something is so, or the server has ended."""
                while not until():
                    if server.poll() is not None:
                        raise RunError(f"{' '.join(words)} {ending(server.returncode)} too early:\n{_text(output)[-2000:]}")
                    wait = sampler.sample()
                    show(time.monotonic() - begin, sampler.sizes[-1] if sampler.sizes else 0)
                    time.sleep(wait)

            def is_ready() -> bool:
                if time.monotonic() - begin > _READY_SECONDS:
                    raise RunError(f"{load.ready_url} did not answer within {_READY_SECONDS:.0f} seconds")
                return _answers(load.ready_url)

            watch(is_ready)
            cpu, faults = sample.tree_usage(server.pid)
            figures = {"time": _put_load(load.command, watch)}
            cpu_after, faults_after = sample.tree_usage(server.pid)
            figures |= {"cpu": cpu_after - cpu, "faults": faults_after - faults}
            sampler.sample()  # a server may be ready, and a load may end, at the first look
            figures["after"] = sampler.sizes[-1]
            end = time.monotonic() + idle
            watch(lambda: time.monotonic() > end)
            figures["settled"] = sampler.sizes[-1]
            status = _stop(server)
    return _trial(figures, sampler, allocator, status, None)


def _trial(figures: dict[str, float], sampler: sample.Sampler, allocator: Allocator, status: int,
           error: RunError | None) -> Trial:  # fmt: skip
    if sampler.peak:
        figures["peak"] = sampler.peak
    if sampler.private:
        figures["private"] = sampler.private
    return Trial(figures, Curve(allocator.name, sampler.seconds, sampler.sizes), status, error)


def _text(output: IO[bytes]) -> str:
    output.seek(0)
    return output.read().decode(errors="replace")


def _answers(url: str) -> bool:
    """Does a server answer, with whatever but an error of its own?"""
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except (OSError, urllib.error.URLError):
        return False


def _put_load(command: str, watch: Callable[[Callable[[], bool]], None]) -> float:
    """Run the load to its end; returns the seconds that it took."""
    with tempfile.TemporaryFile() as output:
        begin = time.perf_counter()
        with running(["/bin/sh", "-c", command], dict(os.environ), output, output) as process:
            watch(lambda: process.poll() is not None)
        seconds = time.perf_counter() - begin
        if process.returncode:
            raise failure([command], process.returncode, _text(output))
    return seconds


def _stop(server: subprocess.Popen[bytes]) -> int:
    """Ask a server to end; returns its status, 0 where it ended because it was asked to."""
    server.send_signal(signal.SIGTERM)
    try:
        status = server.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        return -signal.SIGKILL  # which it gets as soon as we let go of it
    return 0 if status in (-signal.SIGTERM, 128 + signal.SIGTERM) else status
