# SPDX-License-Identifier: MIT
"""pyarena top: for scripts, and live in a terminal of 80 columns."""
from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path
from typing import Callable

import pytest

import programs
import tools

from pyarena import text
from pyarena.observed import Group
from pyarena.record import Target
from pyarena.verbs import top

MB = 2**20
# A parent with 30 MB, and two children that share them; one swings between 5 and 35 MB of its own.
TREE = """
import os, time
base = [bytes(1000) for _ in range(30000)]
for number in range(2):
    if os.fork() == 0:
        own = [bytes(1000) for _ in range(5000)]
        while True:
            if number:
                peak = [bytes(1000) for _ in range(30000)]
                del peak
            time.sleep(0.02)
"""


def test_once_tells_of_a_tree() -> None:
    # The one that swings would soon keep all of it.
    with tools.served(TREE, variables={"PYARENA_KEEP_FREE": "0"}) as process:
        time.sleep(0.3)
        seen = json.loads(tools.pyarena("top", "--once", "--json", "--tree", "--interval", "0.5", process.pid).out)
        table = tools.pyarena("top", "--once", "--tree", "--interval", "0.2", process.pid).out
    parent, quiet, busy = seen
    assert parent["pid"] == process.pid and parent["parent"] is None
    assert quiet["parent"] == busy["parent"] == process.pid
    assert parent["resident_bytes"] > 30 * MB and parent["stats"]["live_bytes"] > 30 * MB
    assert 4 * MB < quiet["private_bytes"] < 20 * MB < quiet["shared_bytes"]
    assert quiet["proportional_bytes"] < quiet["resident_bytes"]
    assert parent["purged_pages_per_second"] == parent["refault_pages_per_second"] == 0
    assert busy["purged_pages_per_second"] > 1000
    lines = table.splitlines()
    assert lines[0].split()[:4] == ["PID", "RES", "PRIV", "SHARE"]
    assert [int(line.split()[0]) for line in lines[1:4]] == [one["pid"] for one in seen]
    gone = lines[0].split().index("GONE")
    assert [line.split()[gone] == text.compact(one["stats"]["purged_bytes"]) for line, one in zip(lines[1:3], seen)] == [True, True]
    assert "└" in lines[2] and lines[-1].startswith("3 processes: ")


def test_rates_are_there_at_the_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long reading takes: to be watched by it would else be put off."""
    with tools.served("") as process:
        group = Group([process.pid], tree=False)
        read = Target.read

        def slowly(target: Target) -> object:
            time.sleep(0.05)
            return read(target)

        monkeypatch.setattr(Target, "read", slowly)
        assert group.look()[0].purged_per_second is None
        seen, = group.look()
        assert seen.purged_per_second is not None and seen.refaults_per_second is not None
        looked = seen.snapshot
        assert group.look()[0].snapshot is looked, "the third is put off"
        group.close()


@pytest.mark.parametrize("value, shown", [(None, "-"), (0, "0"), (99_999, "99999"), (123_456, "123k"),
                                          (272_904_000, "273M"), (3e12, "3000G")])
def test_rates_fit_their_columns(value: float | None, shown: str) -> None:
    assert top._rate(value) == shown


def test_without_a_pid_all_are_found() -> None:
    with tools.served("") as process, tools.served("", preload=False) as plain:
        seen = json.loads(tools.pyarena("top", "--once", "--json", "--interval", "0.1").out)
    pids = [one["pid"] for one in seen]
    assert process.pid in pids and plain.pid not in pids


def test_processes_come_and_go() -> None:
    group = Group([], tree=False)
    with tools.served("") as first:
        group = Group([first.pid], tree=True)
        assert [one.pid for one in group.look()] == [first.pid]
        tools.tell(first, "import os, time; child = os.fork() or time.sleep(60)")
        assert len(group.look()) == 2
        tools.tell(first, "import signal; os.kill(child, signal.SIGKILL); os.waitpid(child, 0)")
        assert [one.pid for one in group.look()] == [first.pid]
    assert group.look() == [] and group.members == {}
    group.close()


@pytest.mark.parametrize("words, reason", [
    (["--json"], "--json goes with --once"),
    (["--tree", "--once"], "--tree needs the process at its root"),
    ([], "this is no terminal; --once prints the table"),
    (["--interval", "0", "--once"], "'0' is not a number of seconds"),
    (["--once", str(2**22 + 1)], "there is no process"),
])
def test_refusals_say_why(words: list[str], reason: str) -> None:
    assert reason in tools.pyarena("top", *words, status=2).err


@pytest.mark.parametrize("count, shown", [
    (0, "0B"), (999, "999B"), (1000, "1.0K"), (1536, "1.5K"), (10 * 1024, "10K"), (999 * 1024, "999K"),
    (1023 * 1024, "1.0M"), (5.25 * 2**30, "5.2G"), (3 * 2**50, "3072T"), (None, "-")])
def test_sizes_fit_in_five_columns(count: float | None, shown: str) -> None:
    assert text.compact(count) == shown and len(shown) <= 5


def test_sparklines_show_the_last_values() -> None:
    assert text.sparkline([1, 2, 4, 8], 3) == "▃▅█"
    assert text.sparkline([0, 0], 5) == "  " and text.sparkline([], 5) == ""


class Terminal:
    """tmux with a server of its own."""

    def __init__(self, directory: Path, width: int, height: int, command: str) -> None:
        self._tmux = ["tmux", "-S", str(directory / "tmux"), "-f", "/dev/null"]
        env = {**programs.environment(preload=False), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        subprocess.run([*self._tmux, "new-session", "-d", "-x", str(width), "-y", str(height), command],
                       check=True, env=env)

    def press(self, *keys: str) -> None:
        subprocess.run([*self._tmux, "send-keys", *keys], check=True)

    def screen(self) -> list[str]:
        done = subprocess.run([*self._tmux, "capture-pane", "-p"], capture_output=True, text=True)
        return done.stdout.splitlines()

    def wait(self, until: Callable[[list[str]], bool]) -> list[str]:
        """The first screen of which it holds, and that stood still: others may be half drawn."""
        end, screen = time.monotonic() + 20, self.screen()
        while time.monotonic() < end:
            time.sleep(0.05)
            before, screen = screen, self.screen()
            if screen == before and until(screen):
                return screen
        raise AssertionError("\n".join(self.screen()))

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], capture_output=True)


def scale(text: str) -> float:
    return float(text[:-1]) * 1024 ** "BKMGT".index(text[-1])


def test_live_in_a_terminal(tmp_path: Path) -> None:
    programs.need("tmux")
    with tools.served(TREE) as process:
        words = [programs.default_python().path, "-B", str(tools.COMMAND), "top", "--interval", "0.3", "--tree",
                 str(process.pid)]
        terminal = Terminal(tmp_path, 80, 28, shlex.join(words) + f"; echo $? >{tmp_path}/status")
        try:
            def pids(screen: list[str]) -> list[int]:
                return [int(line.split()[0]) for line in screen[4:7]]

            screen = terminal.wait(lambda screen: len(screen) > 20 and any(tick in screen[6] for tick in "▁█"))
            assert "sorted by tree" in screen[0] and screen[1].startswith("3 processes: ")
            assert screen[3].split()[:3] == ["PID", "RES", "PRIV"]
            assert pids(screen)[0] == process.pid and "└ python" in screen[5]
            assert all(len(line) <= 80 for line in screen)
            assert any(re.search(r"CPython's objects .* live .* free +\d\S* gone$", line) for line in screen), screen
            assert any(re.match(r"  \S+ live, \S+ held by it, \S+ free, \S+ given back and gone$", line) for line in screen), screen
            assert any("1,056 B" in line or "1,040 B" in line for line in screen), screen
            below = next(line for line in screen[8:] if line)
            assert below.startswith(f"{process.pid}: ")
            terminal.press("Down")
            terminal.wait(lambda screen: any(line.startswith(f"{pids(screen)[1]}: ") for line in screen[8:]))
            terminal.press("b")
            screen = terminal.wait(lambda screen: "sorted by given back" in screen[0])
            for key, name, head in (("o", "own", "PRIV"), ("l", "live", "LIVE"), ("f", "free", "FREE")):
                terminal.press(key)
                screen = terminal.wait(lambda screen: f"sorted by {name}" in screen[0])
                column = screen[3].split().index(head)
                shown = [scale(line.split()[column]) for line in screen[4:7]]
                assert shown == sorted(shown, reverse=True), (key, screen)
            terminal.press("g")
            terminal.wait(lambda screen: "sorted by gone" in screen[0])
            terminal.press("p")
            screen = terminal.wait(lambda screen: "sorted by process" in screen[0])
            assert pids(screen) == sorted(pids(screen))
            child = next(pid for pid in pids(screen) if pid != process.pid)
            os.kill(child, signal.SIGKILL)
            tools.tell(process, "os.wait()")
            terminal.wait(lambda screen: len(screen) > 1 and screen[1].startswith("2 processes: "))
            terminal.press("q")
            status, end = tmp_path / "status", time.monotonic() + 60
            while not (status.exists() and status.read_text()) and time.monotonic() < end:
                time.sleep(0.1)
            assert status.read_text() == "0\n"
        finally:
            terminal.close()


HOLES = "x = [bytes(1000) for _ in range(30000)]\nkept = x[::60]\ndel x\n"


def test_heaps_tell_what_they_have_given_back() -> None:
    with tools.served(HOLES) as process, Target(process.pid) as target:
        snapshot = target.read()
    gone = snapshot.purged_by_heap()
    assert gone.keys() == {heap.id for heap in snapshot.heaps}
    assert sum(gone.values()) == snapshot.stats.purged_bytes and gone[1] > 10 * MB


def test_a_terminal_without_the_letters_gets_others(tmp_path: Path) -> None:
    programs.need("tmux")
    with tools.served("") as process:
        words = [programs.default_python().path, "-B", str(tools.COMMAND), "top", "--interval", "0.3", str(process.pid)]
        terminal = Terminal(tmp_path, 80, 20, f"LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 {shlex.join(words)}")
        try:
            terminal.wait(lambda screen: len(screen) > 4 and re.fullmatch("8{5,}", "".join(screen[4].split()[-2:-1])))
        finally:
            terminal.close()
