# SPDX-License-Identifier: MIT
"""The page of pyarena compare: one HTML file that needs no other, to be attached to a ticket.

The picture is drawn here, so it is there where scripts do not run; report.js then makes it answer to
the pointer.
"""

from __future__ import annotations

import json
import math
import shlex
import time
from html import escape
from pathlib import Path

from pyarena.comparison import OURS, Comparison
from pyarena.curves import Curve, colours_of, thinned
from pyarena.table import MEGABYTE, Figure

_PARTS = Path(__file__).with_name("report")
_WIDTH, _HEIGHT = 960, 380
_LEFT, _TOP, _RIGHT, _BOTTOM = 60, 22, 12, 40
_FRAME = {"left": _LEFT, "top": _TOP, "width": _WIDTH - _LEFT - _RIGHT, "height": _HEIGHT - _TOP - _BOTTOM}


def page(comparison: Comparison) -> str:
    """The whole page."""
    curves = [Curve(one.name, *_columns(thinned(one))) for one in comparison.curves()]
    colours = colours_of(comparison.names)
    command = shlex.join(comparison.command)
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        # Nothing is fetched, whatever a command line or an allocator's name may contain.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src \'unsafe-inline\'; '
        "script-src 'unsafe-inline'; img-src data:\">",
        f"<title>Memory of {escape(command)}</title>",
        f"<style>\n{(_PARTS / 'report.css').read_text(encoding='utf-8')}</style></head><body>",
        f"<h1>Memory over time</h1><p><code>{escape(command)}</code></p>",
        f'<p class="verdict">{escape(comparison.verdict())}</p>',
    ]
    if curves:
        parts.append(_plot(curves, colours))
    parts += [_table(comparison), _bars(comparison, colours), _conditions(comparison)]
    if curves:
        parts += [f'<script type="application/json" id="samples">{_samples(curves, colours)}</script>',
                  f"<script>\n{(_PARTS / 'report.js').read_text(encoding='utf-8')}</script>"]  # fmt: skip
    return "\n".join([*parts, "</body></html>", ""])


def _columns(points: list[tuple[float, int]]) -> tuple[list[float], list[int]]:
    return [round(second, 4) for second, _ in points], [size for _, size in points]


def _samples(curves: list[Curve], colours: dict[str, str]) -> str:
    data = {
        "frame": _FRAME,
        "seconds": max(curve.seconds[-1] for curve in curves),
        "curves": [{"name": curve.name, "colour": colours[curve.name], "ours": curve.name == OURS,
                    "points": list(zip(curve.seconds, curve.sizes))} for curve in curves],
    }  # fmt: skip
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


# ---- The picture --------------------------------------------------------------------------------------


def _steps(high: float, count: int) -> list[float]:
    """From 0 in steps of 1, 2 or 5 times a power of ten, about so many."""
    rough = high / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [number * step for number in range(int(high / step) + 1)]


def _plot(curves: list[Curve], colours: dict[str, str]) -> str:
    seconds = max(max(curve.seconds[-1] for curve in curves), 0.001)
    top = max(MEGABYTE, *(max(curve.sizes) for curve in curves)) * 1.05
    left, width, high, bottom = _LEFT, _FRAME["width"], _FRAME["height"], _TOP + _FRAME["height"]
    axes = []
    for row in _steps(top / MEGABYTE, 5):
        y = bottom - row * MEGABYTE / top * high
        axes.append(f'<line class="grid" x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}"/>'
                    f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{row:g}</text>')  # fmt: skip
    for column in _steps(seconds, 8):
        x = left + column / seconds * width
        axes.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{column:g}</text>')
    paths = []
    for curve in curves:
        points = (f"{left + second / seconds * width:.1f} {bottom - size / top * high:.1f}"
                  for second, size in zip(curve.seconds, curve.sizes))  # fmt: skip
        ours = " ours" if curve.name == OURS else ""
        paths.append(f'<path class="curve{ours}" stroke="{colours[curve.name]}" d="M{"L".join(points)}"/>')
    legend = "".join(
        f'<li><button type="button" aria-pressed="true" data-name="{escape(curve.name)}">'
        f'<span class="swatch" style="background:{colours[curve.name]}"></span>{escape(curve.name)}</button></li>'
        for curve in curves
    )
    return f"""<figure>
<svg id="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Resident memory over time of all allocators">
<text x="{left - 8}" y="{_TOP - 9}" text-anchor="end">MB</text>
<text x="{left + width}" y="{_HEIGHT - 6}" text-anchor="end">seconds</text>
<g class="axes">{"".join(axes)}</g><g class="curves">{"".join(paths)}</g><g class="marks"></g></svg>
<div id="tip" class="tip" hidden></div>
<ul class="legend">{legend}</ul>
<figcaption>Resident memory of the process with its descendants, first run. Point to read, drag to zoom in,
double-click to zoom out, click a name to hide it. <button type="button" id="whole" hidden>Show all</button></figcaption>
</figure>"""


# ---- Figures ------------------------------------------------------------------------------------------


def _table(comparison: Comparison) -> str:
    head, rows = comparison.rows()
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    for row in rows:
        ours = ' class="ours"' if row[0] == OURS else ""
        lines.append(f"<tr{ours}>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>")
    runs = "One run each" if comparison.rounds == 1 else f"Medians of {comparison.rounds} runs each; ± is half their range"
    body = "\n".join(lines[1:])
    return (f'<h2>Figures</h2><div class="scroll"><table><thead>{lines[0]}</thead><tbody>\n{body}</tbody></table></div>'
            f'<p class="note">{runs}. MB are 2<sup>20</sup> bytes.</p>')  # fmt: skip


def _bars(comparison: Comparison, colours: dict[str, str]) -> str:
    return f'<div class="bars">{"".join(_bar_chart(comparison, figure, colours) for figure in comparison.figures)}</div>'


def _bar_chart(comparison: Comparison, figure: Figure, colours: dict[str, str]) -> str:
    values = {name: comparison.median(name, figure.key) for name in comparison.names}
    highest = max(value for value in values.values() if value is not None) or 1
    bars = "".join(
        f'<div class="bar"><span>{escape(name)}</span>'
        f'<i style="width:{100 * (value or 0) / highest:.1f}%;background:{colours[name]}"></i>'
        f"<span>{escape(figure.show(value))}</span></div>"
        for name, value in values.items()
    )
    return f'<section><h3 title="{escape(figure.meaning)}">{escape(figure.heading)}</h3>{bars}</section>'


def _conditions(comparison: Comparison) -> str:
    facts = {str(name): str(value) for name, value in comparison.machine.items()}
    facts["idle time"] = f"{comparison.idle:g} seconds before settled"
    facts["made"] = time.strftime("%Y-%m-%d %H:%M %Z")
    for one in comparison.allocators:
        facts[one.name] = " ".join(f"{name}={value}" for name, value in one.settings().items()) or "as it comes"
    meanings = {figure.heading: figure.meaning for figure in comparison.figures}
    return f"<h2>Conditions</h2>{_list(facts)}<h2>What the figures are</h2>{_list(meanings)}"


def _list(pairs: dict[str, str]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in pairs.items()) + "</dl>"
