# SPDX-License-Identifier: MIT
"""Trees of instances with links to their parents are built and dropped; the cycle collector frees them."""

from __future__ import annotations

import gc

import _probe


class Node:
    def __init__(self, parent: Node | None, depth: int) -> None:
        self.parent = parent
        self.depth = depth
        self.name = "node-%d" % depth
        self.children = [Node(self, depth - 1) for _ in range(4)] if depth else []


def main(probe: _probe.Probe, scale: float) -> None:
    depth = 8 if scale >= 1 else 5
    with probe.timed():
        for _ in range(max(1, int(4 * scale))):
            forest = [Node(None, depth) for _ in range(2)]
            kept = forest[0].children[0].children[0].children[0].children[0]
            kept.parent = None
            kept.children = []
            del forest
            gc.collect()
    probe.after()
    probe.settle()
    probe.limit_by([kept])


_probe.run(main)
