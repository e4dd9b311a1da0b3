# SPDX-License-Identifier: MIT
"""What a measurement was made on, and whether the machine was quiet."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

from pyarena.text import size


def describe() -> dict[str, object]:
    """Processor, kernel and settings that change what memory costs."""
    processor = "unknown"
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    return {
        "processor": f"{os.cpu_count()} × {processor}",
        "memory": size(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")),
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()),
        "transparent huge pages": _bracketed(_read("/sys/kernel/mm/transparent_hugepage/enabled")),
        "page": f"{os.sysconf('SC_PAGE_SIZE')} bytes",
    }


def unrest() -> str | None:
    """Why times will not be reliable now, or None."""
    busy, begin = _busy_seconds(), time.monotonic()
    time.sleep(0.5)
    share = (_busy_seconds() - busy) / (time.monotonic() - begin)
    if share > 0.1:
        return f"other programs keep {share:.1f} processors busy: times will not be reliable"
    return None


def available_bytes() -> int:
    """Memory that programs can take without any being swapped out; 0 if the kernel does not tell."""
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def _busy_seconds() -> float:
    """Processor seconds that were not idle, of all processors together, since the machine started."""
    ticks = [int(word) for word in _read("/proc/stat").partition("\n")[0].split()[1:9]]
    idle = sum(ticks[3:5])  # idle and waiting for a disk
    return (sum(ticks) - idle) / os.sysconf("SC_CLK_TCK")


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""


def _bracketed(text: str) -> str:
    return text.partition("[")[2].partition("]")[0] or "none"
