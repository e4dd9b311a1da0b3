# SPDX-License-Identifier: MIT
"""Everything is freed but a scattered few, which pin their pages and whatever lies around them.

First 300,000 bytes objects of 1 KiB, of which every 1024th is kept; then 2,000,000 small tuples, of which
every 1000th is kept.  The high-water problem (2014), once for malloc and once for CPython's objects.
"""

import _probe


def main(probe: _probe.Probe, scale: float) -> None:
    size = 1024
    with probe.timed():
        blobs = [b"x" * size for _ in range(int(300_000 * scale))]
        kept = blobs[::1024]
        del blobs
    after_blobs = _probe.resident_bytes()
    probe.record("after_blobs", after_blobs)
    probe.record("limit_blobs", probe.base_bytes + len(_probe.pages_of(kept)) * _probe.PAGE_BYTES)
    with probe.timed():
        tuples = [(number,) for number in range(int(2_000_000 * scale))]
        kept_tuples = tuples[::1000]
        del tuples
    probe.after()
    probe.settle()
    probe.limit_by(kept + kept_tuples + [number for (number,) in kept_tuples])


_probe.run(main)
