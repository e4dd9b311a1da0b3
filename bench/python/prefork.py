# SPDX-License-Identifier: MIT
"""A parent loads data, drops a third of it and forks four workers, which serve requests.

What a worker costs is its private memory.  The parent's pages have holes, as those of a program have that has done
something before it forks.

Every request reads a few of the hot records (their reference counts copy pages), builds an answer and drops it; a
small cache survives in each worker.  Peak, after and settled are those of the parent and of the
workers' private memory together.
"""

from __future__ import annotations

import gc
import json
import os
import random
import resource
from typing import Any, Dict, TextIO

import _probe

WORKERS = 4
HOT = 400

Data = Dict[int, Dict[str, Any]]


def load(count: int) -> Data:
    return {
        number: {"name": "record %d" % number, "tags": ["t%d" % (number % 97), "u%d" % number], "score": number * 0.5}
        for number in range(count)
    }


def serve(data: Data, hot: list[int], requests: int, seed: int) -> dict[int, Any]:
    randomness = random.Random(seed)
    cache = {}
    for number in range(requests):
        found = [data[randomness.choice(hot)] for _ in range(50)]
        rows = [dict(record, rank=rank, text="%s-%d" % (record["name"], rank)) for rank, record in enumerate(found)]
        if number % 100 == 0:
            rows *= 60
        body = json.dumps(rows)
        again = json.loads(body)
        if number % 20 == 0:
            cache[number // 20 % 100] = again[0]
        del rows, body, again
    return cache


def child(data: Data, hot: list[int], requests: int, seed: int, commands: int, reports: TextIO) -> None:
    """Serve; report private memory and usage; wait for a byte, which comes when the idle time is over; report again."""
    started = resource.getrusage(resource.RUSAGE_SELF)
    cache = serve(data, hot, requests, seed)
    private = _probe.private_bytes()
    resident = _probe.resident_bytes()
    used = resource.getrusage(resource.RUSAGE_SELF)
    report = {
        "private": private,
        "given_back": max(0, _probe.peak_bytes() - resident),
        "user": used.ru_utime - started.ru_utime,
        "system": used.ru_stime - started.ru_stime,
        "faults": used.ru_minflt - started.ru_minflt,
    }
    reports.write(json.dumps(report) + "\n")
    reports.flush()
    os.read(commands, 1)
    reports.write("%d\n" % _probe.private_bytes())
    reports.flush()
    del cache


def fork_worker(data: Data, hot: list[int], requests: int, seed: int) -> tuple[int, int, TextIO]:
    """The pid of a worker, the pipe to command it, and its reports."""
    command_read, command_write = os.pipe()
    report_read, report_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(command_write)
            child(data, hot, requests, seed, command_read, os.fdopen(report_write, "w"))
            status = 0
        finally:
            os._exit(status)
    os.close(command_read)
    os.close(report_write)
    return pid, command_write, os.fdopen(report_read)


def main(probe: _probe.Probe, scale: float) -> None:
    data = load(max(HOT * 3, int(150_000 * scale)))
    for number in random.Random(2).sample(range(len(data)), len(data) // 3):
        del data[number]
    hot = random.Random(1).sample(list(data), HOT)
    requests = max(10, int(2_000 * scale))
    gc.collect()
    gc.freeze()
    with probe.timed():
        workers = [fork_worker(data, hot, requests, seed) for seed in range(WORKERS)]
        done = [json.loads(reports.readline()) for _, _, reports in workers]
    for report in done:
        probe.add_work(0, report["user"], report["system"], report["faults"])
    own = probe.after()
    private = sum(report["private"] for report in done)
    probe.record("private", private)
    probe.record("after", own + private)
    probe.record("peak", _probe.peak_bytes() + private + sum(report["given_back"] for report in done))
    own = probe.settle()
    settled = 0
    for pid, commands, reports in workers:
        os.write(commands, b".")
        settled += int(reports.readline())
        if os.waitpid(pid, 0)[1] != 0:
            raise RuntimeError("a worker failed")
    probe.record("private_settled", settled)
    probe.record("settled", own + settled)


_probe.run(main)
