# SPDX-License-Identifier: MIT
"""Pages that need no other file, and the picture of memory over time in them.

The picture is drawn here, so it is there where scripts do not run; report.js then makes it answer to
the pointer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from pyarena.curves import Curve, thinned
from pyarena.table import MEGABYTE

_PARTS = Path(__file__).with_name("report")
_WIDTH, _HEIGHT = 960, 380
_LEFT, _TOP, _RIGHT, _BOTTOM = 60, 22, 12, 40
_FRAME = {"left": _LEFT, "top": _TOP, "width": _WIDTH - _LEFT - _RIGHT, "height": _HEIGHT - _TOP - _BOTTOM}


def document(title: str, parts: Sequence[str], script: str = "") -> str:
    """A whole page."""
    # Nothing is fetched, whatever a command line or an allocator's name may contain.
    policy = "default-src 'none'; style-src 'unsafe-inline'" + ("; script-src 'unsafe-inline'" if script else "")
    head = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_part('report.css')}</style></head><body>"
    )
    return "\n".join([head, *parts, *([script] if script else []), "</body></html>", ""])


def pairs(facts: Mapping[str, str]) -> str:
    """A list of names and what is to be said of them."""
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts.items()) + "</dl>"


def _part(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8")


def _steps(high: float, count: int) -> list[float]:
    """From 0 in steps of 1, 2 or 5 times a power of ten, about so many."""
    rough = high / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [number * step for number in range(int(high / step) + 1)]


@dataclass(frozen=True)
class Plot:
    """Curves over the same seconds, each of at least one point; the bold one is drawn thicker."""

    curves: Sequence[Curve]
    colours: Mapping[str, str]
    bold: str
    label: str  # what it shows, for who cannot see it
    caption: str

    def figure(self) -> str:
        """The picture with its legend."""
        left, width, high, bottom = _LEFT, _FRAME["width"], _FRAME["height"], _TOP + _FRAME["height"]
        seconds = max(self._seconds, 0.001)
        top = max(MEGABYTE, *(max(curve.sizes) for curve in self.curves)) * 1.05
        axes = []
        for row in _steps(top / MEGABYTE, 5):
            y = bottom - row * MEGABYTE / top * high
            axes.append(f'<line class="grid" x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}"/>'
                        f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{row:g}</text>')  # fmt: skip
        for column in _steps(seconds, 8):
            x = left + column / seconds * width
            axes.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{column:g}</text>')
        paths = []
        for curve in self.curves:
            points = (f"{left + second / seconds * width:.1f} {bottom - size / top * high:.1f}" for second, size in thinned(curve))
            bold = " ours" if curve.name == self.bold else ""
            paths.append(f'<path class="curve{bold}" stroke="{self.colours[curve.name]}" d="M{"L".join(points)}"/>')
        return f"""<figure>
<svg id="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(self.label)}">
<text x="{left - 8}" y="{_TOP - 9}" text-anchor="end">MB</text>
<text x="{left + width}" y="{_HEIGHT - 6}" text-anchor="end">seconds</text>
<g class="axes">{"".join(axes)}</g><g class="curves">{"".join(paths)}</g><g class="marks"></g></svg>
<div id="tip" class="tip" hidden></div>
<ul class="legend">{"".join(map(self._legend, self.curves))}</ul>
<figcaption>{escape(self.caption)} Point to read, drag to zoom in, double-click to zoom out, click a name to hide it.
<button type="button" id="whole" hidden>Show all</button></figcaption>
</figure>"""

    @property
    def _seconds(self) -> float:
        return max(curve.seconds[-1] for curve in self.curves)

    def _legend(self, curve: Curve) -> str:
        name = escape(curve.name)
        return (f'<li><button type="button" aria-pressed="true" data-name="{name}">'
                f'<span class="swatch" style="background:{self.colours[curve.name]}"></span>{name}</button></li>')  # fmt: skip

    def script(self) -> str:
        """What makes the picture answer; for the end of the page."""
        data = {
            "frame": _FRAME,
            "seconds": self._seconds,
            "curves": [{"name": curve.name, "colour": self.colours[curve.name], "ours": curve.name == self.bold,
                        "points": [(round(second, 4), size) for second, size in thinned(curve)]} for curve in self.curves],
        }  # fmt: skip
        samples = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
        return (f'<script type="application/json" id="samples">{samples}</script>\n'
                f"<script>\n{_part('report.js')}</script>")  # fmt: skip
