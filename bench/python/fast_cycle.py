# SPDX-License-Identifier: MIT
"""20 MB are made and freed every 50 ms: whoever gives them back each time pays each time.

The time is that of the work alone, without the pauses between the cycles.
"""

import time

import _probe

PERIOD = 0.05


def main(probe: _probe.Probe, scale: float) -> None:
    count = int(165_000 * scale)
    begin = time.perf_counter()
    for number in range(max(4, int(60 * min(scale, 1)))):
        with probe.timed():
            objects = [[index] for index in range(count)]
            del objects
        time.sleep(max(0.0, begin + (number + 1) * PERIOD - time.perf_counter()))
    probe.after()
    probe.settle()
    probe.limit_by([])


_probe.run(main)
