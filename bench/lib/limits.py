# SPDX-License-Identifier: MIT
"""bench/limits: how far settled memory is from what the survivors need, and where the rest is."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.lib import workloads
from bench.lib.measure import Python, reported_figures
from bench.lib.tree import PYARENA_LIBRARY
from pyarena import allocators, sample, table
from pyarena.fields import Stats
from pyarena.process import ProcessError
from pyarena.record import Target
from pyarena.running import RunError, failure, running

_DESCRIPTION = """\
Run the workloads that know their survivors under libpyarena, and tell where settled memory is.

A workload settles, then idles; meanwhile its records are read from outside, as pyarena stats does.  The parts add up
to what is settled.  MB are 2^20 bytes.  docs/benchmarks.md explains the columns.
"""
_IDLE_SECONDS = 5.0
_QUIET_SECONDS = 2.2  # without processor time: longer than any workload pauses, and than the reserve lasts
_NOTHING = workloads.SCRIPTS / "_nothing.py"


@dataclass(frozen=True)
class Settled:
    """What a workload told of itself, and what its records told while it idled; all in bytes."""

    limit: float
    settled: float
    survivors: float
    stats: Stats

    def parts(self) -> dict[str, float]:
        """Settled memory by what it is for; a part may come out a little below 0, for a sum of estimates."""
        library = self.stats.live_page_bytes + self.stats.dirty_bytes + self.stats.record_bytes
        return {
            "survivors": self.survivors,
            "other blocks": self.stats.live_bytes - self.survivors,
            "rest of their pages": self.stats.live_page_bytes - self.stats.live_bytes,
            "free": self.stats.dirty_bytes - self.stats.cached_bytes,
            "free, cached": self.stats.cached_bytes,
            "records": self.stats.record_bytes,
            "not the library's": self.settled - library,
        }


def _used_seconds(pid: int) -> float:
    return sample.tree_usage(pid)[0]


def _stats_when_quiet(process: subprocess.Popen[bytes], timeout: float) -> Stats | None:
    """Read the records once the process has done nothing for a while; None if it has ended before."""
    end, since, used = time.monotonic() + timeout, time.monotonic(), _used_seconds(process.pid)
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
        now = _used_seconds(process.pid)
        if now != used:
            since, used = time.monotonic(), now
        elif time.monotonic() - since > _QUIET_SECONDS:
            with Target(process.pid) as target:
                return target.read().stats
    return None


def measure(words: list[str], column: allocators.Allocator, timeout: float) -> Settled:
    """Run a workload that knows its survivors."""
    environment = column.environment(os.environ, reproducible=True)
    with tempfile.TemporaryFile() as output, running(words, environment, output, output) as process:
        stats = _stats_when_quiet(process, timeout)
        process.wait(timeout)
        output.seek(0)
        text = output.read().decode(errors="replace")
    figures = reported_figures(text)
    if process.returncode != 0 or figures is None:
        raise failure(words, process.returncode, text)
    if stats is None:
        raise RunError(f"{' '.join(words)} was never quiet for {_QUIET_SECONDS} s")
    return Settled(figures["limit"], figures["settled"], figures["survivor_bytes"], stats)


def _knows_survivors(script: Path) -> bool:
    return "limit_by(" in script.read_text(encoding="utf-8")


def _scripts(names: list[str]) -> list[Path]:
    """Those that know their survivors, after the one that does nothing."""
    scripts = [workload.script for workload in workloads.select(names) if workload.script]
    return [_NOTHING, *filter(_knows_survivors, scripts)]


def table_of(rows: dict[str, list[Settled]]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: medians over the rounds, in MB but for the ratio."""
    head, cells = ["MB", "settled", "limit", "settled / limit"], []
    for name, rounds in rows.items():
        settled, limit = (statistics.median(getattr(one, key) for one in rounds) for key in ("settled", "limit"))
        parts = {key: statistics.median(one.parts()[key] for one in rounds) for key in rounds[0].parts()}
        numbers = [table.megabytes(settled), table.megabytes(limit), f"{settled / limit:.2f}"]
        cells.append([name, *numbers, *map(table.megabytes, parts.values())])
    return [*head, *rounds[0].parts()], cells


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="bench/limits", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("workload", nargs="*", help="workloads to run (default: all that know their survivors)")
    made.add_argument("--rounds", type=int, default=1, metavar="N", help="rounds to run (default: 1)")
    made.add_argument("--scale", type=float, default=1.0, metavar="X", help="size of the work (default: 1)")
    made.add_argument("--timeout", type=float, default=600.0, metavar="S", help="longest single run (default: 600)")
    made.add_argument("--python", default="python3", metavar="PYTHON", help="interpreter to run (default: python3)")
    made.add_argument(
        "--lib",
        default=f"pyarena={PYARENA_LIBRARY}",
        metavar="NAME=PATH",
        help="a libpyarena, with variables as in bench/run (default: the default build's)",
    )
    made.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as Markdown")
    return made


def main(words: list[str] | None = None) -> int:
    """The program; returns its exit status."""
    arguments = parser().parse_args(words)
    rows: dict[str, list[Settled]] = {}
    try:
        column, python = allocators.parse_library(arguments.lib), Python.resolve(arguments.python)
        allocators.check(column, python.path)
        scripts = _scripts(arguments.workload)
        for number in range(arguments.rounds):
            for script in scripts:
                print(f"round {number + 1} {script.stem}", file=sys.stderr, flush=True)
                work = ["--scale", str(arguments.scale), "--idle", str(_IDLE_SECONDS)]
                settled = measure([str(python.path), str(script), *work], column, arguments.timeout)
                rows.setdefault(script.stem.strip("_"), []).append(settled)
    except (allocators.AllocatorError, workloads.WorkloadError, ProcessError, RunError) as error:
        print(f"bench/limits: {error}", file=sys.stderr)
        return 2
    print(table.text(*table_of(rows)))
    if arguments.markdown:
        arguments.markdown.write_text(table.markdown(*table_of(rows)) + "\n", encoding="utf-8")
    return 0
