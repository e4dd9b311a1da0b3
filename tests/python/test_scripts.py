# SPDX-License-Identifier: MIT
"""Each file of scripts/ checks itself and prints "done"; all run under the preload.

The second line of a script says where it runs: "every" served CPython, the oldest, the default and
the newest ("few"), the "default" one, or those from a version on ("3.12").  The system's default
CPython, or the first where that is not among them, runs each script in all ways.  Exit status 77
skips, with the reason on standard error.
"""
from __future__ import annotations

from pathlib import Path

import pytest

import programs
from programs import Python

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.py"))
WAYS = {"default": {}, "eager": {"PYARENA_KEEP_FREE": "0"}, "hardened": {"PYARENA_HARDEN": "1"}}


def pythons_for(script: Path) -> list[Python]:
    """The CPythons that the script's second line asks for."""
    line = script.read_text().splitlines()[1]
    assert line.startswith("# pythons: "), f"{script.name}: the second line names the CPythons"
    wanted = line.removeprefix("# pythons: ")
    if wanted == "every":
        return programs.served_pythons()
    if wanted == "few":
        return programs.few_pythons()
    if wanted == "default":
        return [programs.default_python()]
    least = tuple(map(int, wanted.split(".")))
    return [python for python in programs.served_pythons() if python.info >= least]


def cases() -> list:
    """All (script, CPython, way), named for humans."""
    made = []
    for script in SCRIPTS:
        pythons, default = pythons_for(script), programs.default_python()
        for python in pythons:
            ways = WAYS if python == (default if default in pythons else pythons[0]) else ("default",)
            made += [pytest.param(script, python, way,
                                  id=f"{script.stem}-{programs.label(python)}-{way}")
                     for way in ways]
    return made


@pytest.mark.parametrize("script, python, way", cases())
def test_script(script: Path, python: Python, way: str, tmp_path: Path) -> None:
    result = programs.run([python.path, script], variables=WAYS[way], cwd=tmp_path, timeout=300)
    if result.status == 77:
        pytest.skip(result.err.strip()[-300:])
    if (result.status, result.out, result.err) != (0, "done\n", ""):
        stock = programs.run([python.path, script], preload=False, cwd=tmp_path, timeout=300)
        pytest.fail(f"{result}\n\n==== without the library: {stock}", pytrace=False)
