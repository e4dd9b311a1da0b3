# SPDX-License-Identifier: MIT
"""One run of one workload under one allocator."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.lib.workloads import Workload, command_line
from pyarena import sample
from pyarena.allocators import Allocator
from pyarena.running import RunError, Stopwatch, failure, running


@dataclass(frozen=True)
class Python:
    """An interpreter: the executable itself, not a shim that starts it."""

    path: Path
    version: str
    library: Path

    @staticmethod
    def resolve(command: str) -> Python:
        """Find the interpreter that command starts."""
        show = "import os,sys;print(sys.executable,sys.version.split()[0],os.path.dirname(os.__file__),sep='\\n')"
        try:
            done = subprocess.run([command, "-c", show], capture_output=True, text=True, check=True)
            path, version, library = done.stdout.splitlines()
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            raise RunError(f"{command} is not a Python 3 interpreter: {error}") from error
        return Python(Path(path), version, Path(library))


def reported_figures(output: str) -> dict[str, float] | None:
    """What a workload has reported as its last line; None if that is not a report."""
    try:
        reported = json.loads(output.splitlines()[-1])
    except (IndexError, ValueError):
        return None
    return {name: value for name, value in reported.items() if isinstance(value, (int, float))}


def _run(command: Sequence[str], environment: dict[str, str], timeout: float) -> tuple[str, dict[str, float]]:
    """Standard output of a program, and its wall and processor time, descendants included."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        stopwatch = Stopwatch()
        with running(command, environment, output, errors) as process:
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                raise RunError(f"{' '.join(command)} took more than {timeout:g} s") from None
        times = stopwatch.figures()
        output.seek(0)
        errors.seek(0)
        if process.returncode != 0:
            raise failure(command, process.returncode, errors.read().decode(errors="replace"))
        return output.read().decode(), times


def measure(
    workload: Workload, allocator: Allocator, python: Python, *, scale: float, idle: float, timeout: float
) -> dict[str, float]:
    """Run once.  The figures by name; those that the workload does not know are absent.  Memory is in bytes."""
    if workload.script is None:
        with command_line(workload, python.path, python.library, scale) as command:
            environment = allocator.environment(os.environ, reproducible=True)
            memory = _memory_at_end_of_startup(python, environment, timeout) if workload.name == "startup" else None
            return measure_command(command, allocator, runs=workload.runs, timeout=timeout, memory=memory)
    command = [str(python.path), str(workload.script), "--scale", str(scale), "--idle", str(idle)]
    output, whole = _run(command, allocator.environment(os.environ, reproducible=True), timeout)
    figures = reported_figures(output)
    if figures is None:
        raise RunError(f"{' '.join(command)} printed no figures: {output!r}")
    whole["whole_seconds"] -= figures["idle_seconds"]
    return figures | whole


def measure_command(
    command: list[str], allocator: Allocator, *, runs: int = 1, timeout: float, memory: dict[str, float] | None = None
) -> dict[str, float]:
    """Time a whole command, and read its memory, unless that is known, in a run of its own.  It never settles."""
    environment = allocator.environment(os.environ, reproducible=True)
    figures = memory or {"peak": _sampled_peak(command, environment, timeout)}
    hyperfine = shutil.which("hyperfine")
    if hyperfine is not None:
        return figures | _hyperfine(hyperfine, command, allocator, runs, timeout)
    times = [_run(command, environment, timeout)[1] for _ in range(runs)]
    for name in times[0]:
        figures[name] = statistics.median(one[name] for one in times)
    return figures | {"seconds": figures["whole_seconds"]}


def _memory_at_end_of_startup(python: Python, environment: dict[str, str], timeout: float) -> dict[str, float]:
    """Peak and present memory of an interpreter that has started.  It ends too soon to be sampled from outside."""
    output, _ = _run([str(python.path), "-c", "print(open('/proc/self/status').read())"], environment, timeout)
    status = dict(line.split(":", 1) for line in output.splitlines() if ":" in line)
    return {"peak": int(status["VmHWM"].split()[0]) * 1024, "after": int(status["VmRSS"].split()[0]) * 1024}


def _sampled_peak(command: list[str], environment: dict[str, str], timeout: float) -> float:
    """The peak of a command, sampled from outside."""
    with tempfile.TemporaryFile() as errors, running(command, environment, errors, errors) as process:
        sampler = sample.Sampler(process.pid)
        limit = time.monotonic() + timeout
        while process.poll() is None:
            if time.monotonic() > limit:
                raise RunError(f"{' '.join(command)} took more than {timeout:g} s")
            time.sleep(sampler.sample())
        if process.returncode != 0:
            errors.seek(0)
            raise failure(command, process.returncode, errors.read().decode(errors="replace"))
        return sampler.peak


def _hyperfine(
    hyperfine: str, command: list[str], allocator: Allocator, runs: int, timeout: float
) -> dict[str, float]:
    """Time a command by hyperfine.  env(1) sets the preload, so that hyperfine itself runs without."""
    own = replace(allocator, library=None, variables=()).environment(os.environ, reproducible=True)
    settings = [f"{name}={value}" for name, value in allocator.settings().items()]
    options = ["--shell=none", f"--warmup={int(runs > 1)}", f"--runs={runs}", "--style=none"]
    with tempfile.NamedTemporaryFile(suffix=".json") as result:
        measured = shlex.join(["env", *settings, *command])
        _run([hyperfine, *options, f"--export-json={result.name}", measured], own, timeout)
        times = json.load(result)["results"][0]
    return {
        "seconds": times["median"],
        "user_seconds": times["user"],
        "system_seconds": times["system"],
        "whole_seconds": times["median"],
        "whole_cpu_seconds": times["user"] + times["system"],
    }
