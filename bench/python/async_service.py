# SPDX-License-Identifier: MIT
"""Thousands of asyncio tasks at a time pass messages through queues and streams; their sessions end."""

from __future__ import annotations

import asyncio

import _probe


async def session(number: int, inbox: asyncio.Queue[bytes | None], results: list[tuple[int, int]]) -> None:
    """Read messages until None; keep them while the session lasts."""
    received = []
    while True:
        message = await inbox.get()
        if message is None:
            break
        received.append(message.decode().split(","))
        await asyncio.sleep(0)
    results.append((number, sum(len(row) for row in received)))


async def stream(lines: int) -> int:
    """Feed a stream reader and read it by lines."""
    reader = asyncio.StreamReader()
    for number in range(lines):
        reader.feed_data(b"%d,some,fields,of,a,record\n" % number)
    reader.feed_eof()
    total = 0
    while True:
        line = await reader.readline()
        if not line:
            return total
        total += len(line)


async def wave(sessions: int) -> int:
    results: list[tuple[int, int]] = []
    inboxes: list[asyncio.Queue[bytes | None]] = [asyncio.Queue() for _ in range(sessions)]
    tasks = [asyncio.ensure_future(session(number, inbox, results)) for number, inbox in enumerate(inboxes)]
    for part in range(6):
        for number, inbox in enumerate(inboxes):
            inbox.put_nowait(b"%d,%d,payload," % (number, part) + b"x" * (number % 300))
        await asyncio.sleep(0)
    for inbox in inboxes:
        inbox.put_nowait(None)
    await asyncio.gather(*tasks)
    await stream(sessions * 2)
    return len(results)


def main(probe: _probe.Probe, scale: float) -> None:
    sessions = max(10, int(6_000 * scale))
    loop = asyncio.new_event_loop()
    with probe.timed():
        for _ in range(3):
            loop.run_until_complete(wave(sessions))
    loop.close()
    probe.after()
    probe.settle()


_probe.run(main)
