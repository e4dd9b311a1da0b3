# SPDX-License-Identifier: MIT
"""For every pytest file below tests/: makes tests/lib importable, and signals what they are elsewhere."""
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))

# A shell's background jobs ignore these, and what a test starts would: CPython's own tests wait for them.
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGHUP, signal.SIGQUIT):
    signal.signal(number, signal.SIG_DFL)
