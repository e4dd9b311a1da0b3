# SPDX-License-Identifier: MIT
"""pyarena doctor: what is well and what is wrong with real processes and commands."""
from __future__ import annotations

import re
from pathlib import Path

import pytest

import programs
import tools

from pyarena.verbs import doctor as doctor_verb

PYTHON = programs.default_python().path


def doctor(*words: object, status: int, **variables: str) -> str:
    out = tools.pyarena("doctor", *words, library=True, status=status, variables=variables).out
    assert all(line.startswith(("ok ", "note ", "WRONG ", "       ", "process ", "command: ", "Nothing is wrong"))
               or line == "" or "wrong." in line for line in out.splitlines()), out
    assert ("WRONG" in out) == (status == 1)
    return " ".join(out.split())


def test_a_served_process_is_well() -> None:
    with tools.served("") as process:
        out = doctor(process.pid, status=0)
    assert "libpyarena 0.1.0 serves malloc" in out and "CPython's objects are served" in out
    assert out.endswith("Nothing is wrong.")
    assert "no settings: everything is at its default" in out
    # What the machine's settings mean is told whether they are well or not.
    for pattern in (r"transparent huge pages: \w+ \w+", r"(the kernel overcommits|the kernel does not overcommit) .* Address space",
                    r"no control group limits its memory|its control group may have \S+ \S+"):
        assert re.search(pattern, out), (pattern, out)


def test_the_limit_of_an_outer_group_counts(tmp_path: Path) -> None:
    inner = tmp_path / "app.slice/app.service/worker"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    (inner.parent / "memory.max").write_text(f"{64 << 20}\n")
    (inner.parent / "memory.current").write_text("1000\n")
    (inner.parents[1] / "memory.max").write_text(f"{128 << 20}\n")
    assert list(doctor_verb.memory_limits("0::/app.slice/app.service/worker\n", str(tmp_path))) == [(64 << 20, "1000"), (128 << 20, "")]
    old = tmp_path / "memory/app"
    old.mkdir(parents=True)
    (old / "memory.limit_in_bytes").write_text(f"{32 << 20}\n")
    (old.parent / "memory.limit_in_bytes").write_text(f"{2**63 - 4096}\n")
    assert list(doctor_verb.memory_limits("4:cpu,memory:/app\n3:cpuset:/x\n", str(tmp_path))) == [(32 << 20, "")]


@pytest.mark.parametrize("variables, title", [
    ({"PYTHONMALLOC": "pymalloc"}, "PYTHONMALLOC=pymalloc is set"),
    ({"PYARENA_PYTHON": "off"}, "PYARENA_PYTHON=off asks for that"),
    ({"PYTHONDEVMODE": "1"}, "PYTHONDEVMODE is set"),
    ({"PYARENA_DISABLE": "1"}, "PYARENA_DISABLE is set"),
    ({"PYARENA_KEEPFREE": "1"}, "PYARENA_KEEPFREE is not an option Perhaps PYARENA_KEEP_FREE is meant."),
], ids=lambda value: "-".join(value) if isinstance(value, dict) else "")
def test_settings_that_keep_the_library_away_are_named(variables: dict[str, str], title: str) -> None:
    with tools.served("", variables=variables) as process:
        out = doctor(process.pid, status=1)
    assert title in out
    if not {"PYARENA_DISABLE", "PYARENA_KEEPFREE"} & set(variables):
        assert "CPython's objects are not served" in out


def test_options_are_those_of_the_library() -> None:
    declared = re.findall(r'^PA_OPTION\(\w+, "(\w+)"', (programs.ROOT / "src/option.def").read_text(), re.MULTILINE)
    assert sorted(doctor_verb._OPTIONS) == sorted(declared)


def test_a_process_without_it_is_told_why() -> None:
    with tools.served("", preload=False) as process:
        assert "LD_PRELOAD was not set when it was started" in doctor(process.pid, status=1)


def test_what_is_not_read_is_noted() -> None:
    with tools.served("", variables={"MALLOC_ARENA_MAX": "2"}) as process:
        assert "MALLOC_ARENA_MAX: not read by libpyarena" in doctor(process.pid, status=0)


def test_a_python_is_tried() -> None:
    out = doctor("--", PYTHON, "app.py", status=0)
    assert "tried: libpyarena 0.1.0 serves malloc and CPython 3." in out
    assert '"import pyarena" does not find the module' in out and str(tools.PACKAGE) in out
    out = doctor("--", PYTHON, "app.py", status=0, PYTHONPATH=str(tools.PACKAGE))
    assert '"import pyarena" finds the module' in out
    assert "-X dev is given" in doctor("--", PYTHON, "-X", "dev", "app.py", status=1)
    assert "PYTHONMALLOC=debug is set" in doctor("--", PYTHON, status=1, PYTHONMALLOC="debug")


def test_an_old_python_is_not_served() -> None:
    old = [python for python in programs.pythons() if python.info < (3, 7)]
    if not old:
        pytest.skip("there is no CPython older than 3.7")
    assert "but not CPython's objects" in doctor("--", old[0].path, status=1)


def test_other_programs_are_told_apart(tmp_path: Path) -> None:
    assert "it is no CPython" in doctor("--", "/bin/cat", status=0)
    result = tools.pyarena("doctor", "--", "nosuchprogram", library=True, status=2)
    assert "nosuchprogram is not found in PATH" in result.err
    assert "there is no process" in tools.pyarena("doctor", 2**22 + 1, status=2).err
