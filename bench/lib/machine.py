# SPDX-License-Identifier: MIT
"""What a measurement was made on, and whether the machine was quiet."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def describe() -> dict[str, object]:
    """Processor, kernel and settings that change what memory costs."""
    processor = "unknown"
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    return {
        "processor": f"{os.cpu_count()} × {processor}",
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()),
        "transparent huge pages": _bracketed(_read("/sys/kernel/mm/transparent_hugepage/enabled")),
        "page": f"{os.sysconf('SC_PAGE_SIZE')} bytes",
    }


def unrest() -> str | None:
    """Why times will not be reliable now, or None."""
    load = os.getloadavg()[0]
    if load > 0.5:
        return f"the machine is not idle (load {load:.2f}): times will not be reliable"
    return None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""


def _bracketed(text: str) -> str:
    return text.partition("[")[2].partition("]")[0] or "none"
