# SPDX-License-Identifier: MIT
"""Formatters and checkers find nothing: clang-format, shellcheck, pyflakes, and the file heads."""
from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tree

# Formats with no comment, formats of others, and what generators write.
WITHOUT_HEAD = {".editorconfig", ".gitignore", ".clang-format", "COPYING", "LAYERS", "PACKAGES",
                "py.typed", "pyarena.pc.in"}
WITHOUT_HEAD_SUFFIXES = {".md", ".csv", ".json", ".txt", ".svg", ".png"}


def need(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


def lines_of(argv: list[str], paths: list[Path]) -> list[str]:
    """What a checker says of these files, a line each."""
    done = subprocess.run([*argv, *map(str, paths)], capture_output=True, text=True, cwd=tree.ROOT)
    said = (done.stdout + done.stderr).replace(f"{tree.ROOT}/", "").splitlines()
    assert said or done.returncode == 0, f"{argv[0]} ended with status {done.returncode}"
    return said


def test_c_is_formatted() -> None:
    need("clang-format")
    paths = tree.files(tree.is_c, at_least=40)
    wrong = [line for line in lines_of(["clang-format", "--dry-run", "--style=file"], paths)
             if "warning:" in line or "error:" in line]
    tree.report(wrong)


def test_shell_is_clean() -> None:
    need("shellcheck")
    paths = tree.files(tree.is_shell, at_least=10)
    # Jobs of the preload tests are shell at work, not tools: run by bash -eu, they split words
    # on purpose.
    jobs = [path for path in paths if path.parent.name == "jobs"]
    check = ["shellcheck", "--format=gcc"]
    tree.report(lines_of(check, [path for path in paths if path not in jobs])
                + lines_of([*check, "--shell=bash", "--severity=error"], jobs))


def test_python_is_clean() -> None:
    need("pyflakes3")
    tree.report(lines_of(["pyflakes3"], tree.files(tree.is_python, at_least=10)))


def in_tools(path: Path) -> bool:
    """In python/, scripts/ or bench/, but nothing to be measured: that is written as users write."""
    return tree.is_python(path) and path.relative_to(tree.ROOT).parts[0] in ("bench", "python", "scripts") \
        and path.parent not in (tree.ROOT / "bench" / "python", tree.ROOT / "bench" / "inputs")


def test_tools_are_typed() -> None:
    """Every function of python/, scripts/ and bench/ says what it takes and returns."""
    wrong = []
    functions = 0
    for path in tree.files(in_tools, at_least=5):
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            functions += 1
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            bare = [argument.arg for argument in arguments
                    if argument.annotation is None and argument.arg not in ("self", "cls")]
            if node.returns is None:
                bare.append("what it returns")
            if bare:
                wrong.append(f"{tree.relative(path)}:{node.lineno}: {node.name}: "
                             f"no type for {', '.join(bare)}")
    tree.report(wrong)
    assert functions >= 20, f"only {functions} functions found"


def test_tools_use_the_standard_library() -> None:
    """python/, scripts/ and bench/ run wherever there is a python3; numpy is a workload, not a tool."""
    wrong = []
    paths = tree.files(in_tools, at_least=5)
    own = {path.stem for path in paths} | {path.parent.name for path in paths}
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else \
                [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in names:
                first = name.partition(".")[0]
                if first not in sys.stdlib_module_names and first not in own \
                        and first not in ("gdb", "matplotlib", "numpy"):
                    wrong.append(f"{tree.relative(path)}:{node.lineno}: imports {name}")
    tree.report(wrong)


def test_files_stay_short() -> None:
    """One module a file: what is longer than this is two."""
    def is_source(path: Path) -> bool:
        return path.relative_to(tree.ROOT).parts[0] in ("src", "preload", "python", "scripts", "bench") \
            and (tree.is_c(path) or tree.is_python(path) or tree.is_shell(path))

    lengths = {path: len(path.read_text().splitlines())
               for path in tree.files(is_source, at_least=40)}
    tree.report([f"{tree.relative(path)}: {length} lines" for path, length in lengths.items()
                 if length > 650])


def test_files_have_a_head() -> None:
    """The licence stands in the first lines of each file."""
    def has_head(path: Path) -> bool:
        return path.name not in WITHOUT_HEAD and path.suffix not in WITHOUT_HEAD_SUFFIXES \
            and tree.text_of(path) is not None

    tree.report([f"{tree.relative(path)}: no SPDX line in its head"
                 for path in tree.files(has_head, at_least=60)
                 if "SPDX-License-Identifier: MIT" not in
                 "\n".join((tree.text_of(path) or "").splitlines()[:5])])


def test_whitespace() -> None:
    """Lines end with a line feed and not with blanks, and C is indented with tabs."""
    wrong = []
    for path in tree.files(lambda path: tree.text_of(path) is not None, at_least=60):
        text = tree.text_of(path) or ""
        if text and not text.endswith("\n"):
            wrong.append(f"{tree.relative(path)}: the last line has no end")
        wrong += [f"{tree.relative(path)}:{number}: blanks at the end"
                  for number, line in enumerate(text.split("\n"), 1)
                  if line != line.rstrip() and path.suffix != ".md"]
        if tree.is_c(path):
            wrong += [f"{tree.relative(path)}:{number}: indented with spaces"
                      for number, line in enumerate(text.split("\n"), 1)
                      if re.match(r" {2,}[^ *]", line)]
    tree.report(wrong)


def test_no_marks_and_no_machines() -> None:
    """Nothing is left for later, and no path of one machine is in the tree."""
    # Written so that this file does not find itself.
    marks = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"))
                       + r")\b")
    machines = re.compile(r"(?<![\w.$}~])/(" + "|".join(("work", "root", "farm", "home" + r"/\w+"))
                          + r")(/|\b)")
    wrong = []
    for path in tree.files(lambda path: tree.text_of(path) is not None, at_least=60):
        for number, line in enumerate((tree.text_of(path) or "").splitlines(), 1):
            for pattern in (marks, machines):
                found = pattern.search(line)
                # TAP has a directive of that name.
                if found and not (found[0] == "TO" + "DO" and "# TO" + "DO" in line
                                  and path.parent.name == "lib"):
                    wrong.append(f"{tree.relative(path)}:{number}: {found[0]}")
    tree.report(wrong)
