# SPDX-License-Identifier: MIT
"""CPython where it sees neither /proc nor /sys, as in a bare chroot, and where system calls are refused.

It is served all the same, and gives memory back if it may.  refusals.c does the latter for programs in C.
"""
from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import programs
from programs import Python

# In a mount namespace of its own, with nothing mounted where these were.
BARE = ("mount -t tmpfs none /proc && mount -t tmpfs none /sys && "
        "test ! -e /proc/self && test ! -e /sys/kernel && exec env LD_PRELOAD=\"$0\" \"$@\"")

# There is no file that tells what is resident: the library is asked itself (dirty and live bytes).
PEAK = """
import ctypes, os, threading
library = ctypes.CDLL(None)
def dirty_and_live():
    text = (ctypes.c_uint64 * 32)(32 * 8)
    assert library.pyarena_stats(text) == 0
    return text[7], text[2]  # dirty_bytes, live_bytes
def peak():
    rows = [{"i": i, "t": "x" * (i % 3000)} for i in range(60000)]
    assert all(len(row["t"]) == row["i"] % 3000 for row in rows)
for thread in [threading.Thread(target=peak) for _ in range(3)]:
    thread.start()
    thread.join()
peak()
pid = os.fork()
if pid == 0:
    peak()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
dirty, live = dirty_and_live()
assert dirty < 40000000 and 0 < live < 40000000, (dirty, live)
print("done")
"""


def bare(*argv: str) -> list[str]:
    """The command that runs argv in the bare place; skips where that cannot be made."""
    programs.need("unshare")
    for flags in (["--mount"], ["--mount", "--map-root-user"]):
        command = ["unshare", *flags, "sh", "-c", BARE]
        if subprocess.run([*command, "", "true"], capture_output=True).returncode == 0:
            return [*command, str(programs.library()), *argv]
    pytest.skip("this process may not make a mount namespace")


@programs.each(programs.few_pythons())
def test_no_proc_and_no_sys(python: Python) -> None:
    result = programs.run(bare(python.path, "-c", PEAK), preload=False)
    assert (result.status, result.out, result.err) == (0, "done\n", ""), result


# Growing, shrinking, idle for so long that the library's thread gives memory back, and at work again.
WORK = """
import os, threading, time
def peak():
    rows = [bytes(i % 5000) for i in range(6000)]
    growing = bytearray()
    for i in range(40):
        growing.extend(bytes(100000))
    assert all(len(row) == i % 5000 for i, row in enumerate(rows)) and not any(growing)
for thread in [threading.Thread(target=peak) for _ in range(2)]:
    thread.start()
    thread.join()
kept = [bytes(i % 600) for i in range(30000)][::50]
peak()
time.sleep(1.3)
peak()
pid = os.fork()
if pid == 0:
    peak()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
assert all(len(row) == i * 50 % 600 and not any(row) for i, row in enumerate(kept))
print("done")
"""

# Calls that the library can do without, why a sandbox refuses them, and PYARENA_HARDEN.
REFUSED = [("membarrier", "EPERM", "0"), ("process_madvise", "ENOSYS", "0"), ("mremap", "ENOSYS", "0"),
           ("process_madvise", "EPERM", "1"), ("getrandom", "ENOSYS", "1")]


@pytest.mark.parametrize("call, error, harden", REFUSED)
def test_cpython_where_a_call_is_refused(call: str, error: str, harden: str, tmp_path: Path) -> None:
    programs.need("strace")
    log = tmp_path / "calls"
    # It is the thread that watches an idle process that asks for a barrier.
    code = programs.UNTIL_IDLE + WORK if call == "membarrier" else WORK
    result = programs.run(["strace", "-f", "--seccomp-bpf", "-o", log, "-e", f"trace={call}",
                           "-e", f"inject={call}:error={error}",
                           "-E", f"LD_PRELOAD={programs.library()}", "-E", f"PYARENA_HARDEN={harden}",
                           programs.default_python().path, "-c", code], preload=False)
    if "ptrace" in result.err or "seccomp" in result.err:
        pytest.skip(f"strace may not trace here: {result.err.strip()[-200:]}")
    assert (result.status, result.out, result.err) == (0, "done\n", ""), result
    assert f"{call}(" in log.read_text() and "(INJECTED)" in log.read_text(), "nothing was refused"
