# SPDX-License-Identifier: MIT
"""Tells bench/compare when a script has ended, and holds it there idle for a moment.

Python imports this at start because bench/compare puts its directory first on PYTHONPATH.  The program sees nothing of
it: the path is put back, and a sitecustomize of its own is imported.  At exit, while the script's
objects still live, a byte is written to a pipe, the idle time is slept, and a second byte is written.
"""

import atexit
import os
import sys
import time


def _mark_end(owner: int, pipe: int, idle: float) -> None:
    if os.getpid() == owner:
        os.write(pipe, b"e")
        time.sleep(idle)
        os.write(pipe, b"s")


def _install() -> None:
    pipe, idle, path = os.environ.pop("BENCH_END_MARK").split(":", 2)
    if path:
        os.environ["PYTHONPATH"] = path
    else:
        del os.environ["PYTHONPATH"]
    sys.path.remove(os.path.dirname(os.path.abspath(__file__)))
    os.set_inheritable(int(pipe), False)
    atexit.register(_mark_end, os.getpid(), int(pipe), float(idle))
    own = sys.modules.pop("sitecustomize")
    try:
        __import__("sitecustomize")  # the program's own
    except ImportError:
        sys.modules["sitecustomize"] = own


if "BENCH_END_MARK" in os.environ:
    _install()
