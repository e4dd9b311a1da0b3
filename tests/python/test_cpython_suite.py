# SPDX-License-Identifier: MIT
"""A part of CPython's own test suite under the preload: what passes without it passes with it.

Where a test case fails, its module is run again without the library; a case that fails there as well
is no fault of ours.  CPYTHON_TESTS="test_io test_capi …" names other modules, "all" all of them.
"""
from __future__ import annotations

import os
import re
import xml.etree.ElementTree
from pathlib import Path

import pytest

import programs
from programs import Python

MODULES = ("test_gc test_fork1 test_thread test_json test_list test_dict test_bytes test_set "
           "test_array test_tuple test_string test_struct test_functools test_tracemalloc "
           "test_memoryview test_mmap test_atexit test_finalization test_generators test_deque "
           "test_long test_ast test_zlib test_zipimport test_codecs test_sqlite3 test_sys "
           "test_capi test_embed test_threading test_subprocess test_pickle test_faulthandler "
           "test_ctypes test_multiprocessing_main_handling")

# Cases that ask after CPython's own allocator, with what they find instead.
EXPECTED = {
    "test.test_sys.SysModuleTest.test_getallocatedblocks": "the count of pymalloc's blocks is 0",
    "test.test_sys.SysModuleTest.test_debugmallocstats": "pymalloc has no statistics to show",
    "test.test_cmd_line.CmdLineTest.test_pythonmalloc": "the allocator in use is not pymalloc",
}

def chosen() -> list[Python]:
    """The newest served CPython that has its tests installed, and the system's own."""
    having = [python for python in programs.served_pythons() if python.has("test.test_json")]
    return [python for python in having if python in (having[-1], programs.default_python())]


def run(python: Python, modules: list[str], place: Path, *, preload: bool) -> dict[str, bool]:
    """Run modules of the suite; whether each case passed (skipped ones are left out)."""
    place.mkdir()
    report = place / "report.xml"
    result = programs.run([python.path, "-m", "test", "--timeout", "300", "--junit-xml", report,
                           *modules], preload=preload, cwd=place, home=place, timeout=3600)
    assert report.exists(), f"the run did not come to its end:\n{result}"
    passed = {}
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        if case.get("status") == "run" and not len(case.findall("skipped")):
            passed[str(case.get("name"))] = not case.findall("error") + case.findall("failure")
    crashed = re.findall(r"^test (\w+) (?:crashed|failed \(uncaught)", result.out, re.MULTILINE)
    passed.update((f"test.{module}.", False) for module in crashed)
    return passed


@pytest.mark.skipif(not chosen(), reason="no CPython here has its tests installed "
                                         "(Debian 12: package libpython3.11-testsuite)")
@programs.each(chosen())
def test_cpython_suite(python: Python, tmp_path: Path) -> None:
    wanted = os.environ.get("CPYTHON_TESTS", MODULES).split()
    modules = [] if wanted == ["all"] else [name for name in wanted if python.has(f"test.{name}")]
    ours = run(python, modules, tmp_path / "ours", preload=True)
    assert sum(ours.values()) >= (100 if wanted == MODULES.split() else 1), ours
    failed = {case for case, passed in ours.items()
              if not passed and case.split(" ")[0] not in EXPECTED}
    if failed:
        again = sorted({case.split(".")[1] for case in failed if case.startswith("test.")})
        stock = run(python, again, tmp_path / "stock", preload=False)
        failed -= {case for case, passed in stock.items() if not passed}
    assert not failed, f"these pass without the library: {sorted(failed)}"
