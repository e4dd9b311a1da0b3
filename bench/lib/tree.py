# SPDX-License-Identifier: MIT
"""Where this source tree and the library of its default build are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYARENA_LIBRARY = ROOT / "build" / ".libs" / "libpyarena.so"
