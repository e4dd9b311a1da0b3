# SPDX-License-Identifier: MIT
"""A part of CPython's own test suite under the preload: what passes without it passes with it.

Where a test case fails, its module is run again without the library; a case that fails there as well
is no fault of ours.  CPYTHON_TESTS="test_io test_capi …" names other modules; make check-cpython runs all.
"""
from __future__ import annotations

import os
from pathlib import Path

import pytest

import programs
from cpython_suite import chosen, failures, run
from programs import Python

MODULES = ("test_gc test_fork1 test_thread test_json test_list test_dict test_bytes test_set "
           "test_array test_tuple test_string test_struct test_functools test_tracemalloc "
           "test_memoryview test_mmap test_atexit test_finalization test_generators test_deque "
           "test_long test_ast test_zlib test_zipimport test_codecs test_sqlite3 test_sys "
           "test_capi test_embed test_threading test_subprocess test_pickle test_faulthandler "
           "test_ctypes test_multiprocessing_main_handling")

@pytest.mark.skipif(not chosen(), reason="no CPython here has its tests installed "
                                         "(Debian 12: package libpython3.11-testsuite)")
@programs.each(chosen())
def test_cpython_suite(python: Python, tmp_path: Path) -> None:
    wanted = os.environ.get("CPYTHON_TESTS", MODULES).split()
    modules = [name for name in wanted if python.has(f"test.{name}")]
    ours = run(python, modules, tmp_path / "ours", preload=True)
    assert sum(ours.values()) >= (100 if wanted == MODULES.split() else 1), ours
    failed = failures(ours)
    if failed:
        again = sorted({case.split(".")[1] for case in failed if case.startswith("test.")})
        failed -= failures(run(python, again, tmp_path / "stock", preload=False))
    assert not failed, f"these pass without the library: {sorted(failed)}"
