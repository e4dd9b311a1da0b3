# SPDX-License-Identifier: MIT
"""The project's own files, for the lints: what a lint reads, and a count below which it fails.

A source tree may be a clone, an unpacked tarball or configured in place, so files are found by
their place and name, not by asking git.
"""
from __future__ import annotations

import os
from pathlib import Path
from typing import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]

# Where files of the project are. What autoreconf and configure write beside them is not.
DIRECTORIES = (".ci", "bench", "docs", "m4", "man", "preload", "python", "scripts", "src", "tests")
TOP_FILES = (".clang-format", ".clang-tidy", ".editorconfig", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md",
             "COPYING", "Makefile.am", "README.md", "configure.ac", "pyarena.pc.in")
MADE_DIRECTORIES = {"__pycache__", ".deps", ".libs"}
MADE_NAMES = {".dirstamp", "libtool.m4", "ltoptions.m4", "ltsugar.m4", "ltversion.m4",
              "lt~obsolete.m4"}
MADE_SUFFIXES = {".la", ".lo", ".log", ".o", ".trs"}


def all_files() -> Iterator[Path]:
    """Every file of the project."""
    yield from (ROOT / name for name in TOP_FILES if (ROOT / name).is_file())
    for directory in DIRECTORIES:
        for place, directories, names in os.walk(ROOT / directory):
            directories[:] = sorted(set(directories) - MADE_DIRECTORIES)
            for name in sorted(names):
                path = Path(place, name)
                if name not in MADE_NAMES and path.suffix not in MADE_SUFFIXES:
                    yield path


def text_of(path: Path) -> str | None:
    """The text of a file, or None if it holds none (a picture, a program built in place)."""
    data = path.read_bytes()
    return None if b"\0" in data[:8192] or path.suffix in (".svg", ".png") \
        else data.decode("utf-8")


def interpreter(path: Path) -> str:
    """The name of the interpreter in the first line, such as python3; empty if there is none."""
    with path.open("rb") as file:
        line = file.readline(200)
    words = line[2:].decode("utf-8", "replace").split() if line.startswith(b"#!") else []
    if words and Path(words[0]).name == "env":
        words = [word for word in words[1:] if not word.startswith("-")]
    return Path(words[0]).name if words else ""


def files(chosen: Callable[[Path], bool], at_least: int) -> list[Path]:
    """The files that are chosen. A lint that finds next to nothing checks nothing: it fails."""
    found = [path for path in all_files() if chosen(path)]
    assert len(found) >= at_least, f"only {len(found)} of at least {at_least} files found: {found}"
    return found


def is_c(path: Path) -> bool:
    return path.suffix in (".c", ".cc", ".h")


def is_shell(path: Path) -> bool:
    return path.suffix == ".sh" or interpreter(path) in ("sh", "bash", "dash")


def is_python(path: Path) -> bool:
    return path.suffix == ".py" or interpreter(path).startswith("python")


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def report(wrong: list[str]) -> None:
    """Fail with one line for each thing that is wrong."""
    assert not wrong, "\n" + "\n".join(wrong)
