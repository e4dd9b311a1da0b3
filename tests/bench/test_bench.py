# SPDX-License-Identifier: MIT
"""The measuring tools work: every workload reports on itself, the runner's numbers add up, a script sees nothing of it.

Sizes are small and times are not judged: this says that bench/ measures, not how fast anything is.
"""
from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from benches import MEGABYTE, PYTHON, ROOT, measured, need, run

from bench.lib import beside, measure, results, runner, workloads
from pyarena import allocators, sample, table
from pyarena.running import RunError

SCRIPTS = [workload for workload in workloads.known() if workload.script is not None]


def bench_run(*words: object, status: int = 0) -> subprocess.CompletedProcess[str]:
    quick = ("--python", PYTHON, "--scale", 0.03, "--idle", 0.05)
    return run("bench/run", *words, *quick, status=status)


def test_there_are_workloads() -> None:
    assert len(SCRIPTS) >= 11
    assert all(workload.summary.endswith(".") for workload in workloads.known())


@pytest.mark.parametrize("workload", SCRIPTS, ids=lambda workload: workload.name)
def test_workload_reports_on_itself(workload: workloads.Workload) -> None:
    lines = run(workload.script, "--scale", 0.03, "--idle=0.05").stdout.splitlines()
    assert len(lines) == 1
    report = json.loads(lines[0])
    assert report["workload"] == workload.name
    assert report["seconds"] > 0
    assert report["idle_seconds"] == 0.05
    assert 0 < report["after"] <= report["peak"]
    assert 0 < report["settled"] <= report["peak"]
    if "limit" in report:
        assert report["base"] <= report["limit"]
    if workload.name == "prefork":
        assert report["private"] > MEGABYTE


def test_workload_refuses_an_unknown_option() -> None:
    done = run("bench/python/trees.py", "--size", 3, status=1)
    assert "what is --size?" in done.stderr
    assert "--scale FACTOR" in run("bench/python/trees.py", "--help").stdout


def test_peak_and_after_differ_by_what_was_freed(tmp_path: Path) -> None:
    script = tmp_path / "sixty.py"
    script.write_text("import sys; sys.path.insert(0, %r)\nimport _probe\n"
                      "def main(probe, scale):\n"
                      "    with probe.timed():\n        block = bytearray(60 << 20)\n        del block\n"
                      "    probe.after(); probe.settle()\n    probe.limit_by([b'x' * 8192])\n"
                      "_probe.run(main)\n" % str(ROOT / "bench" / "python"))
    report = json.loads(run(script, "--idle", 0).stdout)
    assert 55 * MEGABYTE < report["peak"] - report["after"] < 65 * MEGABYTE
    assert report["faults"] > 0
    assert report["survivor_bytes"] >= 8192
    pages = (report["limit"] - report["base"]) // sample.PAGE_BYTES
    assert 8192 // sample.PAGE_BYTES <= pages <= 8192 // sample.PAGE_BYTES + 2


def test_runner_measures_every_cell(tmp_path: Path) -> None:
    files = [tmp_path / f"result.{suffix}" for suffix in ("csv", "json", "md")]
    done = bench_run("pinned", "startup", "--rounds", 2, "--allocators", "stock,glibc", "--figures", "all",
                     "--csv", files[0], "--json", files[1], "--markdown", files[2])
    lines = measured(files[0])
    assert len(lines) == 8
    assert {(line["workload"], line["allocator"], line["round"]) for line in lines} == \
        {(workload, column, number) for workload in ("pinned", "startup")
         for column in ("stock", "glibc") for number in ("1", "2")}
    assert all(float(line["seconds"]) > 0 and float(line["peak"]) > MEGABYTE for line in lines)
    whole = json.loads(files[1].read_text())
    assert whole["columns"] == ["stock", "glibc"]
    assert whole["failures"] == []
    peaks = [figures["peak"] for figures in whole["rounds"]["pinned"]["glibc"]]
    assert whole["medians"]["pinned"]["glibc"]["peak"] == sum(peaks) / 2
    assert "| settled, MB | stock | glibc | spread |" in files[2].read_text()
    assert "geometric mean" in done.stdout
    # Interleaved, and the other way round in the second round.
    order = [line.split(":")[0].split()[-1] for line in done.stderr.splitlines() if " pinned " in line]
    assert order == ["stock", "glibc", "glibc", "stock"]


def told() -> tuple[str, float, float]:
    """Where a child may run, and when it did."""
    begin = time.monotonic()
    code = "import os, time; time.sleep(1); print(*os.sched_getaffinity(0))"
    return subprocess.run([PYTHON, "-c", code], capture_output=True, text=True).stdout, begin, time.monotonic()


def failing() -> None:
    raise RunError("so it is")


def test_pairs_run_at_the_same_time_on_processors_of_their_own() -> None:
    places = beside.processors()
    if places is None:
        pytest.skip("one processor")
    before = os.sched_getaffinity(0)
    (first, first_begin, first_end), (second, second_begin, second_end) = beside.beside(told, told, places)
    assert (int(first), int(second)) == places
    assert max(first_begin, second_begin) < min(first_end, second_end)
    assert os.sched_getaffinity(0) == before
    with pytest.raises(RunError, match="so it is"):
        beside.beside(told, failing, places)


def test_each_allocator_has_its_pairs(tmp_path: Path) -> None:
    if beside.processors() is None:
        pytest.skip("one processor")
    result = tmp_path / "result.json"
    done = bench_run("trees", "--beside", "--rounds", 2, "--allocators", "stock,glibc",
                     "--lib", "mine=" + os.environ["PYARENA_LIB"], "--json", result)
    whole = json.loads(result.read_text())
    assert set(whole["pairs"]["trees"]) == {"glibc", "mine"}
    for pairs in whole["pairs"]["trees"].values():
        assert len(pairs) == 2
        assert all(figures["cpu_seconds"] > 0 for pair in pairs for figures in pair)
    assert len(whole["rounds"]["trees"]["stock"]) == 4
    assert done.stdout.startswith("processor time, s")


def test_processors_change_places_from_round_to_round(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def record(first, second, places):
        seen.append(places)
        return {"user_seconds": 1.0, "system_seconds": 0.0}, {"user_seconds": 2.0, "system_seconds": 0.0}

    monkeypatch.setattr(runner, "beside", record)
    columns, _ = allocators.collect(["stock", "glibc"], [], library=Path("none"), plain=False)
    arguments = argparse.Namespace(rounds=4, scale=1, idle=0, timeout=1)
    python = measure.Python(Path(PYTHON), "3", Path("lib"))
    pairs = beside.Pairs([column.name for column in columns], {})
    runner.run_beside(pairs, runner.Run(columns, SCRIPTS[:1], [python], arguments), (4, 7))
    assert seen == [(4, 7), (7, 4), (4, 7), (7, 4)]
    assert pairs.ratio(SCRIPTS[0].name, "glibc", "cpu_seconds") == 0.5


def test_multiples_of_pairs_are_medians_of_their_ratios() -> None:
    pairs = beside.Pairs(["stock", "other"], {})
    for own, base in ((1.0, 1.0), (6.0, 3.0), (40.0, 10.0)):
        pairs.add_pair("work", "other", {"seconds": own}, {"seconds": base})
    assert pairs.ratio("work", "other", "seconds") == 2.0
    assert pairs.ratio("work", "stock", "seconds") == 1.0
    assert pairs.spread("work", "seconds") == 1.5
    assert pairs.median("work", "stock", "seconds") == 3.0


@pytest.mark.parametrize("words, message", [
    (["startup", "--beside"], "--beside needs two processors, "),
    (["nosuch"], "no workload nosuch; known: "),
    (["--allocators", "nosuch"], "no allocator nosuch; known: stock, glibc"),
    (["--figures", "nosuch"], "no figure nosuch; known: time"),
    (["--lib", "nosuch"], "'nosuch' is not NAME=PATH"),
    (["--lib", "nosuch=/nonexistent.so"], "there is no file /nonexistent.so"),
    (["--lib", "text=README.md"], "README.md is not loaded"),
])
def test_runner_says_what_is_wrong(words: list[str], message: str, tmp_path: Path) -> None:
    text = tmp_path / "README.md"
    text.write_text("This is no shared object.\n")
    words = [word.replace("README.md", str(text)) for word in words]
    assert message in bench_run(*words, status=2).stderr


def test_a_run_that_takes_too_long_is_a_failure() -> None:
    done = bench_run("trees", "--rounds", 1, "--allocators", "stock", "--timeout", 0.001, status=1)
    assert "took more than 0.001 s" in done.stderr


def test_list_names_workloads_and_allocators() -> None:
    listing = run("bench/run", "--list").stdout
    assert "arena_patch" in listing and "PYTHONMALLOC=malloc" in listing


def test_a_libpyarena_is_preloaded_alone(tmp_path: Path) -> None:
    need("gcc")
    made = {}
    for name, function in (("ours", "pyarena_version"), ("other", "other_version")):
        source = tmp_path / f"{name}.c"
        source.write_text(f'const char *{function}(void);\nconst char *{function}(void) {{ return "1"; }}\n')
        made[name] = tmp_path / f"{name}.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", made[name], source], check=True)
    ours = allocators.parse_library(f"ours={made['ours']} PYARENA_KEEP_FREE=0")
    other = allocators.parse_library(f"other={made['other']}")
    assert ours.settings() == {"LD_PRELOAD": str(made["ours"]), "PYARENA_KEEP_FREE": "0"}
    assert other.settings() == {"LD_PRELOAD": str(made["other"]), "PYTHONMALLOC": "malloc"}
    for one in (ours, other):
        allocators.check(one)
        allocators.check(one, Path(PYTHON))


def test_measured_programs_start_without_foreign_settings() -> None:
    inherited = {"PATH": "/bin", "LD_PRELOAD": "x.so", "PYTHONMALLOC": "debug", "PYTHONPATH": "here",
                 "MALLOC_ARENA_MAX": "1", "PYARENA_KEEP_FREE": "0"}
    stock = allocators.Allocator("stock")
    assert stock.environment(inherited, reproducible=True) == \
        {"PATH": "/bin", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    assert stock.environment(inherited, reproducible=False) == \
        {"PATH": "/bin", "PYTHONPATH": "here", "MALLOC_ARENA_MAX": "1", "PYARENA_KEEP_FREE": "0"}


def test_kept_tells_what_cpython_holds_and_what_a_trim_has_it_let_go() -> None:
    library = os.environ["PYARENA_LIB"]
    out = run("bench/kept", "--library", library, "--python", PYTHON, "--kind", "tuples of 1 to 19",
              "--kind", "interned strings").stdout
    rows = {row[0]: [int(number.replace(",", "")) for number in row[1:]]
            for row in re.findall(r"^\| (.+?) \| ([-,0-9]+) \| ([-,0-9]+) \| ([-,0-9]+) \|$", out, re.MULTILINE)}
    tuples, strings = rows["tuples of 1 to 19"], rows["interned strings"]
    assert tuples[0] > 2000 and max(map(abs, tuples[1:])) < 100, out
    assert min(strings) > 2000, out
    assert "is not there" in run("bench/kept", "--library", "/nowhere.so", status=2).stderr


def test_ratios_are_of_medians_and_means_are_geometric() -> None:
    made = results.Results(["stock", "other"], {})
    for stock, other in ((1.0, 4.0), (2.0, 2.0), (9.0, 1.0)):
        made.add("one", "stock", {"seconds": stock})
        made.add("one", "other", {"seconds": other})
        made.add("two", "stock", {"seconds": 1.0})
        made.add("two", "other", {"seconds": 4.0})
    made.add("alone", "stock", {"seconds": 5.0})
    assert made.ratio("one", "other", "seconds") == 1.0
    assert made.spread("one", "seconds") == 4.0
    matrix = made.matrix(results.FIGURES["time"])
    assert matrix is not None
    assert matrix[0] == ["time, s", "stock", "other", "spread"]
    assert matrix[1] == [["one", "2.000", "1.00", "400 %"], ["two", "1.000", "4.00", "0 %"],
                         ["alone", "5.000", "-", "-"], ["geometric mean", "1.00", "2.00", ""]]
    assert made.matrix(results.FIGURES["settled"]) is None


def test_ratios_can_be_of_the_best_of_each_row() -> None:
    made = results.Results(["stock", "other", "third"], {}, is_of_best=True)
    for row, values in (("one", (2.0, 1.0, 4.0)), ("two", (3.0, 6.0, 12.0))):
        for column, seconds in zip(made.columns, values):
            made.add(row, column, {"seconds": seconds})
    made.add("alone", "other", {"seconds": 5.0})
    matrix = made.matrix(results.FIGURES["time"])
    assert matrix is not None
    assert matrix[0] == ["time, s", "best", "stock", "other", "third", "spread"]
    assert matrix[1] == [["one", "1.000", "2.00", "1.00", "4.00", "-"], ["two", "3.000", "1.00", "2.00", "4.00", "-"],
                         ["alone", "5.000", "-", "1.00", "-", "-"],
                         ["geometric mean", "1.00", "1.41", "1.26", "4.00", ""]]
    assert made.matrix(results.FIGURES["settled"]) is None


def test_text_tables_line_up() -> None:
    lines = table.text(["a", "bb"], [["long name", "1"], ["x", "100"]]).splitlines()
    assert lines == ["a           bb", "--------------", "long name    1", "x          100"]


@pytest.mark.parametrize("shared", [False, True])
def test_children_are_sampled(shared: bool) -> None:
    """A child's own memory counts; what it shares with its parent does not count twice."""
    code = "import os, time\nblock = b'x' * (60 << 20)\n"
    code += "pid = os.fork()\nif pid == 0:\n"
    code += "    own = %s\n    time.sleep(60)\n" % ("None" if shared else "b'y' * (60 << 20)")
    code += "print(flush=True)\ntime.sleep(60)\n"
    process = subprocess.Popen([PYTHON, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        expected = (60 if shared else 120) * MEGABYTE
        for _ in range(200):
            size = sample.tree_bytes(process.pid)
            if expected < size < expected + 30 * MEGABYTE and len(sample.process_tree(process.pid)) == 2:
                break
            time.sleep(0.02)
        else:
            pytest.fail(f"{size / MEGABYTE:.1f} MB in {sample.process_tree(process.pid)}")
    finally:
        subprocess.run(["kill", "-9", "--", f"-{process.pid}"], check=True)
        process.wait()


def compare(out: Path, *words: object, status: int = 0) -> subprocess.CompletedProcess[str]:
    return run("bench/compare", "--python", PYTHON, "--allocators", "stock,glibc", "--out", out, *words,
               status=status)


def test_compare_measures_a_script_and_draws(tmp_path: Path) -> None:
    need("gnuplot")
    script = tmp_path / "script.py"
    script.write_text("import os, sys\nkept = bytearray(30 << 20)\nblock = bytearray(30 << 20)\ndel block\n"
                      "print(sys.argv[1:], os.environ.get('PYTHONPATH'), 'BENCH_END_MARK' in os.environ,\n"
                      "      any('end_mark' in place for place in sys.path))\n")
    out = tmp_path / "out"
    done = compare(out, script, "--a", "b")
    head, _, stock, glibc = done.stdout.split("\n\n")[0].strip().splitlines()[:4]
    assert "at end, MB" in head and "settled, MB" in head
    for line in (stock, glibc):
        peak, lowest, end, settled = map(float, line.split()[-4:])
        assert peak > 65 and 35 < lowest <= end and 35 < settled < 50
    assert (out / "script.stock.out").read_text() == "['--a', 'b'] None False False\n"
    assert (out / "rss.png").read_bytes().startswith(b"\x89PNG")
    picture = (out / "rss.svg").read_text()
    assert "<svg" in picture and "glibc" in picture
    samples = [line for line in measured(out / "rss.csv") if line["allocator"] == "glibc"]
    assert len(samples) > 5
    assert max(int(line["resident_bytes"]) for line in samples) > 35 * MEGABYTE


def test_compare_watches_a_workload_with_its_survivors(tmp_path: Path) -> None:
    """What is drawn ends with the memory that the workload has reported as settled."""
    out = tmp_path / "out"
    done = compare(out, "bench/python/pinned.py", "--scale", 0.2, "--idle", 1)
    settled = {line.split()[0]: float(line.split()[-1]) for line in done.stdout.splitlines()
               if line.startswith(("stock ", "glibc "))}
    assert settled["stock"] > 80
    last = {line["allocator"]: int(line["resident_bytes"]) / MEGABYTE for line in measured(out / "rss.csv")}
    for column in ("stock", "glibc"):
        assert abs(last[column] - settled[column]) < 8, (last, settled)


def test_compare_tells_of_a_script_that_fails(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import os, sys\nprint('because', file=sys.stderr, flush=True)\nos._exit(3)\n")
    done = compare(tmp_path / "out", script, status=1)
    assert "ended with 3:\nbecause" in done.stderr


def test_try_explains_itself() -> None:
    done = subprocess.run([ROOT / "scripts" / "try", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "SCRIPT" in done.stdout and "--python" in done.stdout


def made_tree(root: Path, configure: str) -> Path:
    """A tree in which scripts/try is real and all that it calls tells that it was called."""
    need("make")
    files = {"scripts/install-needs": '#!/bin/sh\necho "needs $*" >&2\n', "configure": f"#!/bin/sh\n{configure}\n",
             "bench/compare": "import os, sys\nprint(os.getcwd(), sys.argv[1:])\n"}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    return Path(shutil.copy(ROOT / "scripts" / "try", root / "scripts" / "try"))


def test_try_builds_and_then_compares_where_the_user_stands(tmp_path: Path) -> None:
    script = made_tree(tmp_path / "tree", "touch config.status; printf 'all:\\n\\ttouch made\\n' >Makefile")
    done = subprocess.run([script, "here.py", "x y"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path} ['here.py', 'x y']\n"
    assert done.stderr == "needs build try\nconfigure ...\nmake ...\n"
    assert (tmp_path / "tree" / "build" / "made").exists()


def test_try_shows_why_the_build_failed(tmp_path: Path) -> None:
    script = made_tree(tmp_path / "tree", "echo no compiler at all; exit 1")
    done = subprocess.run([script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert "no compiler at all\ntry: configure failed; " in done.stderr


def test_micro_benchmarks_run(tmp_path: Path) -> None:
    need("cc")
    result = tmp_path / "micro.csv"
    done = run("bench/micro/run", "--rounds", 1, "--operations", 2000, "--size", 64, "--allocators", "glibc",
               "--csv", result)
    lines = measured(result)
    assert len(lines) >= 10
    assert all(float(line["nanoseconds"]) > 0 for line in lines)
    assert "pair 64" in done.stdout


def test_costs_of_pages_are_measured(tmp_path: Path) -> None:
    need("cc")
    program = tmp_path / "pages"
    subprocess.run(["cc", "-O2", "-Wall", "-Werror", "-o", program, ROOT / "bench" / "micro" / "pages.c"], check=True)
    done = subprocess.run([program, "4"], stdout=subprocess.PIPE, text=True, check=True)
    head, *lines = csv.reader(done.stdout.splitlines())
    assert head == ["what", "microseconds"] and len(lines) == 9
    costs = {what: float(cost) for what, cost in lines}
    assert all(cost > 0 for cost in costs.values())
    assert costs["clear a page that is there"] < costs["page fault"]


def test_long_calls_of_the_kernel_are_measured(tmp_path: Path) -> None:
    need("cc")
    program = tmp_path / "unmap"
    subprocess.run(["cc", "-O2", "-Wall", "-Werror", "-pthread", "-o", program, ROOT / "bench" / "micro" / "unmap.c"],
                   check=True)
    done = subprocess.run([program, "500"], stdout=subprocess.PIPE, text=True, check=True)
    head, *lines = csv.reader(done.stdout.splitlines())
    assert head == ["what", "beside", "half", "99.9 %", "longest", "above 1 ms", "lost"]
    assert [line[:2] for line in lines] == [[what, beside] for beside in ("nothing", "a thread", "a process")
                                            for what in ("fill", "unmap")]
    for half, most, longest, above, lost in (map(float, line[2:]) for line in lines):
        assert 0 < half <= most <= longest and above + lost <= 500


def test_instruction_counts_repeat() -> None:
    need("cc")
    need("valgrind")
    words = ["bench/micro/run", "--instructions", "--size", 64, "--allocators", "glibc", "pair"]
    first, second = (run(*words).stdout for _ in range(2))
    assert first == second
    counted = [line.split() for line in first.splitlines() if line.startswith("pair 64")]
    assert 10 < float(counted[0][2]) < 1000


def test_the_cost_of_being_watched_is_measured() -> None:
    library = os.environ.get("PYARENA_LIB") or ROOT / "build" / ".libs" / "libpyarena.so"
    out = run("bench/watched", "--lib", library, "--turns", 2, "--seconds", 1.2, "--interval", 0.3, "--megabytes", 5).stdout
    percent = r"[+-]\d+\.\d\d"
    found = re.fullmatch(r"watched (\d+) times in 2 turns, (\d+) pieces of work\n"
                         rf"time: {percent} % \({percent} to {percent}\)\n"
                         rf"processor time: {percent} % \({percent} to {percent}\)\n", out)
    assert found and 4 <= int(found[1]) <= 10 and int(found[2]) > 10, out


def test_the_cost_of_a_slower_half_is_seen() -> None:
    from bench.lib import watched

    slices = [(0, 10, False), (10, 20, True), (20, 30, True), (30, 40, False)]
    pieces = [(began, 110 if 10 <= began < 30 else 100) for began in range(40)]
    assert watched._ratios(slices, pieces) == [pytest.approx(1.1)] * 2
    assert watched._ratios(slices, pieces[:30]) == [pytest.approx(1.1)]
    with pytest.raises(SystemExit, match="no piece of work"):
        watched._ratios(slices, [])
