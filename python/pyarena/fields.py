# SPDX-License-Identifier: MIT
"""The statistics that the library keeps, in the order in which it tells them.

What stands between the marks is written by scripts/generate-docs from src/pyarena-stats.def.
"""

from __future__ import annotations

from typing import Dict, NamedTuple


class Stats(NamedTuple):
    """A snapshot of the allocator.

    Names that end in _bytes are bytes now.  Those whose text begins with "Total" count since the
    process began; the others are numbers of things there are now.
    """

    # fields
    mapped_bytes: int
    """Address space in arenas and large mappings."""
    live_bytes: int
    """Bytes in blocks in use, each rounded up to its size class."""
    live_blocks: int
    """Blocks in use, large ones included."""
    live_page_bytes: int
    """Bytes of the pages that hold at least one block in use."""
    large_bytes: int
    """Bytes in large objects, each in a mapping of its own."""
    large_blocks: int
    """Large objects in use."""
    dirty_bytes: int
    """Resident and free: whole free pages, not yet given back."""
    purged_bytes: int
    """Free and given back, address space kept."""
    reserve_bytes: int
    """How much dirty memory the reserve allows now."""
    cached_bytes: int
    """Dirty memory in whole free arenas and freed large mappings, part of dirty_bytes."""
    record_bytes: int
    """Bytes of the library's own records."""
    arenas: int
    """Arenas owned by heaps."""
    heaps: int
    """Heaps, abandoned ones included."""
    arenas_made: int
    """Total arenas taken from the operating system."""
    arenas_released: int
    """Total arenas given back to the operating system."""
    purges: int
    """Total system calls that gave pages back."""
    purged_pages: int
    """Total pages given back by purging; a large mapping counts whole, touched or not."""
    refault_pages: int
    """Total purged pages that were used again within the policy's window."""
    sweeps: int
    """Total arenas swept."""
    remote_frees: int
    """Total blocks freed by another owner than the one that made them, as collected."""
    adoptions: int
    """Total heaps adopted from ended threads."""
    page_cost_ns: int
    """Nanoseconds that it costs to give 4 KiB back and to touch them again, as measured."""
    # end fields


# What each field means, for reports that tell it.
HELP: Dict[str, str] = {
    # help
    "mapped_bytes": "Address space in arenas and large mappings",
    "live_bytes": "Bytes in blocks in use, each rounded up to its size class",
    "live_blocks": "Blocks in use, large ones included",
    "live_page_bytes": "Bytes of the pages that hold at least one block in use",
    "large_bytes": "Bytes in large objects, each in a mapping of its own",
    "large_blocks": "Large objects in use",
    "dirty_bytes": "Resident and free: whole free pages, not yet given back",
    "purged_bytes": "Free and given back, address space kept",
    "reserve_bytes": "How much dirty memory the reserve allows now",
    "cached_bytes": "Dirty memory in whole free arenas and freed large mappings, part of dirty_bytes",
    "record_bytes": "Bytes of the library's own records",
    "arenas": "Arenas owned by heaps",
    "heaps": "Heaps, abandoned ones included",
    "arenas_made": "Total arenas taken from the operating system",
    "arenas_released": "Total arenas given back to the operating system",
    "purges": "Total system calls that gave pages back",
    "purged_pages": "Total pages given back by purging; a large mapping counts whole, touched or not",
    "refault_pages": "Total purged pages that were used again within the policy's window",
    "sweeps": "Total arenas swept",
    "remote_frees": "Total blocks freed by another owner than the one that made them, as collected",
    "adoptions": "Total heaps adopted from ended threads",
    "page_cost_ns": "Nanoseconds that it costs to give 4 KiB back and to touch them again, as measured",
    # end help
}
