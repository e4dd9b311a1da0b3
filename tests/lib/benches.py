# SPDX-License-Identifier: MIT
"""Run the measuring tools of bench/: what the tests of tests/bench share."""
from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = "/usr/bin/python3"
MEGABYTE = 2**20

sys.path.insert(0, str(ROOT))


def run(*words: object, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([PYTHON, "-B", *map(str, words)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == status, f"{words} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done


def measured(path: Path) -> list[dict[str, str]]:
    """The lines of a CSV file that a tool has written."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def need(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
