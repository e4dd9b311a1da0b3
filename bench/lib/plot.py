# SPDX-License-Identifier: MIT
"""Memory over time as a picture, drawn by gnuplot."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyarena.curves import Curve, colours_of, thinned
from pyarena.table import MEGABYTE

_PANEL_WIDTH, _HEIGHT = 620, 440


class PlotError(Exception):
    """The picture could not be drawn; the text says why."""


@dataclass(frozen=True)
class Panel:
    """One program: all allocators' curves."""

    title: str
    curves: list[Curve]


def _points(curve: Curve) -> str:
    return "\n".join(f"{second:.4f} {size / MEGABYTE:.3f}" for second, size in thinned(curve))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _program(panels: Sequence[Panel], terminal: str, output: Path) -> str:
    """The gnuplot program for one picture."""
    lines = [f"set terminal {terminal}", f"set output {_quoted(str(output))}"]
    names = list(dict.fromkeys(curve.name for panel in panels for curve in panel.curves))
    colours = colours_of(names)
    lines += [
        f"set multiplot layout 1,{len(panels)}",
        "set border 3 linecolor '#888888'",
        "set tics nomirror textcolor '#333333'",
        "set grid ytics linecolor '#dddddd'",
        "set key noenhanced outside bottom center horizontal samplen 2",
        "set xlabel 'seconds'",
        "set ylabel 'resident memory, MB'",
        "set yrange [0:*]",
        "set xrange [0:*]",
        "set autoscale xfixmax",
        "set bmargin 5",
    ]
    for number, panel in enumerate(panels):
        plots = []
        for place, curve in enumerate(panel.curves):
            block = f"$data_{number}_{place}"
            lines.append(f"{block} << end_of_data\n{_points(curve)}\nend_of_data")
            width = 2.5 if curve.name.startswith("pyarena") else 1.6
            plots.append(
                f"{block} using 1:2 with lines linewidth {width} linecolor '{colours[curve.name]}' "
                f"title {_quoted(curve.name)}"
            )
        lines.append(f"set title {_quoted(panel.title)} noenhanced")
        lines.append("plot " + ", ".join(plots))
    lines.append("unset multiplot")
    return "\n".join(lines) + "\n"


def draw(panels: Sequence[Panel], stem: Path) -> list[Path]:
    """Draw all panels side by side as stem.svg and stem.png; returns their paths."""
    drawn = [Panel(panel.title, [curve for curve in panel.curves if curve.seconds]) for panel in panels]
    drawn = [panel for panel in drawn if panel.curves]
    if not drawn:
        raise PlotError("nothing was measured")
    gnuplot = shutil.which("gnuplot")
    if gnuplot is None:
        raise PlotError("gnuplot is not installed (Debian: apt-get install gnuplot-nox)")
    size = f"size {_PANEL_WIDTH * len(drawn)},{_HEIGHT}"
    terminals = {
        ".svg": f"svg {size} dynamic font 'sans-serif,13' background '#ffffff'",
        ".png": f"pngcairo {size} font 'sans,10' background '#ffffff'",
    }
    paths = []
    for suffix, terminal in terminals.items():
        path = stem.with_suffix(suffix)
        done = subprocess.run(
            [gnuplot], input=_program(drawn, terminal, path), capture_output=True, text=True, check=False
        )
        if done.returncode != 0 or not path.exists():
            raise PlotError(f"gnuplot failed: {done.stderr.strip()}")
        paths.append(path)
    return paths
