# SPDX-License-Identifier: MIT
"""No work: what an interpreter holds that has only started.  bench/limits compares the workloads with it."""

import _probe


def main(probe: _probe.Probe, scale: float) -> None:
    with probe.timed():
        pass
    probe.after()
    probe.settle()
    probe.limit_by([])


_probe.run(main)
