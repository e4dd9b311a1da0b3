# SPDX-License-Identifier: MIT
"""docs/system-calls.md lists the system calls that the library makes: all of them, and no others.

strace tells the stack of each call. One is the library's if its stack, as far as it can be told, leads
through the library, or if the thread that the library starts makes it.
"""
from __future__ import annotations

import re
from pathlib import Path

import pytest

import programs

DOCUMENT = programs.ROOT / "docs" / "system-calls.md"

# Large and small, growing and shrinking, threads, an idle second, a child, a trim, a report.
WORK = """
import ctypes, os, threading, time
def peak():
    rows = [bytes(i % 5000) for i in range(6000)]
    large = [bytes(300000 + 1000 * i) for i in range(30)]
    del rows[::2], large[::2]
for thread in [threading.Thread(target=peak) for _ in range(2)]:
    thread.start()
    thread.join()
growing = bytearray()
for i in range(40):
    growing.extend(bytes(100000))
peak()
rows = [bytes(i % 600) for i in range(30000)]
kept = rows[::50]
del rows
ctypes.PyDLL(None).malloc_trim(0)
peak()
time.sleep(1.3)
child = os.fork()
if child == 0:
    peak()
    os._exit(0)
os.waitpid(child, 0)
"""
# The library's thread comes and goes, and then there is a fork.
IDLE = programs.UNTIL_IDLE + """
if os.fork() == 0:
    os._exit(0)
os.wait()
"""
# What that thread makes, or what is made for it.
OF_THE_THREAD = ["clone", "clone3", "exit", "futex", "gettid", "membarrier", "rseq", "rt_sigprocmask",
                 "set_robust_list", "tgkill"]
MISUSE = "import ctypes; ctypes.CDLL(None).free(ctypes.c_void_p(4096))"


def trace(code: str, log: Path, *only: str, **variables: str) -> str:
    """What strace -k says of a program under the library: of all its calls, or only of some, without slowing the others."""
    programs.need("strace")
    filters = ["--seccomp-bpf", "-e", f"trace={','.join(only)}"] if only else []
    setting = [word for name, value in variables.items() for word in ("-E", f"{name}={value}")]
    result = programs.run(["strace", "-f", "-k", *filters, "-o", log, "-E", f"LD_PRELOAD={programs.library()}",
                           *setting, programs.default_python().path, "-c", code], preload=False, timeout=600)
    text = log.read_text(errors="replace") if log.exists() else ""
    if "\n > " not in text:
        pytest.skip(f"strace cannot tell stacks here: {result.err.strip()[-200:]}")
    return text


def calls_of_library(text: str) -> set[str]:
    """The names of its calls."""
    found = set()
    threads: set[str] = set()  # that the library has started
    last: dict[str, str] = {}  # of each thread, the library's last call
    for entry in re.split(r"\n(?=\d)", text):
        head, _, stack = entry.partition("\n")
        match = re.match(r"(\d+) +(?:<\.\.\. )?(\w+)", head)
        if match is None or match[2].startswith("syscall_0x"):
            continue  # the second is what strace makes of a thread that is killed between two calls
        process, name = match.groups()
        in_library = programs.library().name in stack
        # The stack of this one cannot be told: signals are blocked before it.
        is_start = name in ("clone", "clone3") and last.get(process) == "rt_sigprocmask"
        if is_start:
            threads.update(re.findall(r"= (\d+)$", head))
        if in_library:
            last[process] = name
        if in_library or is_start or process in threads:
            found.add(name)
    return found


def listed() -> list[set[str]]:
    """The calls of each row of the document; rows with several name alternatives too."""
    rows = [line.split("|")[1] for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    names = [set(re.findall(r"`(\w+)`", row)) for row in rows]
    assert all(re.fullmatch(r" `\w+`(, `\w+`)* ", row) for row in rows), rows
    assert len(names) >= 10, f"only {names} found in {DOCUMENT.name}"
    return names


def test_list_is_complete(tmp_path: Path) -> None:
    found = calls_of_library(trace(WORK, tmp_path / "work.log", PYARENA_VERBOSE="1",
                                   PYARENA_STATS=f":{tmp_path}/%p.json"))
    found |= calls_of_library(trace(WORK, tmp_path / "hardened.log", PYARENA_HARDEN="1"))
    idle = calls_of_library(trace(IDLE, tmp_path / "idle.log", *OF_THE_THREAD))
    assert {"gettid", "membarrier", "tgkill"} <= idle, f"the idle thread is not seen among {sorted(idle)}"
    found |= idle
    found |= calls_of_library(trace(MISUSE, tmp_path / "misuse.log"))
    rows = listed()
    assert found <= set().union(*rows), f"not listed: {sorted(found - set().union(*rows))}"
    unseen = [sorted(names) for names in rows if not names & found]
    assert not unseen, f"listed, but not made: {unseen}"
