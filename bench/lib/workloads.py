# SPDX-License-Identifier: MIT
"""The workloads: every script of bench/python whose name has no underscore in front, and whole commands."""

from __future__ import annotations

import ast
import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[1] / "python"


class WorkloadError(Exception):
    """A workload that was asked for does not exist."""


@dataclass(frozen=True)
class Workload:
    """A script that reports on itself, or (script is None) a whole command that is timed from outside.

    runs: how often a command is started in one round.
    """

    name: str
    summary: str
    script: Path | None = None
    runs: int = 1


_COMMANDS = (
    Workload("startup", "The interpreter starts and ends: python3 -c pass.", runs=20),
    Workload("compileall", "python3 -m compileall over a copy of part of the standard library."),
)


def known() -> list[Workload]:
    """All workloads by name."""
    found = list(_COMMANDS)
    for script in SCRIPTS.glob("[!_]*.py"):
        docstring = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
        found.append(Workload(script.stem, docstring.partition("\n")[0], script))
    return sorted(found, key=lambda workload: workload.name)


def select(names: Sequence[str]) -> list[Workload]:
    """The workloads of these names, all if there are none."""
    every = {workload.name: workload for workload in known()}
    unknown = [name for name in names if name not in every]
    if unknown:
        raise WorkloadError(f"no workload {', '.join(unknown)}; known: {', '.join(every)}")
    return [every[name] for name in names] if names else list(every.values())


@contextlib.contextmanager
def command_line(workload: Workload, python: Path, library: Path, scale: float) -> Iterator[list[str]]:
    """The command of a workload that has no script; library is the interpreter's standard library."""
    if workload.name == "startup":
        yield [str(python), "-c", "pass"]
        return
    sources = sorted(library.glob("*.py"))
    with tempfile.TemporaryDirectory(prefix="pyarena-bench-") as directory:
        for source in sources[: max(1, int(len(sources) * scale * 0.4))]:
            shutil.copy(source, directory)
        yield [str(python), "-m", "compileall", "-q", "-f", directory]
