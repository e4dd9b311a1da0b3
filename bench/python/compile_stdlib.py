# SPDX-License-Identifier: MIT
"""The standard library's sources are compiled in one process; every 20th code object survives."""

import glob
import os

import _probe


def main(probe: _probe.Probe, scale: float) -> None:
    library = os.path.dirname(os.__file__)
    names = glob.glob(os.path.join(library, "*.py")) + glob.glob(os.path.join(library, "[a-z]*", "*.py"))
    names = sorted(name for name in names if "site-packages" not in name and "dist-packages" not in name)
    sources = []
    for name in names[:: max(1, round(1.5 / scale))]:
        with open(name, "rb") as file:
            sources.append((name, file.read()))
    kept = []
    with probe.timed():
        for number, (name, source) in enumerate(sources):
            code = compile(source, name, "exec")
            if number % 20 == 0:
                kept.append(code)
        del code
    probe.after()
    probe.settle()
    assert kept


_probe.run(main)
