# SPDX-License-Identifier: MIT
"""Run the command pyarena, and processes for it to look at: what the tests of tests/tools share."""
from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Iterator, Mapping

import pytest

import programs

COMMAND = programs.ROOT / "scripts" / "pyarena"
PACKAGE = programs.ROOT / "python"

sys.path.insert(0, str(PACKAGE))


def pyarena(*words: object, status: int = 0, library: bool = False, timeout: float = 120,
            variables: Mapping[str, str] | None = None, cwd: Path | None = None) -> programs.Result:
    """Run the command; library says whether its verb is told which library to preload."""
    words = tuple(map(str, words))
    if library:
        words = (words[0], "--lib", str(programs.library()), *words[1:])
    result = programs.run([programs.default_python().path, "-B", COMMAND, *words], preload=False,
                          timeout=timeout, variables=variables, cwd=cwd)
    assert result.status == status, result
    assert "Traceback" not in result.err, result
    return result


@contextlib.contextmanager
def served(code: str, *, preload: bool = True, variables: Mapping[str, str] | None = None,
           python: str | None = None) -> Iterator[subprocess.Popen[str]]:
    """A Python process that has run code and then waits until a line comes in, again and again.

    A line that comes in is run as code, and answered by a line.
    """
    loop = "\nimport sys\nprint('ready', flush=True)\n" \
           "for line in sys.stdin:\n    exec(line)\n    print('done', flush=True)\n"
    process = subprocess.Popen([python or programs.default_python().path, "-c", code + loop],
                               env=programs.environment(preload=preload, **(variables or {})),
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               start_new_session=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def tell(process: subprocess.Popen[str], line: str) -> None:
    """Have a served process run one line of code."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


def on_terminal(words: list[str], columns: int) -> str:
    """All that a command writes to a terminal of so many columns, without escapes; what a line was before, too."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    process = subprocess.Popen(words, stdin=child, stdout=child, stderr=child, env=programs.environment(preload=False))
    os.close(child)
    written = b""
    with contextlib.suppress(OSError):  # so it ends when the last who has it open has gone
        while piece := os.read(parent, 65536):
            written += piece
    os.close(parent)
    assert process.wait(120) == 0, written
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode()).replace("\r", "\n")


def browser() -> str:
    """Debian's chromium, or one like it; the test is skipped where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    pytest.skip("chromium is not installed (Debian package chromium)")
