# SPDX-License-Identifier: MIT
"""pyarena pins: the objects that it names are those that were left behind."""
from __future__ import annotations

import json

import pytest

import programs
import tools

# Each of these survives alone on its page. What else lives is made after, on pages of its own.
SURVIVORS = """
import re
class Session:
    def __init__(self, number): self.number = number
class Slim:
    __slots__ = ("number",)
matches = [re.match("a", "a") for _ in range(50000)]
sessions = [Session(0) for _ in range(50000)]
slim = [Slim() for _ in range(50000)]
blobs = [bytes(500) for _ in range(40000)]
floats = [number + 0.5 for number in range(100000)]
kept = matches[::500] + sessions[::250] + slim[::250] + blobs[::100] + floats[::1000]
del matches, sessions, slim, blobs, floats
"""
EXPECTED = {"re.Match": 100, "Session": 200, "Slim": 200, "bytes": 400, "float": 100}


@programs.each(programs.served_pythons())
def test_survivors_are_named(python: programs.Python) -> None:
    if python.debug:
        pytest.skip("a debug build lays out its types in another way")
    with tools.served(SURVIVORS, python=python.path) as process:
        found = json.loads(tools.pyarena("pins", "--json", process.pid).out)
    assert found["part_read"] == 1
    for name, count in EXPECTED.items():
        seen = found["types"].get(name)
        assert seen, (name, found["types"])
        assert 0.7 * count <= seen["blocks"] <= 1.3 * count + 10, (name, seen)
        assert seen["pages"] <= found["pages"]
    assert found["pages"] == sum(one["pages"] for one in found["sizes"])


def test_text_answers_the_question() -> None:
    with tools.served(SURVIVORS) as process:
        out = tools.pyarena("pins", process.pid).out
    assert "each page in use by at most 25 %" in out
    assert " of them are held by " in out and " bytes objects" in out
    assert "Session" in out and "re.Match" in out


def test_nothing_is_pinned_where_all_lives() -> None:
    with tools.served("kept = [bytes(500) for _ in range(40000)]") as process:
        found = json.loads(tools.pyarena("pins", "--json", process.pid).out)
    assert found["pages"] < 100, found


def test_a_part_is_scaled_up() -> None:
    with tools.served(SURVIVORS) as process:
        whole = json.loads(tools.pyarena("pins", "--json", process.pid).out)
        part = json.loads(tools.pyarena("pins", "--json", "--pools", "300", process.pid).out)
        text = tools.pyarena("pins", "--pools", "300", process.pid).out
    assert part["part_read"] < 0.8 < 1 == whole["part_read"]
    assert 0.6 * whole["pages"] < part["pages"] < 1.5 * whole["pages"], (part["pages"], whole["pages"])
    assert "about " in text and "scaled up from" in text


def test_reading_adds_no_memory_and_harms_nothing() -> None:
    """Pages that were given back are not touched; the process goes on."""
    with tools.served(SURVIVORS) as process:
        def resident() -> int:
            return int(open(f"/proc/{process.pid}/statm").read().split()[1])

        before = resident()
        for _ in range(3):
            tools.pyarena("pins", process.pid)
        assert resident() - before < 50, (before, resident())
        tools.tell(process, "assert kept[0].group() == 'a' and kept[-1] == 99000.5")


def test_a_busy_process_is_read_without_fail() -> None:
    code = "import threading\ndef churn():\n    while True:\n        x = [[i] for i in range(30000)]\n" \
           "        kept = x[::70]\n        del x\nthreading.Thread(target=churn, daemon=True).start()\n"
    with tools.served(code) as process:
        for _ in range(5):
            tools.pyarena("pins", process.pid)
        assert process.poll() is None


def test_what_is_no_python_has_sizes_alone() -> None:
    with tools.served("", variables={"PYARENA_PYTHON": "off"}) as process:
        found = json.loads(tools.pyarena("pins", "--json", process.pid).out)
    assert set(found["types"]) <= {"malloc"}


@pytest.mark.parametrize("words, reason", [
    ([str(2**22 + 1)], "there is no process"),
    (["--filled", "0", "1"], "'0' is not a percentage"),
    (["--pools", "none", "1"], "'none' is not a number"),
    (["one"], "'one' is no process ID"),
])
def test_refusals_say_why(words: list[str], reason: str) -> None:
    assert reason in tools.pyarena("pins", *words, status=2).err
