# SPDX-License-Identifier: MIT
"""The protocols between threads, and of a fork, as models that Spin walks through state by state.

Each *.pml holds in all interleavings.  Its head lists variants (BROKEN 1, BROKEN 2, …), each with one
rule of the protocol left out: Spin has to find what goes wrong in these, or the model proves nothing.
MODEL_FLAGS="-DTHREADS=3" makes adoption.pml larger (a minute and 3 GB).  What takes long is worth optimising.
"""
from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import programs

MODELS = sorted(Path(__file__).parent.glob("*.pml"))


def variants(model: Path) -> list[str]:
    return re.findall(r"BROKEN (\d+):", model.read_text())


def explore(model: Path, place: Path, *flags: str) -> tuple[int, int, str]:
    """Errors found, states seen, and Spin's report."""
    programs.need("spin", "gcc")
    # What a fork stops has no end: fork.pml tells of its deadlocks itself.
    ends = ["-E"] if "timeout" in model.read_text() else []
    for argv in (["spin", *flags, "-a", model], ["gcc", "-O2" if "MODEL_FLAGS" in os.environ else "-O0", "-DSAFETY", "-o", "pan", "pan.c"],
                 ["./pan", "-m1000000", *ends]):
        result = programs.run(argv, preload=False, cwd=place, timeout=1500)
        assert result.status == 0, result
    errors = re.search(r"errors: (\d+)", result.out)
    states = re.search(r"(\d+) states, stored", result.out)
    assert errors and states and "search depth too small" not in result.out, result
    return int(errors[1]), int(states[1]), result.out


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.stem)
def test_holds(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    errors, states, report = explore(model, tmp_path, *os.environ.get("MODEL_FLAGS", "").split())
    with capsys.disabled():
        print(f"# figure: {states} states of {model.stem}.pml")
    assert errors == 0, report
    assert states > 10000, report


@pytest.mark.parametrize("model, variant", [(model, variant) for model in MODELS
                                            for variant in variants(model)],
                         ids=lambda value: value.stem if isinstance(value, Path) else value)
def test_finds_what_is_broken(model: Path, variant: str, tmp_path: Path) -> None:
    errors, _, report = explore(model, tmp_path, f"-DBROKEN={variant}")
    assert errors > 0 and "assertion violated" in report, report


def test_each_model_can_be_broken() -> None:
    assert len(MODELS) >= 5 and all(variants(model) for model in MODELS)
