# SPDX-License-Identifier: MIT
"""What the tables declare is what the documents tell, and nothing else is told.

scripts/generate-docs writes options, statistics and functions into the manual pages and the README.
"""
from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tree

PAGES = sorted((tree.ROOT / "man").glob("*.[1-8]"))

# Of the build, of tests and of the header: names that look like options and are none.
NO_OPTIONS = {"PYARENA_LIB", "PYARENA_H", "PYARENA_STAT"}


def test_documents_are_as_generated() -> None:
    done = subprocess.run([sys.executable, tree.ROOT / "scripts" / "generate-docs", "--check"],
                          capture_output=True, text=True)
    assert done.returncode == 0, "\n" + done.stdout + done.stderr


def test_no_other_option_is_told() -> None:
    table = (tree.ROOT / "src" / "option.def").read_text()
    known = {f"PYARENA_{name}" for name in
             re.findall(r'^PA_OPTION\(\w+, "(\w+)"', table, re.MULTILINE)}
    assert len(known) >= 6, f"only {known} found in the table"
    told = {(path, name) for path in
            tree.files(lambda path: path.suffix == ".md" or path in PAGES, at_least=5)
            for name in re.findall(r"\bPYARENA_[A-Z_]+\b", path.read_text())}
    tree.report(sorted(f"{tree.relative(path)}: {name} is no option" for path, name in told
                       if name not in known | NO_OPTIONS))


def test_every_function_is_described() -> None:
    """Beside the synopsis, which is generated."""
    names = re.findall(r"\b(pyarena_\w+)\([^)]*\);", (tree.ROOT / "src" / "pyarena.h").read_text())
    assert len(names) >= 5, f"only {names} found in the header"
    page = (tree.ROOT / "man" / "pyarena.3").read_text()
    description = page[page.index(".Sh DESCRIPTION"):]
    tree.report([f"man/pyarena.3 does not describe {name}" for name in names
                 if not re.search(rf"\b{name}\b", description)])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_manual_pages_are_clean(page: Path) -> None:
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page],
                          capture_output=True, text=True)
    tree.report(done.stdout.splitlines())


def test_there_are_manual_pages() -> None:
    assert len(PAGES) >= 2
