# SPDX-License-Identifier: MIT
"""Trials of one command under several allocators: medians, spread, a verdict, and all of it as files."""

from __future__ import annotations

import csv
import io
import json
import statistics
import textwrap
import time
from dataclasses import dataclass, field

from pyarena import table
from pyarena.allocators import BASE, Allocator
from pyarena.curves import Curve, thinned
from pyarena.table import Figure
from pyarena.trial import Trial

OURS = "pyarena"
_CHANCE = 0.1  # below which a difference between single runs is not worth a word
_WORTH_A_WORD = 0.05  # above which a cost beside time is
_AGAINST_STOCK = ("time", "settled")  # shown as multiples, too
_TEXT_WIDTH = 100


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


FIGURES = (
    Figure("time", "time, s", table.seconds, "wall time of the command, or of the load on a server"),
    Figure("cpu", "processor, s", table.seconds, "processor time of all its processes"),
    Figure("peak", "peak, MB", table.megabytes, "highest resident memory"),
    Figure("after", "after, MB", table.megabytes, "resident when the script, or the load, has ended"),
    Figure("settled", "settled, MB", table.megabytes, "resident after idling there"),
    Figure("faults", "page faults", _count, "minor page faults of all its processes"),
    Figure("private", "children, MB", table.megabytes, "the most that child processes had for themselves alone"),
)


@dataclass
class Comparison:
    """All trials: trials[name] is a list with one for each round."""

    command: list[str]
    allocators: list[Allocator]
    idle: float
    machine: dict[str, object]
    trials: dict[str, list[Trial]] = field(default_factory=dict)
    made: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H:%M %Z"))

    def add(self, name: str, trial: Trial) -> None:
        """Add the trial of one round."""
        self.trials.setdefault(name, []).append(trial)

    @property
    def names(self) -> list[str]:
        """The allocators that were tried, in order."""
        return [one.name for one in self.allocators if one.name in self.trials]

    @property
    def rounds(self) -> int:
        """How often each was tried."""
        return max((len(trials) for trials in self.trials.values()), default=0)

    @property
    def figures(self) -> list[Figure]:
        """The figures that there are any of."""
        return [figure for figure in FIGURES if any(self.values(name, figure.key) for name in self.names)]

    def values(self, name: str, key: str) -> list[float]:
        """A figure in all rounds that have it.  Failed runs do not count."""
        return [trial.figures[key] for trial in self.trials.get(name, []) if trial.status == 0 and key in trial.figures]

    def median(self, name: str, key: str) -> float | None:
        """The median over the rounds."""
        values = self.values(name, key)
        return statistics.median(values) if values else None

    def ratio(self, name: str, key: str) -> float | None:
        """The median as a multiple of stock's."""
        value, base = self.median(name, key), self.median(BASE, key)
        return value / base if value is not None and base else None

    def spread(self, name: str, key: str) -> float | None:
        """The distance between the lowest and the highest round, as a share of the median."""
        values = self.values(name, key)
        middle = self.median(name, key)
        return (max(values) - min(values)) / middle if len(values) > 1 and middle else None

    def noise(self, key: str, other: str = BASE) -> float:
        """The larger spread of ours and another's; with one round, what may well be chance."""
        spreads = [self.spread(name, key) for name in (OURS, other)]
        known = [spread for spread in spreads if spread is not None]
        return max(known) if known else _CHANCE

    def status(self, name: str) -> str:
        """How the runs ended, in a word."""
        wrong = [trial.status for trial in self.trials[name] if trial.status]
        return "ok" if not wrong else ", ".join(map(str, dict.fromkeys(wrong)))

    def curves(self) -> list[Curve]:
        """Memory over time in the first round."""
        return [self.trials[name][0].curve for name in self.names if self.trials[name][0].curve.seconds]

    # ---- As text ---------------------------------------------------------------------------------------

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Head and rows of the table; times and settled memory also as multiples of stock's."""
        head = ["allocator"]
        for figure in self.figures:
            head += [figure.heading, "× stock"] if figure.key in _AGAINST_STOCK else [figure.heading]
        rows = []
        for name in self.names:
            row = [name]
            for figure in self.figures:
                row.append(f"{figure.show(self.median(name, figure.key))} {self._spread_text(name, figure)}".rstrip())
                if figure.key in _AGAINST_STOCK:
                    row.append(self._ratio_text(name, figure))
            rows.append([*row, self.status(name)])
        return [*head, "ended"], rows

    def columns(self) -> tuple[list[str], list[list[str]]]:
        """The same with a column for each allocator, for where the table is too wide."""
        rows = []
        for figure in self.figures:
            rows.append([figure.heading, *(figure.show(self.median(name, figure.key)) for name in self.names)])
            spreads = [self._spread_text(name, figure) for name in self.names]
            if any(spreads):
                rows.append(["", *spreads])
            if figure.key in _AGAINST_STOCK:
                rows.append(["  × stock", *(self._ratio_text(name, figure) for name in self.names)])
        return ["", *self.names], [*rows, ["ended", *map(self.status, self.names)]]

    def _spread_text(self, name: str, figure: Figure) -> str:
        """Half the range of a figure, if there is any to be seen."""
        spread = self.spread(name, figure.key)
        return "" if spread is None or spread < 0.01 and figure.key != "time" else f"±{50 * spread:.0f} %"

    def _ratio_text(self, name: str, figure: Figure) -> str:
        ratio = self.ratio(name, figure.key)
        return "-" if ratio is None else f"{ratio:.2f}"

    def text(self, width: int) -> str:
        """The table and the verdict for a terminal of so many columns."""
        shown = table.text(*self.rows())
        if max(map(len, shown.splitlines())) > width:
            shown = table.text(*self.columns())
        return f"{shown}\n\n{textwrap.fill(self.verdict(), min(width, _TEXT_WIDTH))}"

    def verdict(self) -> str:
        """What the figures say of libpyarena, its disadvantages as plainly as its advantages."""
        if self.median(OURS, "time") is None or self.median(BASE, "time") is None:
            return "No verdict: the command did not run to its end under both stock and libpyarena."
        sentences = [self._on_memory(), self._on_time(), self._on_cost(), self._on_others()]
        failed = [name for name in self.names if self.status(name) != "ok"]
        if failed:
            sentences.append(f"It failed under {', '.join(failed)}.")
        return " ".join(sentence for sentence in sentences if sentence)

    def _on_memory(self) -> str:
        parts = []
        for key, what in (("peak", "peaks at"), ("settled", "settles at")):
            ratio = self.ratio(OURS, key)
            if ratio is not None:
                mine, base = (table.megabytes(self.median(name, key)) for name in (OURS, BASE))
                same = abs(ratio - 1) < 0.02
                parts.append(f"{what} the same memory ({mine} MB)" if same else
                             f"{what} {ratio:.2f} of stock's memory ({mine} MB, stock {base} MB)")  # fmt: skip
        return f"Under libpyarena it {' and '.join(parts)}." if parts else ""

    def _on_time(self) -> str:
        ratio, noise = self.ratio(OURS, "time"), self.noise("time")
        if ratio is None:
            return ""
        why = (f"runs under one allocator differ by up to {100 * noise:.0f} %" if self.rounds > 1
               else "each ran once, so a tenth may be chance")  # fmt: skip
        if abs(ratio - 1) <= noise:
            return f"Its time is {ratio:.2f} of stock's, which is no difference: {why}."
        if self.rounds == 1:
            return f"It took {ratio:.2f} of stock's time; each ran once, so --runs 5 would tell whether that is chance."
        return f"It takes {ratio:.2f} of stock's time, {'more' if ratio > 1 else 'less'} than chance explains ({why})."

    def _on_cost(self) -> str:
        """What it costs beside time, where that is clearly more or less."""
        parts = []
        for key, what in (("cpu", "{:.2f} of stock's processor time"), ("faults", "{:.2f} of stock's page faults")):
            ratio = self.ratio(OURS, key)
            if ratio is not None and abs(ratio - 1) > max(self.noise(key), _WORTH_A_WORD):
                parts.append(what.format(ratio))
        return f"It takes {' and '.join(parts)}." if parts else ""

    def _on_others(self) -> str:
        sentences, best = [], []
        for key, word, what in (("settled", "leaner", "memory when settled"), ("time", "faster", "time")):
            mine = self.median(OURS, key)
            if not mine or len(self.names) < 3:
                continue
            values = {name: self.median(name, key) for name in self.names if name != OURS}
            better = sorted((value, name) for name, value in values.items()
                            if value is not None and value < mine * (1 - (0.02 if key == "settled" else self.noise(key, name))))
            listed = ", ".join(f"{name} ({self.ratio(name, key) or 0:.2f})" for _, name in better)
            if better:
                sentences.append(f"{word.capitalize()} than it: {listed}, in {what} against stock.")
            else:
                best.append(word if key == "settled" else "faster by more than chance")
        if best:
            sentences.append(f"None of the others is {', or '.join(best)}.")
        return " ".join(sentences)

    # ---- As files --------------------------------------------------------------------------------------

    def json(self) -> str:
        """Everything, samples included."""
        keys = [figure.key for figure in self.figures]
        return json.dumps({
            "command": self.command,
            "made": self.made,
            "machine": self.machine,
            "idle_seconds": self.idle,
            "figures": {figure.key: figure.meaning for figure in self.figures},
            "allocators": {one.name: one.settings() for one in self.allocators},
            "medians": {name: {key: self.median(name, key) for key in keys} for name in self.names},
            "runs": {name: [trial.figures | {"status": trial.status} for trial in self.trials[name]] for name in self.names},
            "samples": {curve.name: [[round(second, 4), size] for second, size in thinned(curve)] for curve in self.curves()},
            "verdict": self.verdict(),
        }, indent=1) + "\n"  # fmt: skip

    def csv(self) -> str:
        """One line for each run."""
        file = io.StringIO(newline="")
        keys = [figure.key for figure in self.figures]
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["allocator", "round", *keys, "status"])
        for name in self.names:
            for number, trial in enumerate(self.trials[name], 1):
                writer.writerow([name, number, *(trial.figures.get(key, "") for key in keys), trial.status])
        return file.getvalue()
