# SPDX-License-Identifier: MIT
"""Acts when a script has ended and its objects still live: for compare, which has the interpreter tell that
through a pipe and idle there for a moment, and for run --map, which has the library write its report there.

Python imports this at start because the command puts its directory first on PYTHONPATH.  The program sees nothing of
it: the path is put back, and a sitecustomize of its own is imported.
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


def _report(owner: int) -> None:
    if os.getpid() == owner:
        import ctypes

        report = getattr(ctypes.PyDLL(None), "pyarena_report", None)
        if report:
            report()


def _install() -> None:
    pipe, idle, path = os.environ.pop("BENCH_END_MARK").split(":", 2)
    if path:
        os.environ["PYTHONPATH"] = path
    else:
        del os.environ["PYTHONPATH"]
    sys.path.remove(os.path.dirname(os.path.abspath(__file__)))
    if pipe:
        os.set_inheritable(int(pipe), False)
        atexit.register(_mark_end, os.getpid(), int(pipe), float(idle))
    else:
        atexit.register(_report, os.getpid())
    own = sys.modules.pop("sitecustomize")
    try:
        __import__("sitecustomize")  # the program's own
    except ImportError:
        sys.modules["sitecustomize"] = own


if "BENCH_END_MARK" in os.environ:
    _install()
