# SPDX-License-Identifier: MIT
"""A report of the library's statistics, from a process or a file: as text, and in Prometheus' format."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarena import process, table
from pyarena.dumped import MAGIC, Dump
from pyarena.fields import HELP
from pyarena.process import ProcessError
from pyarena.record import Target
from pyarena.text import number, share, size

_MOST_CLASSES = 12


@dataclass(frozen=True)
class Report:
    """What the library tells of one process, in the form of its own report at exit."""

    source: str  # the process or the file
    resident_bytes: int | None  # None if the process is not there to be asked
    values: dict[str, Any]

    @staticmethod
    def of_process(pid: int) -> Report:
        """Read a running process.  Raises ProcessError."""
        with Target(pid) as target:
            values = target.read().report()
        return Report(f"process {pid}: {process.command_line(pid)}", process.resident_bytes(pid), values)

    @staticmethod
    def of_file(path: Path) -> Report:
        """Read a report that PYARENA_STATS wrote, in either form.  Raises ProcessError."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ProcessError(f"{path} cannot be read: {error.strerror}") from error
        if data.startswith(MAGIC):
            dump = Dump(path, data)
            return Report(f"{path}: process {dump.pid}: {dump.command}", None, dump.snapshot().report())
        try:
            values = json.loads(data)
        except ValueError as error:
            raise ProcessError(f"{path} is no report in JSON: {error}") from error
        if not isinstance(values, dict) or not {"pyarena", "pid", "stats", "classes", "heaps"} <= values.keys():
            raise ProcessError(f"{path} is no report of libpyarena's (PYARENA_STATS=:FILE writes one)")
        return Report(f"{path}: process {values['pid']} when it ended", None, values)

    @property
    def stats(self) -> dict[str, int]:
        """The fields of pyarena-stats.def."""
        return dict(self.values["stats"])

    def classes(self) -> list[dict[str, int]]:
        """The size classes that hold pools."""
        return merged_classes(self.values["classes"])


def merged_classes(classes: Iterable[dict[str, int]]) -> list[dict[str, int]]:
    """Those that hold pools, those of one size together; block_bytes 0 are medium objects."""
    merged: dict[int, dict[str, int]] = {}
    for one in classes:
        into = merged.setdefault(one["block_bytes"], dict.fromkeys(one, 0))
        for name, value in one.items():
            into[name] = value if name == "block_bytes" else into[name] + value
    return [one for one in merged.values() if one["pools"]]


# ---- Text ---------------------------------------------------------------------------------------------


def text(report: Report, *, everything: bool = False) -> str:
    """The report for people."""
    parts = [f"{report.source}\nlibpyarena {report.values['pyarena']}", _summary(report), _classes(report), _heaps(report)]
    if everything:
        parts.append(_fields(report))
    return "\n\n".join(part for part in parts if part)


def _summary(report: Report) -> str:
    stats = report.stats
    kept = stats["live_page_bytes"] - stats["live_bytes"]
    lines = []
    if report.resident_bytes is not None:
        lines.append(("resident", size(report.resident_bytes), "of the whole process, as the kernel counts it"))
    lines += [
        ("live", size(stats["live_bytes"]), f"in {number(stats['live_blocks'])} blocks"),
        ("held by them", size(max(kept, 0)), "free, but on pages on which something lives"),
        ("free", size(stats["dirty_bytes"]), f"whole pages, kept for reuse; the reserve allows {size(stats['reserve_bytes'])}"),
        ("given back", size(stats["purged_bytes"]), "address space that costs no memory"),
        ("records", size(stats["record_bytes"]), "of the library itself"),
    ]  # fmt: skip
    purged = stats["purged_pages"]
    again = f"of {number(purged)} pages given back, {share(stats['refault_pages'], purged)} were soon used again"
    return "\n".join(f"  {name:14} {amount:>10}  {meaning}" for name, amount, meaning in lines) + f"\n\n  {again}"


def _class_name(block_bytes: int) -> str:
    return f"{number(block_bytes)} B" if block_bytes else "medium"


def _classes(report: Report) -> str:
    found = sorted(report.classes(), key=lambda one: -one["pool_bytes"])
    rows = []
    for one in found[:_MOST_CLASSES]:
        used = one["live_blocks"] * one["block_bytes"]
        rows.append([_class_name(one["block_bytes"]), number(one["live_blocks"]), number(one["pools"]),
                     size(one["pool_bytes"]), share(used, one["pool_bytes"]) if used else "-"])  # fmt: skip
    if not rows:
        return ""
    left = len(found) - len(rows)
    rest = f"\n({left} more hold {size(sum(one['pool_bytes'] for one in found[_MOST_CLASSES:]))})" if left else ""
    return table.text(["blocks of", "live", "pools", "pools span", "in use"], rows) + rest


def _heaps(report: Report) -> str:
    rows = []
    for heap in report.values["heaps"]:
        kind = "CPython's objects" if heap["is_interpreter"] else "malloc"
        rows.append([f"heap {heap['id']}: {kind}" + (", its thread has ended" if heap["is_abandoned"] else ""),
                     number(heap["arenas"]), size(heap["live_bytes"]), size(heap["dirty_bytes"])])  # fmt: skip
    return table.text(["heaps", "arenas", "live", "free"], rows) if rows else ""


def _fields(report: Report) -> str:
    rows = [(name, number(value), HELP.get(name, "")) for name, value in report.stats.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(f"{name:{widths[0]}}  {value:>{widths[1]}}  {meaning}" for name, value, meaning in rows)


# ---- Prometheus ---------------------------------------------------------------------------------------


def prometheus(reports: Sequence[Report]) -> str:
    """The text format of Prometheus: every metric with HELP and TYPE, every sample with its process."""
    return "".join(f"{line}\n" for line in _metrics(reports))


def _metrics(reports: Sequence[Report]) -> Iterator[str]:
    yield from _metric("pyarena_info", "gauge", "The version of libpyarena in a process; always 1", (
        ({"pid": report.values["pid"], "version": report.values["pyarena"]}, 1) for report in reports))  # fmt: skip
    for name, meaning in HELP.items():
        is_counter = meaning.startswith("Total ")
        samples = [({"pid": report.values["pid"]}, report.stats[name]) for report in reports if name in report.stats]
        full = f"pyarena_{name}" + ("_total" if is_counter else "")
        yield from _metric(full, "counter" if is_counter else "gauge", meaning, samples)
    for name, meaning in (("live_blocks", "Blocks in use of one size, medium ones as size 0"),
                          ("pools", "Pools of one size of blocks"),
                          ("pool_bytes", "Address space of the pools of one size of blocks")):  # fmt: skip
        yield from _metric(f"pyarena_class_{name}", "gauge", meaning, (
            ({"pid": report.values["pid"], "block_bytes": one["block_bytes"]}, one[name])
            for report in reports for one in report.classes()))  # fmt: skip
    for name, meaning in (("live_bytes", "Bytes of blocks in use in one heap"),
                          ("dirty_bytes", "Resident and free bytes in one heap"),
                          ("arenas", "Arenas of one heap")):  # fmt: skip
        yield from _metric(f"pyarena_heap_{name}", "gauge", meaning, (
            ({"pid": report.values["pid"], "heap": heap["id"],
              "serves": "python" if heap["is_interpreter"] else "malloc"}, heap[name])
            for report in reports for heap in report.values["heaps"]))  # fmt: skip


def _metric(name: str, kind: str, meaning: str, samples: Any) -> Iterator[str]:
    yield f"# HELP {name} {_escaped(meaning)}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        inside = ",".join(f'{label}="{_quoted(str(text))}"' for label, text in labels.items())
        yield f"{name}{{{inside}}} {value}"


def _escaped(string: str) -> str:
    return string.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(string: str) -> str:
    return _escaped(string).replace('"', '\\"')
