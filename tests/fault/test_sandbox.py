# SPDX-License-Identifier: MIT
"""A process that sees neither /proc nor /sys, as in a bare chroot: it is served, and gives memory back."""
from __future__ import annotations

import subprocess

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
