# SPDX-License-Identifier: MIT
"""The benchmarks of programs that are no Python workloads measure what they say.

Sizes are small and times are not judged.
"""
from __future__ import annotations

import filecmp
import json
import os
import subprocess
from pathlib import Path

import pytest

from benches import MEGABYTE, PYTHON, ROOT, measured, need, run

from bench.lib.programs import PROGRAMS, Program

INSTALLED = [program for program in PROGRAMS if not program.missing()]


def shim(path: Path, source: str) -> Path:
    """A library to preload."""
    need("cc")
    text = path.with_suffix(".c")
    text.write_text(source)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", path, text], check=True)
    return path


# A malloc that holds every 500th free for two milliseconds.
SLOW = """
#include <stddef.h>
#include <time.h>
void __libc_free(void *);
void free(void *block)
{
	static __thread int calls;
	struct timespec end, now;
	if (++calls % 500 == 0) {
		clock_gettime(CLOCK_MONOTONIC, &end);
		end.tv_nsec += 2000000;
		do
			clock_gettime(CLOCK_MONOTONIC, &now);
		while ((now.tv_sec - end.tv_sec) * 1000000000 + now.tv_nsec < end.tv_nsec);
	}
	__libc_free(block);
}
"""


def test_latency_tells_the_slow_calls_from_the_others(tmp_path: Path) -> None:
    slow, result = shim(tmp_path / "slow.so", SLOW), tmp_path / "latency.csv"
    out = run("bench/latency", "--rounds", 1, "--operations", 60000, "--allocators", "glibc",
              "--lib", f"slow={slow}", "--csv", result).stdout
    lines = measured(result)
    assert {line["workload"] for line in lines} == \
        {f"{call}, {threads}" for call in ("nothing", "malloc", "first touch", "free")
         for threads in ("1 thread", "2 threads")}
    for line in lines:
        p50, p99, p999, longest, late = (float(line[key]) for key in ("p50", "p99", "p999", "longest", "late"))
        assert 0 < p50 <= p99 <= p999 and p50 <= longest
        if line["workload"].startswith("nothing"):
            assert float(line["calls"]) == 60000
        if line["workload"].startswith("free") and line["allocator"] == "slow":
            assert p99 < 1e6 and p999 >= 2e6 and longest >= 2e6
            assert late >= float(line["calls"]) // 500 * 0.05  # a machine in use takes the processor away
    assert "calls above 1 ms" in out and "geometric mean" not in out


def test_programs_are_timed(tmp_path: Path) -> None:
    result = tmp_path / "programs.csv"
    done = run("bench/programs", "--rounds", 1, "--scale", 0.02, "--allocators", "glibc", "--csv", result)
    lines = measured(result)
    assert [line["workload"] for line in lines] == [program.name for program in INSTALLED]
    assert len(lines) > 2
    for line in lines:
        assert float(line["seconds"]) > 0 and float(line["peak"]) > MEGABYTE
    assert "peak, MB" in done.stdout


@pytest.mark.parametrize("program", INSTALLED, ids=lambda program: program.name)
def test_inputs_of_programs_are_the_same_each_time(program: Program, tmp_path: Path) -> None:
    commands = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        command = program.prepare(tmp_path / name, 0.02)
        commands.append([word.replace(str(tmp_path / name), "") for word in command])
    assert commands[0] == commands[1]
    names = [path.name for path in (tmp_path / "one").iterdir() if path.is_file()]
    assert filecmp.cmpfiles(tmp_path / "one", tmp_path / "two", names, shallow=False) == (names, [], [])


def test_a_program_that_is_not_installed_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run("bench/programs", "redis", "--rounds", 1, "--allocators", "glibc")
    assert "redis is skipped: not installed (Debian: apt-get install redis-server redis-tools)" in done.stderr


def test_packages_of_programs_are_installed_for_measuring() -> None:
    words = (ROOT / "scripts" / "install-needs").read_text().split()
    assert not [package for program in PROGRAMS for package in program.needs.values() if package not in words]


def test_a_program_that_takes_too_long_is_a_failure(tmp_path: Path) -> None:
    need("gcc")
    result = tmp_path / "programs.json"
    done = run("bench/programs", "gcc", "--rounds", 1, "--scale", 0.02, "--timeout", 0.001, "--allocators", "glibc",
               "--json", result, status=1)
    assert "round 1 gcc glibc: gcc" in done.stderr and "took more than 0.001 s" in done.stderr
    assert len(json.loads(result.read_text())["failures"]) == 1


def test_an_unknown_program_is_told() -> None:
    assert "no program nosuch; known: redis, gcc" in run("bench/programs", "nosuch", status=2).stderr


# A malloc that takes twice what it is asked for, and whose forks take five milliseconds longer.
FAT = """
#include <pthread.h>
#include <stddef.h>
#include <time.h>
void *__libc_malloc(size_t);
void *malloc(size_t size)
{
	return __libc_malloc(2 * size);
}
static void wait(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
}
__attribute__((constructor)) static void begin(void)
{
	pthread_atfork(NULL, wait, wait);
}
"""


def test_scale_tells_what_forks_cost_and_what_is_left(tmp_path: Path) -> None:
    fat, result = shim(tmp_path / "fat.so", FAT), tmp_path / "scale.csv"
    run("bench/scale", "--rounds", 1, "--megabytes", 2, "--megabytes", 20, "--allocators", "glibc",
        "--lib", f"fat={fat}", "--csv", result)
    lines = {(line["workload"], line["allocator"]): line for line in measured(result)}
    assert set(lines) == {(size, column) for size in ("2 MB", "20 MB") for column in ("glibc", "fat")}
    for size in ("2 MB", "20 MB"):
        glibc, other = ({name: float(value) for name, value in lines[size, column].items()
                         if name not in ("workload", "allocator")} for column in ("glibc", "fat"))
        assert all(value > 0 for value in glibc.values())
        assert glibc["fork"] < glibc["child"] and other["child"] >= other["fork"] >= 5e6
        assert 5 < glibc["left"] < 20 and other["left"] > 1.4 * glibc["left"]


def test_scale_leaves_out_what_does_not_fit() -> None:
    done = run("bench/scale", "--rounds", 1, "--megabytes", 10**9, "--allocators", "glibc")
    assert "1000000000 MB are left out" in done.stderr


def test_limits_tell_where_all_of_settled_memory_is() -> None:
    library = os.environ.get("PYARENA_LIB") or ROOT / "build" / ".libs" / "libpyarena.so"
    out = run("bench/limits", "pinned", "text", "arrays", "--scale", 0.1, "--lib", f"pyarena={library}",
              "--python", PYTHON).stdout
    head, _, *lines = out.splitlines()
    assert "settled / limit" in head and head.endswith("not the library's")
    rows = {name: list(map(float, numbers)) for name, *numbers in map(str.split, lines)}
    assert list(rows) == ["nothing", "pinned", "text"]  # arrays does not know its survivors
    for settled, limit, ratio, *parts in rows.values():
        assert len(parts) == 7 and abs(sum(parts) - settled) < 0.5
        assert abs(ratio - settled / limit) < 0.02
    nothing, pinned = rows["nothing"], rows["pinned"]
    assert 0.9 < nothing[2] < 1.2 and nothing[3] == 0
    assert pinned[5] > nothing[5] + 0.5, "the pages of scattered survivors are partly used"
    assert abs(pinned[-1] - nothing[-1]) < 3


# Programs of mimalloc-bench: how they are called, what they print, and the seconds that are made of it.
ALL = len(os.sched_getaffinity(0))
SUITE = {
    "larsonN": (f"larson 5 8 1000 5000 100 4141 {ALL}",
                "Throughput = 80000000 operations per second, relative time: 12.500s.", 12.5),
    "xmalloc-testN": (f"xmalloc-test -w {ALL} -t 5 -s 64", "rtime: 5.730, free/sec: 17.452 M", 5.73),
    "rptestN": (f"rptest {ALL} 0 1 2 500 1000 100 8 16000",
                "2 threads random: ........4000000 memory ops/CPU second (22MiB peak)", 0.5),
    "glibc-thread": (f"glibc-thread {ALL}", "2000000000 iterations", 0.5),
}


def clone_of_suite(path: Path) -> Path:
    """A clone of mimalloc-bench in which some programs are built, that say something only if they are called as they should."""
    built = path / "out" / "bench"
    built.mkdir(parents=True)
    (path / "bench" / "barnes").mkdir(parents=True)
    (path / "bench" / "barnes" / "input").write_text("bodies")
    scripts = {"barnes": '[ "$(cat)" = bodies ] && exec sleep 0.3', "mleak": "exit 3", "glibc-simple": "exit 0"}
    for words, said, _ in SUITE.values():
        name, _, arguments = words.partition(" ")
        scripts[name] = f'[ "$*" = "{arguments}" ] && echo "{said}"'
    for name, script in scripts.items():
        (built / name).write_text(f"#!/bin/sh\n{script}\n")
        (built / name).chmod(0o755)
    (built / "glibc-simple").chmod(0o644)
    return path


def test_programs_of_mimalloc_bench_are_timed(tmp_path: Path) -> None:
    clone, result = clone_of_suite(tmp_path / "clone"), tmp_path / "suite.csv"
    done = run("bench/mimalloc-bench", clone, "--rounds", 1, "--allocators", "glibc", "--csv", result, status=1)
    lines = {line["workload"]: line for line in measured(result)}
    expected = {name: seconds for name, (_, _, seconds) in SUITE.items()}
    assert {name: float(line["seconds"]) for name, line in lines.items() if name != "barnes"} == expected
    assert float(lines["barnes"]["seconds"]) > 0.3 and 0 < float(lines["barnes"]["peak"]) < 20 * MEGABYTE
    assert "cfrac is left out: it is not built" in done.stderr
    assert "failed: round 1 mleak10 glibc:" in done.stderr and "ended with 3" in done.stderr
    assert "failed: round 1 glibc-simple glibc:" in done.stderr and "Permission denied" in done.stderr
    assert done.stdout.splitlines()[0].split() == ["time,", "s", "best", "glibc", "spread"]


def test_a_program_of_mimalloc_bench_that_takes_too_long_is_a_failure(tmp_path: Path) -> None:
    clone = clone_of_suite(tmp_path / "clone")
    done = run("bench/mimalloc-bench", clone, "barnes", "--rounds", 1, "--timeout", 0.05, "--allocators", "glibc",
               status=1)
    assert "took more than 0.05 s" in done.stderr


def test_what_is_no_clone_of_mimalloc_bench_is_told(tmp_path: Path) -> None:
    assert "no program of mimalloc-bench is built in" in run("bench/mimalloc-bench", tmp_path, status=2).stderr
    assert "no program nosuch; known: cfrac" in run("bench/mimalloc-bench", tmp_path, "nosuch", status=2).stderr
