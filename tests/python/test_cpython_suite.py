# SPDX-License-Identifier: MIT
"""A part of CPython's own test suite under the preload: what passes without it passes with it.

Where a test case fails, its module is run again without the library; a case that fails there as well
is no fault of ours.  Nor is one that passes when its module is run again with the library, as chance has it: many
wait for threads and processes for so long and no longer.  A warning names those.  CPYTHON_TESTS="test_io test_capi …"
names other modules; make check-cpython runs all.
"""
from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest

import programs
from cpython_suite import chosen, failures, run
from programs import Python

MODULES = ("test_gc test_fork1 test_thread test_json test_list test_dict test_bytes test_set "
           "test_array test_string test_struct test_functools test_tracemalloc "
           "test_memoryview test_mmap test_atexit test_finalization test_generators test_deque "
           "test_zlib test_sqlite3 test_sys "
           "test_capi test_embed test_threading test_subprocess test_pickle test_faulthandler "
           "test_ctypes test__xxsubinterpreters test__interpreters test_interpreters "
           "test.test_asyncio.test_base_events test.test_asyncio.test_streams "
           "test.test_asyncio.test_locks test.test_asyncio.test_subprocess").split()
# Where the newest CPython differs most from the system's own.
NEW = "test_gc test_fork1 test_capi test_embed test_threading test_interpreters test_tracemalloc test_dict".split()
# Too long as a whole: workers and pools of processes and threads, queues, shared memory.
MULTIPROCESSING = ["test_multiprocessing_fork", "test.test_multiprocessing_fork.test_processes",
                   "test.test_multiprocessing_fork.test_threads"]
CLASSES = ["WithProcessesTestProcess", "WithProcessesTestQueue", "WithProcessesTestPool",
           "WithProcessesTestSharedMemory", "WithProcessesTestValue", "WithThreadsTestPool"]


THERE = """
import importlib.util, sys
for name in sys.argv[1:]:
    try:
        if importlib.util.find_spec("test." + name[5 * name.startswith("test."):]):
            print(name)
    except ImportError:
        pass
"""


def some_of(wanted: list[str], python: Python) -> list[str]:
    """Those that this CPython has; of a package and its parts the parts."""
    having = programs.run([python.path, "-c", THERE, *wanted], preload=False).out.split()
    return [name for name in having if not any(other.startswith(f"test.{name}.") for other in having)]


def check(python: Python, wanted: list[str], place: Path, least: int, *flags: str) -> None:
    """At least so many cases pass, and all that pass without the library."""
    modules = some_of(wanted, python)
    ours = run(python, modules, place / "ours", *flags, preload=True)
    assert sum(ours.values()) >= least, ours
    failed = failures(ours)
    if failed:
        again = [name for name in modules if any(case.startswith(f"test.{name.removeprefix('test.')}.") for case in failed)]
        failed -= failures(run(python, again, place / "stock", *flags, preload=False))
        if failed:
            warnings.warn(f"failed at first: {sorted(failed)}")
            failed &= failures(run(python, again, place / "again", *flags, preload=True))
    assert not failed, f"these pass without the library: {sorted(failed)}"


@pytest.mark.skipif(not chosen(), reason="no CPython here has its tests installed "
                                         "(Debian 12: package libpython3.11-testsuite)")
@programs.each(chosen())
def test_cpython_suite(python: Python, tmp_path: Path) -> None:
    wanted = os.environ.get("CPYTHON_TESTS", "").split()
    if wanted:
        check(python, wanted, tmp_path, 1)
    elif python == chosen()[0]:
        check(python, MODULES, tmp_path, 3000)
    else:
        check(python, NEW, tmp_path, 600)


@pytest.mark.skipif(not chosen() or "CPYTHON_TESTS" in os.environ,
                    reason="no CPython here has its tests installed, or other modules are asked for")
@programs.each(chosen()[:1])
def test_multiprocessing(python: Python, tmp_path: Path) -> None:
    flags = [word for name in CLASSES for word in ("-m", name)]
    check(python, MULTIPROCESSING, tmp_path, 50, *flags)
