# SPDX-License-Identifier: MIT
"""The lists of the build name every source and every test of the tree, and nothing else."""
from __future__ import annotations

import re
from pathlib import Path

import tree


def named(*fragments: str) -> set[str]:
    """Paths that fragments of Makefile.am name."""
    text = "\n".join((tree.ROOT / fragment).read_text() for fragment in fragments)
    text = re.sub(r"^\s*#.*", "", text, flags=re.MULTILINE)
    return set(re.findall(r"[\w.-]+/[\w./-]+", text))


def compare(names: set[str], paths: list[Path], where: str) -> None:
    tree.report([f"{tree.relative(path)}: not in {where}" for path in paths
                 if tree.relative(path) not in names])


def test_every_source_is_built() -> None:
    paths = tree.files(lambda path: path.suffix in (".c", ".h", ".def", ".map")
                       and path.relative_to(tree.ROOT).parts[0] in ("src", "preload"), at_least=30)
    compare(named("src/src.am"), paths, "src/src.am")


def test_every_module_is_installed() -> None:
    paths = tree.files(lambda path: path.relative_to(tree.ROOT).parts[:2] == ("python", "pyarena"),
                       at_least=3)
    compare(named("python/python.am"), paths, "python/python.am")


def is_test(path: Path) -> bool:
    """A program in C or C++, or a file that pytest collects, in a directory of tests/."""
    if path.parent.parent != tree.ROOT / "tests" or path.parent.name == "lib":
        return False
    return path.suffix in (".c", ".cc") or path.match("test_*.py")


def test_every_test_is_run() -> None:
    names = named("tests/tests.am")
    compare(names | {name + suffix for name in names for suffix in (".c", ".cc")},
            tree.files(is_test, at_least=20), "tests/tests.am")


def test_every_named_file_exists() -> None:
    names = {name for name in named("src/src.am", "tests/tests.am", "python/python.am", "Makefile.am")
             if name.endswith((".c", ".h", ".def", ".py", ".map"))}
    assert len(names) >= 40, f"only {len(names)} names found"
    tree.report([f"{name}: named, but not there" for name in sorted(names)
                 if not (tree.ROOT / name).is_file()])


def test_every_top_file_exists() -> None:
    tree.report([f"{name}: not there" for name in tree.TOP_FILES
                 if not (tree.ROOT / name).is_file()])


def test_links_lead_somewhere() -> None:
    """Links and pictures of the documents, those to other sites aside."""
    wrong = []
    links = 0
    for path in tree.files(lambda path: path.suffix == ".md", at_least=4):
        text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"\w+:|#", target):
                continue
            links += 1
            if not (path.parent / target.partition("#")[0]).exists():
                wrong.append(f"{tree.relative(path)}: there is no {target}")
    tree.report(wrong)
    assert links >= 3, f"only {links} links found"
