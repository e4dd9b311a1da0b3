# SPDX-License-Identifier: MIT
"""Lines of text are split, counted, sorted and indexed; the hundred most frequent words survive."""

from __future__ import annotations

import collections
import random

import _probe


def main(probe: _probe.Probe, scale: float) -> None:
    randomness = random.Random(1)
    vocabulary = ["w%x" % randomness.randrange(16**6) for _ in range(30_000)]
    lines = [" ".join(randomness.choices(vocabulary, k=12)) for _ in range(2_000)]
    with probe.timed():
        for number in range(max(1, int(4 * scale))):
            counts: collections.Counter[str] = collections.Counter()
            index: dict[str, list[tuple[int, int]]] = collections.defaultdict(list)
            for part in range(max(1, int(20 * min(scale, 1)))):
                for place, line in enumerate(lines):
                    words = line.upper().split(" ")
                    counts.update(words)
                    if place % 4 == 0:
                        for word in words:
                            index[word + str(part)].append((part, place))
            frequent = counts.most_common(100)
            ordered = sorted(index, key=str.lower)
            del counts, index, ordered, words, line, word
    probe.after()
    probe.settle()
    probe.limit_by(lines + vocabulary + frequent + [word for word, _ in frequent])


_probe.run(main)
