# SPDX-License-Identifier: MIT
"""A CPython of each version runs unchanged, and the right ones have their objects served."""
from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

import programs
from programs import Python

SCRIPT = Path(__file__).with_name("every_python.py")

# The ways in which people start CPython: arguments and environment.
WAYS = {
    "plain": ([], {}),
    "PYTHONMALLOC=malloc": ([], {"PYTHONMALLOC": "malloc"}),
    "PYTHONMALLOC=debug": ([], {"PYTHONMALLOC": "debug"}),
    "PYTHONMALLOC=pymalloc": ([], {"PYTHONMALLOC": "pymalloc"}),
    "dev": (["-X", "dev"], {}),
    "isolated": (["-I"], {}),
    "no-environment": (["-E"], {}),
    "importtime": (["-X", "importtime"], {}),
    "off": ([], {"PYARENA_PYTHON": "off"}),
    "eager": ([], {"PYARENA_KEEP_FREE": "0"}),
}
# All are started in these ways; in the others the oldest served, the default, the newest, and those not served.
EVERYWHERE = ("plain", "PYTHONMALLOC=debug", "isolated", "off")


def started(pythons: Sequence[Python]) -> list:
    """All (python, way), named for humans."""
    return [pytest.param(python, way, id=f"{programs.label(python)}-{way}") for python in pythons
            for way in WAYS if way in EVERYWHERE or python in programs.few_pythons() or not python.served]


@functools.lru_cache(maxsize=None)
def without(python: Python, arguments: tuple[str, ...],
            variables: tuple[tuple[str, str], ...]) -> programs.Result:
    """The script's result without the library, run once for ways that differ in it alone."""
    return programs.run([python.path, *arguments, SCRIPT], preload=False, variables=dict(variables))


@pytest.mark.parametrize("python, way", started(programs.pythons()))
def test_runs_unchanged(python: Python, way: str) -> None:
    arguments, variables = WAYS[way]
    theirs = {name: value for name, value in variables.items() if name.startswith("PYTHON")}
    expected = without(python, tuple(arguments), tuple(theirs.items()))
    if python.info >= (3,):
        assert expected.status == 0, f"the script itself fails, without the library:\n{expected}"
    result = programs.run([python.path, *arguments, SCRIPT], variables=variables)
    assert result.status == expected.status, result
    assert result.out == expected.out, result
    times = re.compile(r"[0-9]+(?= *\|)| +(?=[0-9]+ *\|)")  # the columns of -X importtime
    assert times.sub("", result.err) == times.sub("", expected.err), result


@pytest.mark.parametrize("python, way", started(programs.served_pythons()))
def test_who_serves_objects(python: Python, way: str) -> None:
    """CPython's own statistics list its arenas if, and only if, its own allocator is in place."""
    arguments, variables = WAYS[way]
    code = "import sys; sys._debugmallocstats()"
    result = programs.run([python.path, *arguments, "-c", code], variables=variables)
    assert result.status == 0, result
    own = way in ("PYTHONMALLOC=debug", "PYTHONMALLOC=pymalloc", "dev", "off")
    assert ("arenas allocated total" in result.err) == own, result


@programs.each(programs.served_pythons())
def test_interpreter_heap_is_used(python: Python) -> None:
    """The objects are in an interpreter's heap, as the library's statistics tell."""
    code = """
import ctypes
class Heap(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in
                ("id", "is_interpreter", "is_abandoned", "arenas", "live_bytes", "dirty_bytes")]
library = ctypes.CDLL(None)
library.pyarena_heap_stats.restype = ctypes.c_size_t
def live():
    heaps = (Heap * 100)()
    count = library.pyarena_heap_stats(heaps, ctypes.c_size_t(100))
    return sum(heap.live_bytes for heap in heaps[:count] if heap.is_interpreter)
before = live()
objects = [(i, str(i)) for i in range(10000)]
after = live()
assert before > 500000, before
assert after - before > 10000 * 100, (before, after)
del objects
assert live() - before < 10000 * 20, (before, live())
"""
    result = programs.run([python.path, "-c", code])
    assert result.status == 0, result


@programs.each(programs.served_pythons())
def test_debug_hooks_still_find_an_overflow(python: Python) -> None:
    """PYTHONMALLOC=debug is in force: a byte written behind a block is found at its free."""
    code = """
import ctypes
api = ctypes.pythonapi
api.PyMem_Malloc.restype = ctypes.c_void_p
block = api.PyMem_Malloc(ctypes.c_size_t(10))
ctypes.memset(block + 10, 1, 1)
api.PyMem_Free(ctypes.c_void_p(block))
"""
    result = programs.run([python.path, "-c", code], variables={"PYTHONMALLOC": "debug"})
    assert "bad trailing pad byte" in result.err, result
    assert result.status == -6, result


VERSION = r"[0-9]+\.[0-9]+\.[0-9]+\S*"


@pytest.mark.parametrize("arguments", [[], ["-I"], ["-E"], ["-S"]], ids=" ".join)
@programs.each(programs.pythons())
def test_proof_line(python: Python, arguments: list[str]) -> None:
    if python.info < (3, 4) and arguments == ["-I"]:
        arguments = ["-s"]
    result = programs.run([python.path, *arguments, "-c", "pass"],
                          variables={"PYARENA_VERBOSE": "1"})
    serves = f"malloc and CPython {re.escape(python.version)}" if python.served else "malloc"
    assert result.status == 0 and result.out == "", result
    assert re.fullmatch(rf"pyarena: {VERSION} serves {serves} \(pid [0-9]+\)\n", result.err), result


# How CPython is asked for another allocator, or seems to be: arguments, environment, what the line tells.
REPLACED = {
    "PYTHONMALLOC": ([], {"PYTHONMALLOC": "malloc"}, "PYTHONMALLOC is set"),
    "PYTHONDEVMODE": ([], {"PYTHONDEVMODE": "1"}, "PYTHONDEVMODE is set"),
    "dev": (["-X", "dev"], {}, "-X dev is given"),
    "dev-after-others": (["-Bs", "-W", "ignore", "-SXdev"], {}, "-X dev is given"),
    "dev-after-long": (["--check-hash-based-pycs", "default", "-Xdev"], {}, "-X dev is given"),
    "dev-without-environment": (["-EX", "dev"], {"PYTHONMALLOC": "malloc"}, "-X dev is given"),
    "empty": ([], {"PYTHONMALLOC": ""}, None),
    "no-environment": (["-BE"], {"PYTHONMALLOC": "malloc"}, None),
    "isolated": (["-I"], {"PYTHONDEVMODE": "1"}, None),
    "another-X": (["-X", "utf8"], {}, None),
    "script-of-its-own": ([], {}, None),
}


@pytest.mark.parametrize("way", REPLACED)
@programs.each(programs.few_pythons())
def test_proof_line_where_cpython_replaces_the_allocator(python: Python, way: str, tmp_path: Path) -> None:
    """What the line tells is what is so: CPython's objects are in the interpreter's heap, or are not."""
    arguments, variables, reason = REPLACED[way]
    code = """
import ctypes, sys
class Heap(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in
                ("id", "is_interpreter", "is_abandoned", "arenas", "live_bytes", "dirty_bytes")]
heaps = (Heap * 100)()
library = ctypes.CDLL(None)
library.pyarena_heap_stats.restype = ctypes.c_size_t
count = library.pyarena_heap_stats(heaps, ctypes.c_size_t(100))
print(sum(heap.live_bytes for heap in heaps[:count] if heap.is_interpreter) > 200000)
"""
    script = tmp_path / "script.py"
    script.write_text(code)
    what = ["--", script] if way == "script-of-its-own" else ["-c", code]
    result = programs.run([python.path, *arguments, *what, "-X", "dev"],
                          variables={**variables, "PYARENA_VERBOSE": "1"})
    version = re.escape(python.version)
    serves = rf"malloc, but not CPython {version}: {reason}" if reason else f"malloc and CPython {version}"
    assert result.status == 0 and result.out == f"{reason is None}\n", result
    assert re.match(rf"pyarena: {VERSION} serves {serves} \(pid [0-9]+\)\n", result.err), result


@programs.each(programs.served_pythons())
def test_proof_line_without_hook(python: Python) -> None:
    result = programs.run([python.path, "-c", "pass"],
                          variables={"PYARENA_VERBOSE": "1", "PYARENA_PYTHON": "off"})
    assert result.status == 0, result
    assert re.fullmatch(rf"pyarena: {VERSION} serves malloc \(pid [0-9]+\)\n", result.err), result


@programs.each(programs.pythons())
def test_children_are_served(python: Python) -> None:
    """The preload is inherited: a child interpreter proves itself by a line of its own."""
    code = ("import os, subprocess, sys\n"
            "sys.exit(subprocess.call([sys.executable, '-c', 'import os; print(os.getpid())']))")
    result = programs.run([python.path, "-c", code], variables={"PYARENA_VERBOSE": "1"})
    assert result.status == 0, result
    lines = result.err.splitlines()
    assert len(lines) == 2 and f"(pid {result.out.strip()})" in lines[1], result
    assert all(("CPython" in line) == python.served for line in lines), result


@programs.each(programs.pythons())
def test_disabled(python: Python) -> None:
    """PYARENA_DISABLE=1: the C library's malloc serves, CPython's own allocator is in place."""
    variables = {"PYARENA_DISABLE": "1"}
    expected = without(python, (), ())
    result = programs.run([python.path, SCRIPT], variables=variables)
    assert (result.status, result.out, result.err) == (0, expected.out, expected.err), result
    if python.served:
        code = """
import ctypes, sys
library = ctypes.CDLL(None)
assert library.pyarena_is_active() == 0
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd",
                "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]
library.mallinfo.restype = Info
assert library.mallinfo().uordblks > 0
names = [line.split('(')[1].split(',')[0] for line in open(sys.argv[1])
         if line.startswith('PYARENA_STAT(')]
class Stats(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ["size"] + names]
stats = Stats(ctypes.sizeof(Stats))
assert library.pyarena_stats(ctypes.byref(stats)) == 0
assert [getattr(stats, name) for name in names] == [0] * len(names)
sys._debugmallocstats()
"""
        fields = programs.ROOT / "src" / "pyarena-stats.def"
        result = programs.run([python.path, "-c", code, fields], variables=variables)
        assert result.status == 0 and "arenas allocated total" in result.err, result
    result = programs.run([python.path, "-c", "pass"],
                          variables={**variables, "PYARENA_VERBOSE": "1"})
    assert re.fullmatch(rf"pyarena: {VERSION} stands aside: PYARENA_DISABLE=1 \(pid [0-9]+\)\n",
                        result.err), result


@programs.each(programs.served_pythons())
def test_scope_python(python: Python) -> None:
    """PYARENA_SCOPE=python: bash is left alone, the interpreter that it starts is served."""
    programs.need("bash")
    result = programs.run(["bash", "-c", '"$0" -c pass; exit', python.path],
                          variables={"PYARENA_SCOPE": "python", "PYARENA_VERBOSE": "1"})
    assert result.status == 0, result
    lines = result.err.splitlines()
    assert len(lines) == 2, result
    assert re.fullmatch(rf"pyarena: {VERSION} stands aside: PYARENA_SCOPE=python and this is not "
                        r"CPython \(pid [0-9]+\)", lines[0]), result
    assert re.fullmatch(rf"pyarena: {VERSION} serves malloc and CPython "
                        rf"{re.escape(python.version)} \(pid [0-9]+\)", lines[1]), result
