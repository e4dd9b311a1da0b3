# SPDX-License-Identifier: MIT
"""Run a command with libpyarena preloaded.

Sets LD_PRELOAD and the library's options, and becomes the command: same process, same input and output,
same exit status.  A preload that is set already stays, behind the library.

With --report it stays beside the command, which is then a child process with the same input and output,
hands signals on to it, and ends as it did.

Refuses, with the reason, where a preload would do nothing: static, setuid and musl programs, other
architectures, sanitizer builds, and free-threaded CPython, whose objects need the allocator in it.
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from pyarena.command import Refusal, add_library, add_words, check_writable, library_of, program_of, words_of, write_file
from pyarena.program import Program
from pyarena.running import with_early_report

USAGE = "[OPTION ...] -- COMMAND [ARG ...]"
SUMMARY = "run a command with the library preloaded"
EXAMPLES = """\
  pyarena run -- python3 app.py --its-option
  pyarena run --keep-free 64M --stats -- gunicorn app:server
  pyarena run --scope python -- ./service.sh      # only Python in it is served
  pyarena run --report job.html -- python3 job.py
  pyarena run --map job.map -- python3 job.py; pyarena map job.map
"""

_SIZE = re.compile(r"auto|\d+[KMG]?|\d+%", re.IGNORECASE)


def _keep_free(text: str) -> str:
    if not _SIZE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not auto, a size such as 64M, or a share such as 20%")
    return text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of this verb."""
    parser.add_argument("--keep-free", type=_keep_free, metavar="AMOUNT",
                        help="free memory to keep for quick reuse: auto, a size such as 64M, or a share such as 20%%")
    parser.add_argument("--scope", choices=("all", "python"),
                        help="serve all processes that the command starts (default), or only CPython's")
    parser.add_argument("--stats", nargs="?", const="1", metavar="FILE",
                        help="report at exit: on standard error, or as JSON in FILE (%%p in it is the process ID); "
                        "FILE goes with =, as in --stats=report.%%p.json")  # fmt: skip
    parser.add_argument("--map", metavar="FILE",
                        help="write the state of each page at exit to FILE (%%p in it is the process ID), for pyarena map; of a "
                        "Python when its script has ended and its objects still live")  # fmt: skip
    parser.add_argument("--report", type=Path, metavar="FILE",
                        help="watch the command, and at its end write a page with its memory over time; it needs no other file")
    parser.add_argument("--verbose", action="store_true", help="have the library tell that it is there")
    add_library(parser)
    add_words(parser)


def check(words: list[str]) -> Program:
    """What a command starts.  Raises Refusal if the library can do nothing for it."""
    program = program_of(words)
    obstacle = program.obstacle()
    if obstacle:
        raise Refusal(obstacle)
    if program.is_free_threaded:
        raise Refusal(f"{program.path} is a free-threaded CPython: its objects stay with the allocator that is built "
                      "into it, so there is little to gain; LD_PRELOAD set by hand serves its malloc alone")  # fmt: skip
    return program


def settings(arguments: argparse.Namespace) -> dict[str, str]:
    """The environment variables that the options stand for."""
    chosen = {"PYARENA_KEEP_FREE": arguments.keep_free, "PYARENA_SCOPE": arguments.scope,
              "PYARENA_VERBOSE": "1" if arguments.verbose else None}  # fmt: skip
    if arguments.stats is not None:
        chosen["PYARENA_STATS"] = "1" if arguments.stats == "1" else f":{os.path.abspath(arguments.stats)}"
    if arguments.map is not None:
        chosen["PYARENA_STATS"] = f"map:{os.path.abspath(arguments.map)}"
    return {name: value for name, value in chosen.items() if value is not None}


def preload(library: str, inherited: str) -> str:
    """LD_PRELOAD with the library first: of two allocators the first one serves."""
    others = [word for word in re.split(r"[\s:]+", inherited) if word and word != library]
    return ":".join([library, *others])


def main(arguments: argparse.Namespace) -> int:
    """Become the command."""
    words = words_of(arguments)
    library = library_of(arguments)
    check(words)
    if arguments.map is not None and arguments.stats is not None:
        raise Refusal("--map and --stats are one report; pyarena stats reads the file that --map writes as well")
    for path in (arguments.map, arguments.stats):
        if path not in (None, "1"):
            check_writable(Path(path))
    environment = {**os.environ, **settings(arguments)}
    if arguments.map is not None:
        environment = with_early_report(environment)
    environment["LD_PRELOAD"] = preload(str(library), environment.get("LD_PRELOAD", ""))
    try:
        if arguments.report:
            return _recorded(words, environment, arguments.report)
        os.execvpe(words[0], words, environment)
    except OSError as error:
        raise Refusal(f"{words[0]} cannot be started: {error.strerror}") from error


def _recorded(words: list[str], environment: dict[str, str], path: Path) -> int:
    from pyarena.recorded import end_as, record

    check_writable(path)
    run = record(words, environment)
    write_file(path, run.page())
    return end_as(run.status)
