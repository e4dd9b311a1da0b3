# SPDX-License-Identifier: MIT
"""A service parses, changes and answers JSON requests, most small, some large; a small cache survives.

One request in 500 is large and makes a peak; one answer in 40 stays in a cache of 400.
"""

from __future__ import annotations

import json
import random
from typing import Any

import _probe


def document(randomness: random.Random, items: int) -> dict[str, Any]:
    return {
        "user": "user-%d" % randomness.randrange(10**6),
        "items": [
            {
                "id": randomness.randrange(10**9),
                "name": "item %d" % number,
                "price": randomness.random() * 100,
                "tags": ["tag%d" % randomness.randrange(50) for _ in range(randomness.randrange(6))],
                "text": "x" * randomness.randrange(10, 200),
            }
            for number in range(items)
        ],
    }


def answer(request: str) -> str:
    """Parse a request, change it, and give the answer's text."""
    body = json.loads(request)
    for item in body["items"]:
        item["price"] = round(item["price"] * 1.19, 2)
        item["label"] = item["name"].title()
        item["tags"] = sorted(set(item["tags"]))
    body["total"] = sum(item["price"] for item in body["items"])
    return json.dumps(body)


def main(probe: _probe.Probe, scale: float) -> None:
    randomness = random.Random(1)
    small = [json.dumps(document(randomness, randomness.randrange(5, 60))) for _ in range(64)]
    large = [json.dumps(document(randomness, max(100, int(40_000 * scale)))) for _ in range(2)]
    cache: dict[int, str] = {}
    count = max(16, int(4_000 * scale))
    every = count // 8
    with probe.timed():
        for number in range(count):
            if number % every == every - 1:
                text = answer(large[number // every % 2])
            else:
                text = answer(small[number % 64])
            if number % 40 == 0:
                cache[number // 40 % 400] = text
        del text
    probe.after()
    probe.settle()
    probe.limit_by(small + large + list(cache.values()) + list(cache.keys()))


_probe.run(main)
