# SPDX-License-Identifier: MIT
"""What the tables declare is what the manual pages and the README tell, and nothing else is told.

Tables: src/option.def, src/pyarena-stats.def; the functions are those of src/pyarena.h.
"""
from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import tree

OPTIONS_PAGE = tree.ROOT / "man" / "libpyarena.7"
FUNCTIONS_PAGE = tree.ROOT / "man" / "pyarena.3"
README = tree.ROOT / "README.md"
STRING = r'"(?:[^"\\]|\\.)*"'


@dataclasses.dataclass
class Option:
    name: str
    default: str
    values: list[str]


def without_comments(path: Path) -> str:
    return re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)


def options() -> list[Option]:
    text = without_comments(tree.ROOT / "src" / "option.def")
    found = re.findall(rf"PA_OPTION\(\s*\w+,\s*({STRING}),\s*\w+,\s*({STRING}),\s*({STRING}),", text)
    table = [Option("PYARENA_" + name.strip('"'), default.strip('"'),
                    values.strip('"').split("|")) for name, default, values in found]
    assert len(table) == len(re.findall(r"^PA_OPTION\(", text, re.MULTILINE)) >= 6
    return table


def fields() -> list[str]:
    text = without_comments(tree.ROOT / "src" / "pyarena-stats.def")
    names = re.findall(rf"^PYARENA_STAT\((\w+),\s*{STRING}\)", text, re.MULTILINE)
    assert len(names) == len(re.findall(r"^PYARENA_STAT\(", text, re.MULTILINE)) >= 15
    return names


def functions() -> list[str]:
    names = re.findall(r"\b(pyarena_\w+)\s*\([^)]*\);", without_comments(tree.ROOT / "src" / "pyarena.h"))
    assert len(names) >= 5
    return names


def rendered(path: Path) -> str:
    """A manual page as its reader sees it, on lines of any length."""
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    done = subprocess.run(["mandoc", "-T", "ascii", "-O", "width=1000", str(path)],
                          capture_output=True, text=True, check=True)
    return re.sub(r".\x08", "", done.stdout)


def entries(page: str, names: list[str]) -> dict[str, str]:
    """The part of a page that describes each name: from the line that begins with it to the next
    such line, or to the next heading."""
    starts = {name: re.search(rf"^\s+{re.escape(name)}\b", page, re.MULTILINE) for name in names}
    ends = [match.start() for match in starts.values() if match]
    ends += [match.start() for match in re.finditer(r"^\S", page, re.MULTILINE)] + [len(page)]
    return {name: page[match.start():min(end for end in ends if end > match.start())]
            for name, match in starts.items() if match}


def test_options_are_in_the_manual() -> None:
    table = options()
    found = entries(rendered(OPTIONS_PAGE), [option.name for option in table])
    wrong = []
    for option in table:
        entry = found.get(option.name)
        if entry is None:
            wrong.append(f"{option.name}: no entry")
            continue
        wrong += [f"{option.name}: its entry does not tell {word}"
                  for word in (*option.values, option.default) if word not in entry]
    tree.report(wrong)


def test_options_are_in_the_readme() -> None:
    rows = {match[1]: match[0] for match in
            re.finditer(r"^\| *`(PYARENA_\w+)`.*$", README.read_text(), re.MULTILINE)}
    table = options()
    wrong = [f"{name}: a row of the README, but no option"
             for name in rows.keys() - {option.name for option in table}]
    for option in table:
        row = rows.get(option.name, "").replace("\\|", "|")
        words = (option.default, *option.values) if row else ("a row of its own",)
        wrong += [f"{option.name}: the README does not tell {word}" for word in words
                  if word not in row]
    tree.report(wrong)


def test_no_other_option_is_told() -> None:
    """Documents, and the files that run the library, name no option that is not in the table."""
    known = {option.name for option in options()}
    pages = [README, OPTIONS_PAGE, FUNCTIONS_PAGE,
             *tree.files(lambda path: path.suffix == ".md" and path.name != "CHANGELOG.md",
                         at_least=3)]
    # Names of the build and of the header, which are no options.
    known |= {"PYARENA_LIB", "PYARENA_H", "PYARENA_STAT"}
    tree.report([f"{tree.relative(path)}: {name} is no option" for path in pages
                 for name in sorted(set(re.findall(r"\bPYARENA_[A-Z_]+\b", path.read_text())) - known)])


def test_statistics_are_in_the_manual() -> None:
    page = rendered(FUNCTIONS_PAGE)
    told = set(re.findall(r"^\s+(\w+_\w+|\w+s)\b", page, re.MULTILINE))
    tree.report([f"{name}: no entry in man/pyarena.3" for name in fields() if name not in told])


def test_functions_are_in_the_manual() -> None:
    page = rendered(FUNCTIONS_PAGE)
    told = set(re.findall(r"\b(pyarena_\w+)\s*\(", page))
    names = functions()
    tree.report([f"{name}: not in man/pyarena.3" for name in names if name not in told]
                + [f"{name}: in man/pyarena.3, but not in pyarena.h"
                   for name in sorted(told - set(names))])


@pytest.mark.parametrize("page", (OPTIONS_PAGE, FUNCTIONS_PAGE), ids=lambda page: page.name)
def test_manual_pages_are_clean(page: Path) -> None:
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", str(page)],
                          capture_output=True, text=True)
    tree.report(done.stdout.splitlines())
