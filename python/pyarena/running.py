# SPDX-License-Identifier: MIT
"""Start a program, watch its memory to its end, and leave nothing of it behind."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from pyarena.sample import Sampler

_ERROR_LINES = 15
_END_MARK = Path(__file__).with_name("end_mark")


class RunError(Exception):
    """A measured program failed; the text ends with what it wrote to standard error."""


@contextlib.contextmanager
def running(
    command: Sequence[str],
    environment: dict[str, str],
    output: IO[bytes],
    errors: IO[bytes],
    inherited: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program in a session of its own, and leave nothing of it behind.  inherited: descriptors it keeps."""
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors,
        start_new_session=True,
        pass_fds=inherited,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def ending(code: int) -> str:
    """How a program ended, in words."""
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"


def failure(command: Sequence[str], code: int, errors: str) -> RunError:
    """The error of a program that ended with this code."""
    tail = "\n".join(errors.splitlines()[-_ERROR_LINES:])
    return RunError(f"{' '.join(command)} {ending(code)}" + (f":\n{tail}" if tail else ""))


class Stopwatch:
    """Wall time since it was made, and what all processes that have ended since have used."""

    def __init__(self) -> None:
        self._usage, self._start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()

    def figures(self) -> dict[str, float]:
        """Two times and the page faults under their names."""
        wall, usage = time.perf_counter() - self._start, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = usage.ru_utime + usage.ru_stime - self._usage.ru_utime - self._usage.ru_stime
        faults = usage.ru_minflt - self._usage.ru_minflt
        return {"whole_seconds": wall, "whole_cpu_seconds": cpu, "whole_faults": faults}


class Progress:
    """One line that is rewritten on a terminal; elsewhere a line at the begin and the end of each run."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._shown = 0.0

    def begin(self, text: str) -> None:
        """A run begins."""
        self._shown = 0.0
        if not self._is_terminal:
            print(f"{text} ...", file=sys.stderr, flush=True)

    def show(self, text: str) -> None:
        """It goes on; on a terminal only, and not too often."""
        now = time.monotonic()
        if self._is_terminal and now - self._shown > 0.1:
            self._shown = now
            width = shutil.get_terminal_size().columns  # a line that wraps cannot be rewritten
            print(f"\r\033[K{text[: width - 1]}", end="", file=sys.stderr, flush=True)

    def end(self, text: str) -> None:
        """It has ended."""
        print(f"\r\033[K{text}" if self._is_terminal else text, file=sys.stderr, flush=True)


def with_end_mark(environment: dict[str, str], pipe: int, idle: float) -> dict[str, str]:
    """The environment in which Python tells through the pipe when its script has ended, and idles there."""
    return _marked(environment, f"{pipe}:{idle}")


def with_early_report(environment: dict[str, str]) -> dict[str, str]:
    """The environment in which Python has the library write its report when its script has ended."""
    return _marked(environment, ":")


def _marked(environment: dict[str, str], mark: str) -> dict[str, str]:
    path = environment.get("PYTHONPATH", "")
    paths = os.pathsep.join(filter(None, [str(_END_MARK), path]))
    return environment | {"PYTHONPATH": paths, "BENCH_END_MARK": f"{mark}:{path}"}


@contextlib.contextmanager
def _end_of(process: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """Descriptors that are readable once a process has ended, so that its time ends then; none on old kernels."""
    try:
        sign = os.pidfd_open(process.pid)
    except (OSError, AttributeError):
        yield []
        return
    try:
        yield [sign]
    finally:
        os.close(sign)


def sample_to_end(
    process: subprocess.Popen[bytes], sampler: Sampler, marked: IO[bytes], show: Callable[[float, int], None]
) -> dict[str, float]:
    """Sample until the process has ended; the interpreter's own clearing up is left out.

    Returns the sizes at the two marks, as "end" and "settled", of those that came.  show is told of the
    seconds and the present size.
    """
    sizes: dict[str, float] = {}
    start = time.monotonic()
    has_ended = False
    with _end_of(process) as signs:
        signs.append(marked.fileno())
        while not has_ended and "settled" not in sizes:
            has_ended = process.poll() is not None
            wait = 0.0 if has_ended else sampler.sample()
            marks = marked.read()
            if marks == b"" and marked.fileno() in signs:  # nobody is left who could write
                signs.remove(marked.fileno())
            marks = marks or b""
            if b"s" in marks and not has_ended:
                sampler.forget_last()  # it may have been taken after the mark
            size = sampler.sizes[-1] if sampler.sizes else 0
            if b"e" in marks:
                sizes["end"] = size
            if b"s" in marks:
                sizes["settled"] = size
            show(time.monotonic() - start, size)
            select.select(signs, [], [], 0.0 if "settled" in sizes else wait)
    process.wait()
    return sizes
