# SPDX-License-Identifier: MIT
"""Makes tests/lib importable for every pytest file below tests/."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
