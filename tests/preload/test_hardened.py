# SPDX-License-Identifier: MIT
"""What holds for every process holds for a hardened one: the programs of other tests, with PYARENA_HARDEN=1.

Attacks on it are in tests/death, CPython's part in tests/python/test_scripts.py; every_call has points of its own.
"""
from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import programs

PROGRAMS = {
    "api/aligned": [],
    "api/giving_back": [],
    "api/interface": [],
    "api/introspection": [],
    "api/operators": [],
    "api/resize": [],
    "api/sizes": [],
    "fault/limits": [],
    "stress/children": ["--forks", "24"],
    "stress/forks": ["--forks", "60"],
    "stress/loading": [],
    "stress/model": ["--ops", "300000"],
    "stress/ring": ["--blocks", "100000"],
    "stress/soak": ["--rounds", "6"],
    "stress/threads": [],
}
# Points that a hardened process rightly fails.
CANARIES = "canaries, whole pools cut at once and blocks that wait take more memory than this allows"
WAITING = "blocks that wait count as live"
EXEMPT = {
    "api/giving_back": {"every_1024th_kibibyte_survives": CANARIES, "few_of_random_sizes_survive": CANARIES},
    "api/interface": {"numbers_follow_the_program": WAITING},
    "api/introspection": {"mallinfo2_follows_the_program": WAITING},
    "stress/threads": {"idle_threads_are_cheap": CANARIES, "many_threads_come_and_go": CANARIES},
}


def built(name: str) -> Path:
    path = Path(os.environ.get("TOP_BUILDDIR", programs.ROOT / "build")) / "tests" / name
    if not path.is_file():
        pytest.skip(f"{path.name} is not built: make check builds it")
    return path


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name: str) -> None:
    result = programs.run([built(name), *PROGRAMS[name]], preload=False, timeout=2500,
                          variables={"PYARENA_LIB": str(programs.library()), "PYARENA_HARDEN": "1"})
    outcomes = dict(reversed(line) for line in re.findall(r"^(ok|not ok) \d+ - (\w+)", result.out, re.MULTILINE))
    exempt = EXEMPT.get(name, {})
    assert set(exempt) < set(outcomes), result
    assert result.out.count("\nok ") + result.out.count("\nnot ok ") == len(outcomes), result
    failed = [point for point, outcome in outcomes.items() if outcome != "ok" and point not in exempt]
    assert not failed, result
