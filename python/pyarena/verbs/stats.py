# SPDX-License-Identifier: MIT
"""Show what the library tells of a running process, or of a report that it wrote at exit.

TARGET is the ID of a process with the library in it, or a file that PYARENA_STATS=:FILE (or pyarena run
--stats=FILE) has written, or one of map:FILE (pyarena run --map FILE).  The process is read from outside:
it is not stopped and does not notice.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from pyarena import process
from pyarena.command import Refusal
from pyarena.statistics_text import Report, prometheus, text

USAGE = "[OPTION ...] TARGET ..."
SUMMARY = "show where the memory of a process is"
EXAMPLES = """\
  pyarena stats 4711
  pyarena stats --json 4711 | jq .stats.live_bytes
  pyarena stats --tree --prometheus --output /var/lib/node_exporter/app.prom 4711
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of this verb."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--all", action="store_true", help="every field with its meaning as well")
    form.add_argument("--json", action="store_true", help="JSON in the form of the report at exit; a list for several targets")
    form.add_argument("--prometheus", action="store_true", help="Prometheus' text format, for its textfile collector")
    parser.add_argument("--tree", action="store_true", help="also the descendants of a process that have the library")
    parser.add_argument("--output", type=Path, metavar="FILE",
                        help="write to FILE, which is replaced at once: a reader never sees half of it")  # fmt: skip
    parser.add_argument("target", nargs="+", metavar="TARGET", help="a process ID or a file")


def _reports(target: str, *, tree: bool) -> list[Report]:
    if not target.isdigit():
        return [Report.of_file(Path(target))]
    pid = int(target)
    reports = [Report.of_process(pid)]
    for child in process.descendants(pid) if tree else []:
        try:
            reports.append(Report.of_process(child))
        except process.ProcessError:
            continue  # it has ended, or is a program without the library
    return reports


def _replace(path: Path, content: str) -> None:
    """Write a file so that whoever reads it sees all of the old one or all of the new one."""
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.",
                                         delete=False) as file:  # fmt: skip
            file.write(content)
        os.chmod(file.name, 0o644)
        os.replace(file.name, path)
    except OSError as error:
        raise Refusal(f"{path} cannot be written: {error.strerror}") from error


def main(arguments: argparse.Namespace) -> int:
    """Print the reports."""
    reports = [report for target in arguments.target for report in _reports(target, tree=arguments.tree)]
    if arguments.prometheus:
        content = prometheus(reports)
    elif arguments.json:
        values = [report.values for report in reports]
        content = json.dumps(values[0] if len(values) == 1 else values, indent=1) + "\n"
    else:
        content = "\n\n\n".join(text(report, everything=arguments.all) for report in reports) + "\n"
    if arguments.output:
        _replace(arguments.output, content)
    else:
        sys.stdout.write(content)
    return 0
