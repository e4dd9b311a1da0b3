# SPDX-License-Identifier: MIT
"""The measurements of a whole run, and the tables, CSV and JSON made from them.

A row is one workload under one interpreter, a column one allocator; a cell holds the figures of all rounds.
"""

from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pyarena import table
from pyarena.allocators import BASE
from pyarena.table import Figure

FIGURES = {
    "time": Figure("seconds", "time, s", table.seconds, "wall time of the phase that the workload times"),
    "peak": Figure("peak", "peak, MB", table.megabytes, "highest resident memory"),
    "after": Figure("after", "after, MB", table.megabytes, "resident right after the peak is freed"),
    "settled": Figure("settled", "settled, MB", table.megabytes, "resident after two idle seconds"),
    "excess": Figure("excess", "settled / limit", "{:.2f}".format, "settled, as a multiple of what survivors need"),
    "private": Figure("private", "private memory of children, MB", table.megabytes, "what forked children own alone"),
    "cpu": Figure("cpu_seconds", "processor time, s", table.seconds, "processor time of the timed phase"),
    "system": Figure("system_seconds", "system time, s", table.seconds, "kernel time of the timed phase"),
    "faults": Figure("faults", "page faults", "{:.0f}".format, "minor page faults of the timed phase"),
    "wall": Figure("whole_seconds", "whole process, s", table.seconds, "wall time of the process, less idling"),
    "total": Figure("whole_cpu_seconds", "whole processor time, s", table.seconds, "processor time of the process"),
}
DEFAULT_FIGURES = "time,peak,after,settled"
BEST = "best"  # the heading of the best value of each row


@dataclass
class Results:
    """All measurements: rounds[row][column] is a list with the figures of each round."""

    columns: list[str]
    machine: dict[str, object]
    base: str = BASE
    is_absolute: bool = False  # show every column's own values instead of multiples of the base's
    is_of_best: bool = False  # the base of each row is the best of its columns
    has_mean: bool = True  # end each table with the geometric mean of its rows
    rounds: dict[str, dict[str, list[dict[str, float]]]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, row: str, column: str, figures: dict[str, float]) -> None:
        """Add one round's figures."""
        if figures.get("limit") and figures.get("settled"):
            figures["excess"] = figures["settled"] / figures["limit"]
        if "user_seconds" in figures:
            figures["cpu_seconds"] = figures["user_seconds"] + figures["system_seconds"]
        self.rounds.setdefault(row, {}).setdefault(column, []).append(figures)

    def median(self, row: str, column: str, key: str) -> float | None:
        """The median over the rounds; None where the workload has no such figure."""
        values = [figures[key] for figures in self.rounds[row].get(column, []) if key in figures]
        known = [value for value in values if value is not None]
        return statistics.median(known) if known else None

    def ratio(self, row: str, column: str, key: str) -> float | None:
        """The median as a multiple of the base's."""
        value, base = self.median(row, column, key), self._base(row, key)
        return value / base if value is not None and base else None

    def _base(self, row: str, key: str) -> float | None:
        if not self.is_of_best:
            return self.median(row, self.base, key)
        medians = [self.median(row, column, key) for column in self.columns]
        return min((value for value in medians if value is not None), default=None)

    def spread(self, row: str, key: str) -> float | None:
        """The largest distance between two rounds of one column, as a share of its median: the noise."""
        shares = []
        for runs in self.rounds[row].values():
            values = [figures[key] for figures in runs if figures.get(key)]
            if len(values) > 1:
                shares.append((max(values) - min(values)) / statistics.median(values))
        return max(shares, default=None)

    def matrix(self, figure: Figure) -> tuple[list[str], list[list[str]]] | None:
        """Head and rows of one figure's table: the base's values, the others' multiples; their geometric mean."""
        has_base = not self.is_absolute and figure.key != "excess"  # which is a ratio already
        others = [column for column in self.columns if self.is_of_best or column != self.base]
        rows: list[list[str]] = []
        for row in self.rounds:
            values = {column: self.median(row, column, figure.key) for column in self.columns}
            if all(value is None for value in values.values()):
                continue
            if not has_base:
                cells = ["-" if values[column] is None else figure.show(values[column]) for column in self.columns]
            else:
                base = self._base(row, figure.key)
                cells = ["-" if base is None else figure.show(base)]
                cells += [_multiple(self.ratio(row, column, figure.key)) for column in others]
            noise = self.spread(row, figure.key)
            rows.append([row, *cells, "-" if noise is None else f"{100 * noise:.0f} %"])
        if not rows:
            return None
        head = [figure.heading, *([BEST] if self.is_of_best and has_base else []), *self.columns, "spread"]
        if not self.has_mean:
            return head, rows
        mean = ["geometric mean", *(["1.00"] if self.is_of_best and has_base else [])]
        for column in self.columns:
            if figure.key == "excess":
                values_of_column = [self.median(row, column, figure.key) or 0 for row in self.rounds]
            else:
                values_of_column = [self.ratio(row, column, figure.key) or 0 for row in self.rounds]
            mean.append(_multiple(table.geometric_mean(values_of_column)))
        return head, [*rows, [*mean, ""]]

    def text(self, figures: Iterable[Figure]) -> str:
        """The tables of these figures for a terminal."""
        matrices = [self.matrix(figure) for figure in figures]
        return "\n\n".join(table.text(*matrix, rule_before_last=self.has_mean) for matrix in matrices if matrix)

    def write(self, figures: Iterable[Figure], csv_path: Path | None, json_path: Path | None, page: Path | None) -> None:
        """Write the files that are wanted: all measurements as CSV, as JSON, and the tables of figures as Markdown."""
        if csv_path:
            self.write_csv(csv_path)
        if json_path:
            self.write_json(json_path)
        if page:
            page.write_text(self.markdown(figures), encoding="utf-8")

    def markdown(self, figures: Iterable[Figure]) -> str:
        """The same for a page, with the machine they were measured on."""
        matrices = [self.matrix(figure) for figure in figures]
        machine = "; ".join(f"{name}: {value}" for name, value in self.machine.items())
        return "\n\n".join([*(table.markdown(*matrix) for matrix in matrices if matrix), machine]) + "\n"

    def write_csv(self, path: Path) -> None:
        """One line for each measurement: workload, allocator, round, then every figure."""
        keys: list[str] = []
        for cells in self.rounds.values():
            for runs in cells.values():
                for figures in runs:
                    keys += [key for key in figures if key not in keys]
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["workload", "allocator", "round", *keys])
            for row, cells in self.rounds.items():
                for column, runs in cells.items():
                    for number, figures in enumerate(runs, 1):
                        writer.writerow([row, column, number, *(figures.get(key, "") for key in keys)])

    def whole(self) -> dict[str, object]:
        """Everything: machine, columns, all rounds, medians, failures."""
        medians = {
            row: {
                column: {key: self.median(row, column, key) for key in (cells[column] or [{}])[0]} for column in cells
            }
            for row, cells in self.rounds.items()
        }
        told: dict[str, object] = {"machine": self.machine, "columns": self.columns, "medians": medians, "rounds": self.rounds}
        return told | {"failures": self.failures}

    def write_json(self, path: Path) -> None:
        """The same as JSON."""
        path.write_text(json.dumps(self.whole(), indent=1) + "\n", encoding="utf-8")


def _multiple(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def figures_of(text: str) -> list[Figure]:
    """The figures in a list such as time,peak.  Raises KeyError for an unknown name."""
    return [FIGURES[name] for name in (FIGURES if text == "all" else text.split(","))]
