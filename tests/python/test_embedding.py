# SPDX-License-Identifier: MIT
"""C programs that embed CPython, linked with the shared and with the static libpython."""
from __future__ import annotations

import re
from pathlib import Path

import pytest

import programs
from programs import Python

SOURCES = Path(__file__).parent / "embed"
VERSION = r"[0-9]+\.[0-9]+\.[0-9]+\S*"


def build(python: Python, name: str, kind: str, target: Path) -> Path:
    """Compile embed/NAME.c against this CPython; kind is shared, static or hidden: static without
    exporting its symbols, so that no library can find PyMem_SetAllocator in the program."""
    include, libdir, libpl, ldversion, dynamic, *libs = python.config(
        "INCLUDE", "LIBDIR", "LIBPL", "LDVERSION", "LINKFORSHARED", "MODLIBS", "LIBS", "SYSLIBS")
    if not Path(include, "Python.h").is_file():
        pytest.skip(f"no headers for {python.path} (Debian package python3-dev)")
    arguments = [f"-I{include}", "-Wno-deprecated-declarations", "-Wno-unused-result"]
    if kind == "shared":
        if not (Path(libdir) / f"libpython{ldversion}.so").exists():
            pytest.skip(f"no shared libpython for {python.path}")
        arguments += [f"-L{libdir}", f"-Wl,-rpath,{libdir}", f"-lpython{ldversion}"]
    else:
        archives = [Path(libpl) / f"libpython{ldversion}{form}.a" for form in ("-pic", "")]
        archives = [archive for archive in archives if archive.exists()]
        if not archives:
            pytest.skip(f"no static libpython for {python.path}")
        arguments += [archives[0], *(dynamic.split() if kind == "static" else [])]
    return programs.compile_c(SOURCES / f"{name}.c", target, *arguments,
                              *" ".join(libs).split(), "-lm", "-lpthread", "-ldl", "-lutil")


def home(python: Python) -> dict[str, str]:
    """Tells an embedded interpreter where its standard library is."""
    (prefix,) = python.config("prefix")
    return {"PYTHONHOME": prefix}


@programs.each(programs.served_pythons())
def test_initialized_more_than_once(python: Python, tmp_path: Path) -> None:
    initialized_more_than_once(python, "shared", tmp_path)


@programs.each(programs.few_pythons())
def test_static_libpython(python: Python, tmp_path: Path) -> None:
    initialized_more_than_once(python, "static", tmp_path)


# An older one crashes in this form, without the library, as its own extension modules do not load.
@programs.each([python for python in programs.few_pythons() if python.info >= (3, 8)])
def test_hidden_libpython(python: Python, tmp_path: Path) -> None:
    initialized_more_than_once(python, "hidden", tmp_path)


def initialized_more_than_once(python: Python, kind: str, tmp_path: Path) -> None:
    program = build(python, "twice", kind, tmp_path / "twice")
    expected = programs.run([program], preload=False, variables=home(python))
    assert (expected.status, expected.out) == (0, "done\n"), f"fails without it: {expected}"
    result = programs.run([program], variables={**home(python), "PYARENA_VERBOSE": "1"})
    assert (result.status, result.out) == (0, "done\n"), result
    serves = "malloc" if kind == "hidden" else f"malloc and CPython {re.escape(python.version)}"
    assert re.match(rf"pyarena: {VERSION} serves {serves} \(pid [0-9]+\)\n", result.err), result
    assert result.err.partition("\n")[2] == expected.err, result


@programs.each(programs.served_pythons())
def test_foreign_threads(python: Python, tmp_path: Path) -> None:
    program = build(python, "threads", "shared", tmp_path / "threads")
    for variables in ({}, {"PYARENA_KEEP_FREE": "0"}):
        result = programs.run([program], variables={**home(python), **variables})
        assert (result.status, result.out, result.err) == (0, "done\n", ""), result


@programs.each([python for python in programs.served_pythons() if python.info >= (3, 12)])
def test_interpreters_with_their_own_gil(python: Python, tmp_path: Path) -> None:
    program = build(python, "own_gil", "shared", tmp_path / "own_gil")
    for variables in ({}, {"PYARENA_KEEP_FREE": "0"}):
        result = programs.run([program], variables={**home(python), **variables})
        assert (result.status, result.out, result.err) == (0, "done\n", ""), result


@programs.each(programs.served_pythons())
def test_calls_without_the_gil(python: Python, tmp_path: Path) -> None:
    """CPython's own allocator does not survive this, so there is no run without the library."""
    program = build(python, "without_gil", "shared", tmp_path / "without_gil")
    result = programs.run([program], variables=home(python))
    assert (result.status, result.out, result.err) == (0, "done\n", ""), result


@programs.each(programs.served_pythons())
def test_loaded_late(python: Python, tmp_path: Path) -> None:
    """The constructor has run by then: malloc is served, CPython keeps its own allocator."""
    libdir, ldversion = python.config("LIBDIR", "LDVERSION")
    library = Path(libdir) / f"libpython{ldversion}.so"
    if not library.exists():
        pytest.skip(f"no shared libpython for {python.path}")
    program = programs.compile_c(SOURCES / "plugin.c", tmp_path / "plugin", "-ldl")
    expected = programs.run([program, library], preload=False, variables=home(python))
    assert (expected.status, expected.out) == (0, "done\n"), f"fails without it: {expected}"
    result = programs.run([program, library], variables=home(python))
    assert (result.status, result.out, result.err) == (0, "done\n", expected.err), result


def test_no_claim_over_a_noted_turn(tmp_path: Path) -> None:
    """A thread comes and goes while the idle thread is about to claim the heap; no CPython has to be there."""
    program = programs.compile_c(SOURCES / "turns.c", tmp_path / "turns", "-rdynamic", "-lpthread")
    result = programs.run([program])
    assert (result.status, result.out, result.err) == (0, "done\n", ""), result


def test_no_claim_while_the_gil_is_held(tmp_path: Path) -> None:
    """As CPython 3.12 and newer have it; none has to be there."""
    program = programs.compile_c(SOURCES / "gil.c", tmp_path / "gil", "-rdynamic")
    result = programs.run([program])
    assert (result.status, result.out, result.err) == (0, "done\n", ""), result
