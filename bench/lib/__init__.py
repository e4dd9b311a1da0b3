# SPDX-License-Identifier: MIT
"""What bench/run, bench/micro/run and bench/compare share.

What the command pyarena needs as well is in its package, from where all modules here import it.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "python"))
