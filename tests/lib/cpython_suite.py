# SPDX-License-Identifier: MIT
"""Run modules of CPython's own test suite, and know which cases cannot pass under the library."""
from __future__ import annotations

import re
import xml.etree.ElementTree
from pathlib import Path

import programs
from programs import Python

DIFFERENCES = programs.ROOT / "tests" / "python" / "cpython-differences.txt"


def differences() -> dict[str, str]:
    """The cases that fail under the library and pass without it, with the reason of each."""
    lines = (line.partition(" ") for line in DIFFERENCES.read_text().splitlines())
    return {case: reason.strip() for case, _, reason in lines if case and case != "#"}


def chosen() -> list[Python]:
    """The system's own CPython and the newest, of those served that have their tests installed."""
    having = [python for python in programs.all_pythons() if python.served and python.has("test.test_json")]
    return [python for python in having if python in (having[-1], programs.default_python())]


def run(python: Python, modules: list[str], place: Path, *flags: str, preload: bool) -> dict[str, bool]:
    """Run modules of the suite, with flags of its own; whether each case passed (skipped ones are left out)."""
    place.mkdir(parents=True)
    report = place / "report.xml"
    result = programs.run([python.path, "-m", "test", "--timeout", "1200", "--junit-xml", report,
                           *flags, *modules], preload=preload, cwd=place, home=place, timeout=3600)
    assert report.exists(), f"the run did not come to its end:\n{result}"
    passed = {}
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        if case.get("status") == "run" and not len(case.findall("skipped")):
            passed[str(case.get("name"))] = not case.findall("error") + case.findall("failure")
    crashed = re.findall(r"^test (\w+) (?:crashed|failed \(uncaught)", result.out, re.MULTILINE)
    passed.update((f"test.{module}.", False) for module in crashed)
    return passed


def failures(passed: dict[str, bool]) -> set[str]:
    """The cases that did not pass and should have; subtests count as their case."""
    return {name for name in (case.split(" ")[0] for case, good in passed.items() if not good)
            if name not in differences()}
