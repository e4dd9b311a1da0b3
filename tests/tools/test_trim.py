# SPDX-License-Identifier: MIT
"""pyarena trim: a process is asked from outside, and gives back what is free when it comes by."""
from __future__ import annotations

import json
import os
import re
import subprocess
import time

import programs
import tools

from pyarena import process as processes
from pyarena.record import Target

MB = 2**20
KEEP = {"PYARENA_KEEP_FREE": "1G"}  # nothing is given back unasked
# 60 MB of which few objects survive, and a large object that was freed.
HOLES = """
scattered = [bytes(1000) for _ in range(60000)]
kept = scattered[::100]
large = bytearray(8 << 20)
del scattered, large
"""
# Calls of the allocator in the main thread, ten times a second.
TICK = """
import threading, time
def tick():
    while True:
        some = [bytes(3000) for _ in range(200)]
        time.sleep(0.1)
threading.Thread(target=tick, daemon=True).start()
"""


def trim(*words: object, status: int = 0) -> dict[str, object]:
    return json.loads(tools.pyarena("trim", "--json", *words, status=status).out)


@programs.each(programs.few_pythons())
def test_a_process_at_work_gives_back(python: programs.Python) -> None:
    with tools.served(HOLES + TICK, variables=KEEP, python=python.path) as process:
        before = processes.resident_bytes(process.pid)
        told = trim(process.pid)
        after = processes.resident_bytes(process.pid)
        tools.tell(process, "assert kept == [bytes(1000)] * 600")
    assert before - after > 55 * MB, (before, after)
    assert told["resident_before"] - told["resident_after"] > 55 * MB
    assert told["free_before"] > 55 * MB and told["free_after"] < 4 * MB
    assert any(one["seconds"] < 5 for one in told["answered"])


def test_it_is_not_stopped() -> None:
    """Its state and its tracer, as the kernel tells them, and its longest pause."""
    code = "import time\npauses = []\ndef work():\n    last = time.monotonic()\n    while True:\n" \
           "        some = [bytes(3000) for _ in range(100)]\n        now = time.monotonic()\n" \
           "        pauses.append(now - last); last = now\n" \
           "import threading; threading.Thread(target=work, daemon=True).start()\n"
    with tools.served(HOLES + code, variables=KEEP) as process:
        trim(process.pid)
        assert processes.status(process.pid)["TracerPid"] == "0"
        tools.tell(process, "assert max(pauses) < 2, max(pauses)")


def test_an_idle_process_is_told_and_answers_later() -> None:
    with tools.served(HOLES, variables=KEEP) as process:
        result = tools.pyarena("trim", "--timeout", "0.3", process.pid, status=1)
        assert "Nobody answered within 0.3 s" in result.out and "silent     heap 1: CPython's objects, 5" in result.out
        before = processes.resident_bytes(process.pid)
        tools.tell(process, "some = [bytes(3000) for _ in range(500)]")
        assert before - processes.resident_bytes(process.pid) > 50 * MB
        told = trim("--timeout", "0.1", process.pid)
        assert told["answered"] == [], "asked once, it serves once"


def test_who_has_next_to_nothing_is_not_waited_for() -> None:
    with tools.served("") as process:
        tools.tell(process, "import ctypes; ctypes.PyDLL(None).pyarena_trim()")
        begin = time.monotonic()
        out = tools.pyarena("trim", "--timeout", "60", process.pid).out
    assert time.monotonic() - begin < 30 and "There was next to nothing to give back: less than 256 KiB" in out


def test_each_thread_trims_its_own_heap() -> None:
    code = """
import ctypes, threading
malloc, free = ctypes.CDLL(None).malloc, ctypes.CDLL(None).free
malloc.restype, free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
asked, filled = threading.Event(), threading.Event()
def work():
    blocks = [malloc(1000) for _ in range(20000)]
    for number, block in enumerate(blocks):
        if number % 100: free(block)
    filled.set()
    asked.wait()
    for _ in range(100): malloc(3000)
    filled.set()
    threading.Event().wait()
threading.Thread(target=work, daemon=True).start()
filled.wait()
filled.clear()
"""
    with tools.served(code + TICK, variables=KEEP) as process:
        first = trim("--timeout", "2", process.pid)
        assert len(first["answered"]) >= 1 and len(first["silent"]) >= 1
        asleep = max(first["silent"], key=lambda one: one["free_bytes"])
        assert MB / 4 < asleep["free_bytes"] < 10 * MB, "its free slots are in reach of others"
        tools.tell(process, "asked.set(); filled.wait()")
        with Target(process.pid) as target:
            heaps = {heap["id"]: heap for heap in target.read().heap_table()}
        assert heaps[asleep["heap"]]["dirty_bytes"] < asleep["free_bytes"] / 2


def test_child_and_parent_are_asked_apart() -> None:
    """That a child passes by what its parent was asked is tested in tests/unit/test_request.c."""
    code = "import os, time\nif os.fork() == 0:\n    while True:\n        some = [bytes(3000) for _ in range(200)]\n" \
           "        time.sleep(0.05)\n"
    with tools.served(HOLES + code, variables=KEEP) as process:
        child, = processes.children(process.pid)
        told = trim(child)
        assert told["pid"] == child and told["resident_before"] - told["resident_after"] > 50 * MB
        assert processes.resident_bytes(process.pid) > 60 * MB
        trees = trim("--tree", "--timeout", "2", process.pid, status=1)
        assert [one["pid"] for one in trees] == [process.pid, child]
        assert [bool(one["answered"]) for one in trees] == [False, True]


def test_a_process_in_a_container_knows_itself_by_another_id() -> None:
    programs.need("unshare")
    python = programs.default_python().path
    code = HOLES + "import time\nprint('ready', flush=True)\nwhile True:\n    some = [bytes(3000) for _ in range(200)]\n" \
                   "    time.sleep(0.05)\n"
    with subprocess.Popen(["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", python, "-c", code],
                          env=programs.environment(preload=True, **KEEP, PYARENA_SCOPE="python"),
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as outer:
        try:
            if outer.stdout.readline() != "ready\n":
                return programs.pytest.skip("name spaces cannot be made here")
            inner, = processes.children(outer.pid)
            assert processes.own_id(inner) == 1 and processes.own_id(os.getpid()) != 1
            told = trim(inner)
            assert told["resident_before"] - told["resident_after"] > 50 * MB
        finally:
            outer.kill()


def test_text_is_for_people() -> None:
    with tools.served(HOLES + TICK, variables=KEEP) as process:
        out = tools.pyarena("trim", process.pid).out
    lines = out.splitlines()
    assert lines[0].startswith(f"process {process.pid}: ") and lines[1].split()[0] == "resident"
    assert re.search(r"answered   heap 1: CPython's objects, after \d\.\d+ s", out), out


def test_refusals_say_why() -> None:
    with tools.served("", preload=False) as plain:
        for words, reason in [
                ([plain.pid], f"libpyarena is not loaded in process {plain.pid}"),
                (["app.py"], "'app.py' is no process ID"),
                ([2**22 + 1], "there is no process"),
                (["--timeout", "soon", 1], "'soon' is not a number of seconds")]:
            result = tools.pyarena("trim", *words, status=2)
            assert reason in result.err and result.err.count("\n") == 1, result
