# SPDX-License-Identifier: MIT
"""Valgrind on programs under the preload, as libpyarena(7) tells it.

Memcheck takes the place of malloc itself, so it finds in a program what it finds without the library;
CPython's objects stay with the library. Other tools run the library's malloc as it is.
"""
from __future__ import annotations

import re
from pathlib import Path

import pytest

import programs

FAULTS = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int count, char **arguments)
{
	char *block = malloc(100);
	char *grown = realloc(calloc(3, 300), 100000);
	volatile char seen;

	memset(block, 1, 100);
	free(grown);
	switch (arguments[count - 1][0]) {
	case 'b': seen = block[110]; break;
	case 'a': free(block); seen = block[5]; return 0;
	case 't': free(block); free(block); return 0;
	case 'l': block = NULL; return 0;
	}
	free(block);
	puts("done");
	return 0 * seen;
}
"""
TOLD = {
    "beyond": "Invalid read of size 1.* bytes after a block of size 100 alloc'd",
    "after": "Invalid read of size 1.* 5 bytes inside a block of size 100 free'd",
    "twice": r"Invalid free\(\)",
    "leak": "100 bytes in 1 blocks are definitely lost",
}

# Small and large, growing and shrinking, threads, a trim, a child.
WORK = """
import ctypes, json, os, threading
def peak():
    rows = [{"i": i, "t": "x" * (i % 300)} for i in range(2000)]
    assert json.loads(json.dumps(rows)) == rows
    kept = [bytes(i * 50) for i in range(300)] + [bytes(400000 + i) for i in range(4)]
    del rows, kept[::2]
thread = threading.Thread(target=peak)
thread.start()
thread.join()
ctypes.PyDLL(None).malloc_trim(0)
peak()
pid = os.fork()
if pid == 0:
    peak()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
print("done")
"""


def valgrind(*argv: str | Path, **variables: str) -> programs.Result:
    programs.need("valgrind")
    return programs.run(["valgrind", "--error-exitcode=9", *argv], timeout=300, variables=variables)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory) -> Path:
    return programs.compile_c(FAULTS, tmp_path_factory.mktemp("valgrind") / "faulty", "-O0", "-w")


@pytest.mark.parametrize("fault", TOLD)
def test_memcheck_finds_faults(faulty: Path, fault: str) -> None:
    result = valgrind("--leak-check=full", faulty, fault)
    assert result.status == 9, result
    assert re.search(TOLD[fault], result.err, re.DOTALL), result


def test_memcheck_finds_none_where_there_is_none(faulty: Path) -> None:
    result = valgrind("--leak-check=full", faulty, "none")
    assert (result.status, result.out) == (0, "done\n"), result
    assert "no leaks are possible" in result.err, result


@pytest.mark.parametrize("tool", ["memcheck", "none"])
def test_cpython_runs(tool: str) -> None:
    """Neither a fault of the library's own, nor one that it makes CPython seem to have."""
    python = programs.default_python()
    result = valgrind(f"--tool={tool}", python.path, "-c", WORK, PYARENA_VERBOSE="1")
    assert (result.status, result.out) == (0, "done\n"), result
    assert f"serves malloc and CPython {python.version} " in result.err, result


def test_memcheck_sees_objects_that_malloc_makes() -> None:
    """With PYTHONMALLOC=malloc, as without the library: a byte behind a list's table is read."""
    code = ("import ctypes\nitems = [None] * 64\n"
            "table = ctypes.c_void_p.from_address(id(items) + 24).value\n"
            "ctypes.c_char.from_address(table + 64 * 8 + 3).value\nprint('done')")
    python = programs.default_python()
    seen = {setting: valgrind(python.path, "-c", code, PYTHONMALLOC=setting).status for setting in ("malloc", "default")}
    assert seen == {"malloc": 9, "default": 0}
