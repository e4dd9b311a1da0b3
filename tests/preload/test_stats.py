# SPDX-License-Identifier: MIT
"""The exit report under PYARENA_STATS: its three forms say the same, and the numbers add up."""
from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import programs

FIELDS = re.findall(r"^PYARENA_STAT\((\w+), ",
                    (programs.ROOT / "src" / "pyarena-stats.def").read_text(), re.MULTILINE)
PAGE = 4096

# Leaves about 30 MB in small blocks, 20 MB in large ones, and a peak that was given back.
PEAK = """
import threading
small = [bytes(i % 900) for i in range(60000)]
large = [bytearray(1 << 20) for _ in range(20)]
peak = [bytes(1000) for _ in range(100000)]
del peak
def work():
    for i in range(100):
        kept.append([bytes(i) for i in range(1000)])
        del kept[:-2]
kept = []
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
import os
print(os.getpid(), flush=True)
"""
# Ends before the interpreter takes its objects down, as the report is to see them alive.
ALIVE = PEAK + "import ctypes; ctypes.CDLL(None).exit(3)\n"


def consistent(report: dict) -> None:
    """What must hold between the numbers of one report."""
    assert list(report["stats"]) == FIELDS
    stats = report["stats"]
    assert all(isinstance(value, int) and value >= 0 for value in stats.values()), stats
    small = sum(entry["live_blocks"] * entry["block_bytes"] for entry in report["classes"])
    blocks = sum(entry["live_blocks"] for entry in report["classes"])
    assert small + stats["large_bytes"] <= stats["live_bytes"], stats
    assert blocks + stats["large_blocks"] == stats["live_blocks"], (blocks, stats)
    assert stats["live_bytes"] + stats["dirty_bytes"] + stats["purged_bytes"] \
        <= stats["mapped_bytes"] * 1.001, stats
    assert stats["live_page_bytes"] + stats["dirty_bytes"] <= stats["mapped_bytes"], stats
    assert stats["live_page_bytes"] * 1.001 >= stats["live_bytes"], stats
    assert stats["cached_bytes"] <= stats["dirty_bytes"], stats
    assert stats["arenas"] == sum(heap["arenas"] for heap in report["heaps"]), report["heaps"]
    assert stats["heaps"] == len(report["heaps"])
    assert stats["arenas_made"] - stats["arenas_released"] >= stats["arenas"], stats
    assert stats["purged_pages"] * PAGE >= stats["purged_bytes"] or stats["purged_bytes"] > 0
    assert stats["refault_pages"] <= stats["purged_pages"], stats
    live = sum(heap["live_bytes"] for heap in report["heaps"])
    assert live + stats["large_bytes"] == stats["live_bytes"], (live, stats)
    assert sum(heap["dirty_bytes"] for heap in report["heaps"]) <= stats["dirty_bytes"], stats
    for entry in report["classes"]:
        assert entry["live_blocks"] * entry["block_bytes"] <= entry["pool_bytes"], entry
        assert (entry["pools"] == 0) == (entry["pool_bytes"] == 0), entry
    *sizes, runs = [entry["block_bytes"] for entry in report["classes"]]
    assert runs == 0, "the last entry is for medium objects, which are of no one size"
    assert sizes == sorted(sizes) and all(size % 16 == 0 for size in sizes), sizes


def report_of(code: str, status: int, **variables: str) -> dict:
    """The JSON report of a Python script, checked."""
    python = programs.default_python()
    result = programs.run([python.path, "-c", code],
                          variables={"PYARENA_STATS": "json", **variables})
    assert result.status == status, result
    report = json.loads(result.err)
    assert set(report) >= {"pyarena", "pid", "stats", "classes", "heaps"}
    assert report["pid"] == int(result.out)
    assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+\S*", report["pyarena"])
    consistent(report)
    return report


@pytest.mark.parametrize("variables", [{}, {"PYARENA_KEEP_FREE": "0"}, {"PYARENA_KEEP_FREE": "1G"},
                                       {"PYARENA_PYTHON": "off"}, {"PYTHONMALLOC": "malloc"}],
                         ids=lambda v: " ".join(map("=".join, v.items())) or "default")
def test_json_adds_up(variables: dict[str, str]) -> None:
    report = report_of(ALIVE, 3, **variables)
    stats = report["stats"]
    assert stats["large_blocks"] >= 20 and stats["large_bytes"] >= 20 << 20, stats
    assert stats["live_bytes"] >= 40_000_000, stats
    served = "PYARENA_PYTHON" not in variables and "PYTHONMALLOC" not in variables
    objects = sum(heap["live_bytes"] for heap in report["heaps"] if heap["is_interpreter"])
    assert (objects > 25_000_000) == served, report["heaps"]
    if variables.get("PYARENA_KEEP_FREE") == "0":
        assert stats["dirty_bytes"] <= 1 << 20, stats
        assert stats["purges"] > 0 or stats["arenas_released"] > 0, stats
    if variables.get("PYARENA_KEEP_FREE") == "1G":
        assert stats["dirty_bytes"] >= 50 << 20, stats


def test_normal_end_leaves_little() -> None:
    stats = report_of(PEAK, 0)["stats"]
    assert stats["live_bytes"] < 10_000_000, stats


def test_text_and_json_name_the_same_fields() -> None:
    python = programs.default_python()
    result = programs.run([python.path, "-c", ALIVE], variables={"PYARENA_STATS": "1"})
    assert result.status == 3, result
    assert not result.err.startswith("{")
    for field in FIELDS:
        assert re.search(rf"^ *{field} .* [0-9]+ ", result.err, re.MULTILINE), result


def test_report_in_a_file_for_each_process(tmp_path: Path) -> None:
    """%p stands for the process: a parent and its forked children write one report each."""
    code = """
import os, sys
kept = [bytes(500) for _ in range(20000)]
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        mine = [bytes(700) for _ in range(20000)]
        sys.exit(0)
    children.append(child)
for child in children:
    assert os.waitpid(child, 0) == (child, 0)
print(*children, os.getpid())
"""
    python = programs.default_python()
    result = programs.run([python.path, "-c", code],
                          variables={"PYARENA_STATS": f":{tmp_path}/%p-%p.json"})
    assert (result.status, result.err) == (0, ""), result
    pids = result.out.split()
    assert {path.name for path in tmp_path.iterdir()} == {f"{pid}-{pid}.json" for pid in pids}
    for pid in pids:
        report = json.loads((tmp_path / f"{pid}-{pid}.json").read_text())
        assert report["pid"] == int(pid)
        consistent(report)


def test_file_is_replaced_not_appended(tmp_path: Path) -> None:
    target = tmp_path / "report"
    target.write_text("x" * 100_000)
    result = programs.run(["true"], variables={"PYARENA_STATS": f":{target}"})
    assert (result.status, result.err) == (0, ""), result
    consistent(json.loads(target.read_text()))


@pytest.mark.parametrize("place", ["/nonexistent/report", "/", "/proc/self/nothing"])
def test_file_that_cannot_be_written_is_told(place: str) -> None:
    result = programs.run(["true"], variables={"PYARENA_STATS": f":{place}"})
    assert result.status == 0, result
    assert re.fullmatch(rf"pyarena: warning: .*{re.escape(place)}.*\n", result.err), result


def test_nothing_is_reported_unasked(tmp_path: Path) -> None:
    programs.need("bash")
    result = programs.run(["bash", "-c", "ls -A"], cwd=tmp_path)
    assert (result.status, result.out, result.err) == (0, "", ""), result


def test_exit_report_equals_the_interface() -> None:
    """pyarena_stats, called last thing by the program, and the report show the same numbers."""
    fields = ", ".join(f'"{field}"' for field in ["size", *FIELDS])
    code = f"""
import ctypes
class Stats(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ({fields})]
kept = [bytes(i % 5000) for i in range(20000)]
stats = Stats(ctypes.sizeof(Stats))
library = ctypes.CDLL(None)
import os, sys, json
assert library.pyarena_stats(ctypes.byref(stats)) == 0
print(json.dumps(dict((name, getattr(stats, name)) for name, _ in Stats._fields_)), flush=True)
library.exit(0)
"""
    python = programs.default_python()
    result = programs.run([python.path, "-c", code], variables={"PYARENA_STATS": "json"})
    assert result.status == 0, result
    told, reported = json.loads(result.out), json.loads(result.err)["stats"]
    for field in ("live_bytes", "live_blocks", "mapped_bytes", "large_bytes", "record_bytes"):
        assert abs(told[field] - reported[field]) <= 0.01 * told[field] + 100_000, \
            (field, told, reported)
    assert told["large_blocks"] == reported["large_blocks"]
    assert told["heaps"] == reported["heaps"]
    for field in FIELDS[-8:]:
        assert told[field] <= reported[field], (field, told, reported)
