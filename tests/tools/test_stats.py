# SPDX-License-Identifier: MIT
"""pyarena stats: what is read from outside is what the library tells inside, in all three forms."""
from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

import programs
import tools

from pyarena.fields import HELP, Stats
from pyarena.process import ProcessError
from pyarena.record import Target

# Small blocks, half of them freed; large ones; blocks of threads that have ended; a peak given back.
HEAP = """
import threading
peak = [bytes(700) for _ in range(100000)]
small = [bytes(i % 3000) for i in range(60000)]
del peak, small[::2]
large = [bytearray(1 << 20) for _ in range(7)]
medium = [bytearray(50000 + i * 1000) for i in range(50)]
def work():
    kept.append([bytes(i) for i in range(1000)])
kept = []
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
# What the library tells of itself, written by the process itself.
ASK = """
import ctypes, json
class Record(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in FIELDS]
class Heap(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in
                ("id", "is_interpreter", "is_abandoned", "arenas", "live_bytes", "dirty_bytes")]
def ask(path):
    library = ctypes.PyDLL(None)
    record, heaps = Record(ctypes.sizeof(Record)), (Heap * 20)()
    library.pyarena_stats(ctypes.byref(record))
    count = library.pyarena_heap_stats(heaps, 20)
    with open(path, "w") as file:
        json.dump([dict((name, getattr(record, name)) for name in FIELDS[1:]),
                   [dict((name, getattr(one, name)) for name, _ in Heap._fields_)
                    for one in heaps[:count]]], file)
""".replace("FIELDS", repr(["size", *Stats._fields]))


@programs.each(programs.few_pythons())
def test_outside_and_inside_agree(python: programs.Python, tmp_path: Path) -> None:
    path = tmp_path / "inside.json"
    alone = {"PYARENA_IDLE": "off"}  # nothing is purged in between
    with tools.served(HEAP + ASK, variables=alone, python=python.path) as process, Target(process.pid) as target:
        tools.tell(process, f"ask({str(path)!r})")  # the first call takes memory itself
        tools.tell(process, f"ask({str(path)!r})")
        seen = target.read()
    inside, heaps = json.loads(path.read_text())
    outside = seen.stats._asdict()
    for name in ("large_blocks", "large_bytes", "heaps", "arenas", "arenas_made", "arenas_released",
                 "mapped_bytes", "record_bytes", "adoptions"):
        assert outside[name] == inside[name], name
    for name, told in inside.items():
        assert abs(outside[name] - told) <= 0.002 * told + 65536, (name, outside[name], told)
    assert outside["live_blocks"] > 30000 and outside["purged_pages"] > 1000
    assert [heap["id"] for heap in seen.heap_table()] == [heap["id"] for heap in heaps]
    for mine, told in zip(seen.heap_table(), heaps):
        assert mine["arenas"] == told["arenas"]
        assert mine["is_interpreter"] == told["is_interpreter"]
        assert abs(mine["live_bytes"] - told["live_bytes"]) <= 65536
    small = sum(one["live_blocks"] for one in seen.class_table())
    assert small + outside["large_blocks"] == outside["live_blocks"]


def test_reading_does_not_stop_the_process() -> None:
    """It is read again and again while it allocates in two threads; nothing read is absurd."""
    code = """
import threading
def churn():
    while True:
        kept = [bytes(i % 2000) for i in range(20000)]
for _ in range(2): threading.Thread(target=churn, daemon=True).start()
"""
    with tools.served(code) as process, Target(process.pid) as target:
        end = time.monotonic() + 2
        count = 0
        while time.monotonic() < end or count <= 5:
            stats = target.read().stats
            # The counters are read before the arenas, and the process goes on in between.
            most = 2 * stats.mapped_bytes + (64 << 20)
            assert 0 <= stats.live_bytes <= most < 1 << 32, stats
            assert 0 <= stats.live_page_bytes <= most, stats
            count += 1
        assert count > 5
        assert process.poll() is None


def test_json_is_the_report_at_exit() -> None:
    with tools.served(HEAP) as process:
        report = json.loads(tools.pyarena("stats", "--json", process.pid).out)
    assert report["pid"] == process.pid and report["pyarena"] == "0.1.0"
    assert list(report["stats"]) == list(Stats._fields)
    assert {"block_bytes", "live_blocks", "pools", "pool_bytes"} == set(report["classes"][0])
    assert {"id", "is_interpreter", "is_abandoned", "arenas", "live_bytes", "dirty_bytes"} \
        == set(report["heaps"][0])


def test_prometheus_text_parses(tmp_path: Path) -> None:
    parser = pytest.importorskip("prometheus_client.parser", reason="prometheus_client is not installed "
                                 "(Debian package python3-prometheus-client)")
    target = tmp_path / "app.prom"
    with tools.served(HEAP) as process:
        tools.pyarena("stats", "--prometheus", "--output", target, process.pid)
    assert target.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [target]
    families = {family.name: family for family in parser.text_string_to_metric_families(target.read_text())}
    for name, meaning in HELP.items():
        family = families[f"pyarena_{name}"]
        assert family.type == ("counter" if meaning.startswith("Total ") else "gauge")
        assert family.documentation == meaning
        assert [sample.labels for sample in family.samples] == [{"pid": str(process.pid)}]
    assert families["pyarena_live_bytes"].samples[0].value > 40e6
    for family in families.values():  # no series stands twice
        series = [tuple(sorted(sample.labels.items())) for sample in family.samples]
        assert len(series) == len(set(series)), family.name


def test_trees_are_followed() -> None:
    code = "import os\nfor _ in range(2):\n    if os.fork() == 0:\n        import time\n        time.sleep(60)\n"
    with tools.served(code) as process:
        reports = json.loads(tools.pyarena("stats", "--json", "--tree", process.pid).out)
    assert len(reports) == 3 and len({report["pid"] for report in reports}) == 3


def test_foreign_text_is_harmless() -> None:
    """What a process calls itself comes from anybody: no line breaks, no commands to the terminal."""
    with tools.served("# \x1b[31m\x07\n\t# é \x9b") as process:
        text = tools.pyarena("stats", process.pid).out
    assert not any(ord(letter) < 32 and letter != "\n" or letter == "\x9b" for letter in text), text
    assert "é" in text.splitlines()[0] and "libpyarena" in text.splitlines()[1]


def test_text_explains_itself() -> None:
    with tools.served(HEAP) as process:
        text = tools.pyarena("stats", "--all", process.pid).out
    assert f"process {process.pid}: " in text and "heap 1: CPython's objects" in text
    for word in ("resident", "live", "held by them", "free", "given back", "in use", *Stats._fields):
        assert word in text
    for line in text.splitlines():
        assert len(line) <= 120 or line.startswith("process"), line


def test_a_report_at_exit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    programs.run([programs.default_python().path, "-c", "pass"], variables={"PYARENA_STATS": f":{path}"})
    assert "when it ended" in tools.pyarena("stats", path).out
    assert json.loads(tools.pyarena("stats", "--json", path).out) == json.loads(path.read_text())


def test_refusals_say_why(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text("{}")
    with tools.served("", preload=False) as plain, \
            tools.served("", variables={"PYARENA_DISABLE": "1"}) as aside:
        for target, reason in [
                (plain.pid, f"libpyarena is not loaded in process {plain.pid}"),
                (aside.pid, "stands aside there"),
                (2**22 + 1, "there is no process"),
                (tmp_path / "none", "cannot be read: No such file"),
                (wrong, "is no report of libpyarena's"),
                (programs.ROOT / "COPYING", "is no report in JSON")]:
            result = tools.pyarena("stats", target, status=2)
            assert reason in result.err and result.err.count("\n") == 1, result


def test_a_library_without_a_field_is_refused(tmp_path: Path) -> None:
    """An older or newer one, of which the form of the record is the same: another name stands where one is."""
    library = tmp_path / "libpyarena.so"
    data = programs.library().read_bytes()
    assert data.count(b"pool.watermark\0") >= 1
    library.write_bytes(data.replace(b"pool.watermark\0", b"pool.otherwise\0"))
    with tools.served("", variables={"LD_PRELOAD": str(library)}) as process:
        result = tools.pyarena("stats", process.pid, status=2)
    assert "publishes no field watermark" in result.err and result.err.count("\n") == 1, result


def test_a_process_that_has_ended_is_told() -> None:
    with tools.served("") as process:
        target = Target(process.pid)
        process.kill()
        process.wait()
        with pytest.raises(ProcessError, match="has ended|no process"):
            target.read()


def test_others_processes_are_refused_with_the_reason() -> None:
    programs.need("setpriv")
    if os.geteuid() != 0:
        pytest.skip("takes root, to become somebody else")
    with tools.served("") as process:
        done = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", programs.default_python().path,
                               "-B", tools.COMMAND, "stats", str(process.pid)],
                              capture_output=True, text=True)
    if "Permission denied" in done.stderr or "No such file" in done.stderr:
        pytest.skip("the tree is not readable to other users")
    assert done.returncode == 2
    assert "belongs to user 0: run this as that user or as root" in done.stderr, done.stderr


def test_a_root_that_may_not_is_not_sent_to_root() -> None:
    programs.need("setpriv")
    if os.geteuid() != 0:
        pytest.skip("takes root, to be one with less rights")
    with tools.served("") as process:
        done = subprocess.run(["setpriv", "--inh-caps=-sys_ptrace", "--bounding-set=-sys_ptrace",
                               programs.default_python().path, "-B", tools.COMMAND, "stats", str(process.pid)],
                              capture_output=True, text=True)
    assert done.returncode == 2
    assert "this root lacks CAP_SYS_PTRACE" in done.stderr and "run this as" not in done.stderr, done.stderr


def test_a_library_whose_file_is_gone_is_still_read(tmp_path: Path) -> None:
    """It was upgraded under the running process."""
    library = tmp_path / "libpyarena.so"
    library.write_bytes(programs.library().read_bytes())
    with tools.served("kept = [bytes(1000) for _ in range(10000)]",
                      variables={"LD_PRELOAD": str(library)}) as process:
        library.unlink()
        with Target(process.pid) as target:
            assert target.read().stats.live_bytes > 10e6
