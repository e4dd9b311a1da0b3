# SPDX-License-Identifier: MIT
"""The page of pyarena compare: one HTML file, to be attached to a ticket."""

from __future__ import annotations

import shlex
from html import escape

from pyarena.comparison import OURS, Comparison
from pyarena.curves import colours_of
from pyarena.plot import Plot, document, pairs
from pyarena.table import Figure


def page(comparison: Comparison) -> str:
    """The whole page."""
    colours = colours_of(comparison.names)
    command = shlex.join(comparison.command)
    curves = comparison.curves()
    plot = Plot(curves, colours, OURS, "Resident memory over time of all allocators",
                "Resident memory of the process with its descendants, first run.")  # fmt: skip
    parts = [
        f"<h1>Memory over time</h1><p><code>{escape(command)}</code></p>",
        f'<p class="verdict">{escape(comparison.verdict())}</p>',
        *([plot.figure()] if curves else []),
        _table(comparison),
        _bars(comparison, colours),
        _conditions(comparison),
    ]
    return document(f"Memory of {command}", parts, plot.script() if curves else "")


def _table(comparison: Comparison) -> str:
    head, rows = comparison.rows()
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    for row in rows:
        ours = ' class="ours"' if row[0] == OURS else ""
        lines.append(f"<tr{ours}>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>")
    runs = "One run each" if comparison.rounds == 1 else f"Medians of {comparison.rounds} runs each; ± is half their range where it is 1 % or more"
    body = "\n".join(lines[1:])
    return (f'<h2>Figures</h2><div class="scroll"><table><thead>{lines[0]}</thead><tbody>\n{body}</tbody></table></div>'
            f'<p class="note">{runs}. MB are 2<sup>20</sup> bytes.</p>')  # fmt: skip


def _bars(comparison: Comparison, colours: dict[str, str]) -> str:
    return f'<div class="bars">{"".join(_bar_chart(comparison, figure, colours) for figure in comparison.figures)}</div>'


def _bar_chart(comparison: Comparison, figure: Figure, colours: dict[str, str]) -> str:
    values = {name: comparison.median(name, figure.key) for name in comparison.names}
    highest = max(value for value in values.values() if value is not None) or 1
    bars = "".join(
        f'<div class="bar" title="{escape(_runs(comparison, name, figure))}"><span>{escape(name)}</span>'
        f'<i style="width:{100 * (value or 0) / highest:.1f}%;background:{colours[name]}"></i>'
        f"<span>{escape(figure.show(value))}</span></div>"
        for name, value in values.items()
    )
    return f'<section><h3 title="{escape(figure.meaning)}">{escape(figure.heading)}</h3>{bars}</section>'


def _runs(comparison: Comparison, name: str, figure: Figure) -> str:
    """Each run, for who points at the median."""
    values = [figure.show(value) for value in comparison.values(name, figure.key)]
    return f"{name}, each run: {', '.join(values) or 'none'}"


def _conditions(comparison: Comparison) -> str:
    facts = {str(name): str(value) for name, value in comparison.machine.items()}
    facts["idle time"] = f"{comparison.idle:g} seconds before settled"
    facts["made"] = comparison.made
    for one in comparison.allocators:
        facts[one.name] = " ".join(f"{name}={value}" for name, value in one.settings().items()) or "as it comes"
    meanings = {figure.heading: figure.meaning for figure in comparison.figures}
    return f"<h2>Conditions</h2>{pairs(facts)}<h2>What the figures are</h2>{pairs(meanings)}"
