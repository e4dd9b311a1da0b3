# SPDX-License-Identifier: MIT
"""The command pyarena: its verbs, its help, and how it says no.

A verb is a module of pyarena.verbs with USAGE, SUMMARY (one line), a docstring (its help text),
EXAMPLES, add_arguments(parser) and main(arguments), which returns the exit status.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import platform
import re
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from pyarena.elf import ElfError, Image
from pyarena.process import ProcessError
from pyarena.program import Program, ProgramError
from pyarena.record import SYMBOL

VERBS = ("run", "stats", "doctor", "compare", "top", "map", "pins", "trim")

_DESCRIPTION = """\
See where the memory of Python processes is, and have libpyarena give it back.

libpyarena is a malloc that is preloaded under CPython and gives free memory back to the system while
the process runs.  This command runs programs under it, looks into running ones, and says what it finds.
"""

_EPILOG = """\
"pyarena VERB --help" tells all about a verb, as does "pyarena help VERB"; pyarena(1) is the manual.

Exit status: 0 if all went well, 1 if something is wrong with what was looked at, 2 if the request was
refused, which is told in one line.
"""


_VERSION_OFFSET, _VERSION_BYTES = 16, 16  # in the record, alike in all its forms


class Refusal(Exception):
    """The command will not or cannot do what it was asked for; the text says why, in one line."""


class _Parser(argparse.ArgumentParser):
    """Tells a wrong command line in one line, with where to read more."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(2, f"{self.prog}: {message} ({self.prog} --help tells more)\n")


def process_id(text: str) -> int:
    """A process ID, as the type of an argument."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no process ID")
    return int(text)


def add_words(parser: argparse.ArgumentParser, what: str = "the command to run, after --") -> None:
    """The command that a verb is about: everything behind its options."""
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND [ARG ...]", help=what)


def words_of(arguments: argparse.Namespace) -> list[str]:
    """The command that was given.  Raises Refusal if there is none."""
    words = list(arguments.words)
    if words[:1] == ["--"]:
        words = words[1:]
    if not words:
        raise Refusal(f'no command is given; as in "pyarena {arguments.verb} -- python3 app.py"')
    return words


def program_of(words: list[str]) -> Program:
    """What a command starts.  Raises Refusal if that cannot be told."""
    try:
        return Program.of_command(words[0])
    except ProgramError as error:
        raise Refusal(str(error)) from error


def write_file(path: Path, content: str | bytes) -> None:
    """Write text, or what is none, to a file that the command line names.  Raises Refusal if it cannot be written."""
    try:
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    except OSError as error:
        raise Refusal(f"{path} cannot be written: {error.strerror}") from error


def check_writable(path: Path) -> None:
    """Raises Refusal if a file that is to be written in the end cannot be: before minutes are spent."""
    if not os.access(path.resolve().parent, os.W_OK):
        raise Refusal(f"{path} cannot be written: there is no such directory, or it may not be written to")


def add_library(parser: argparse.ArgumentParser) -> None:
    """The option that names another library."""
    parser.add_argument(
        "--lib", type=Path, metavar="FILE", help="the libpyarena.so to preload (default: the one installed beside this command)"
    )  # fmt: skip


def library_of(arguments: argparse.Namespace) -> Path:
    """The library to preload.  Raises Refusal if it is not there."""
    path: Path = (arguments.lib or arguments.installed_library).resolve()
    if not path.is_file():
        raise Refusal(f"there is no library {path}; --lib FILE names another")
    if not library_version(path):
        raise Refusal(f"{path} is not libpyarena, or not for this machine")
    if re.search(r"[\s:]", str(path)):
        raise Refusal(f"LD_PRELOAD cannot name {str(path)!r}: there is a blank or a colon in it")
    return path


def library_version(path: Path) -> str:
    """The version of a libpyarena.so, from its record (src/record.h); empty if it is none that can be preloaded here."""
    try:
        image = Image.of_file(path)
        address = image.symbol(SYMBOL) if image.bits == 64 and image.machine == platform.machine() else None
        return "" if address is None else image.text(address + _VERSION_OFFSET, _VERSION_BYTES)
    except (OSError, ElfError, struct.error):
        return ""


def _verb(name: str) -> ModuleType:
    return importlib.import_module(f"pyarena.verbs.{name}")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    made = _Parser(prog="pyarena", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=raw)
    made.add_argument("--version", action="store_true", help="tell the version, which is the library's, and exit")
    verbs = made.add_subparsers(dest="verb", metavar="VERB", title="verbs", parser_class=_Parser)
    for name in VERBS:
        module = _verb(name)
        verb = verbs.add_parser(name, usage=f"pyarena {name} {module.USAGE}", help=module.SUMMARY,
                                description=module.__doc__, formatter_class=raw,
                                epilog=f"examples:\n{module.EXAMPLES}")  # fmt: skip
        module.add_arguments(verb)
    return made


def main(words: Sequence[str], library: str) -> int:
    """Run the command; library is the one that is installed beside it.  Returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a locale without the letters is no reason to end
    whole = parser()
    words = [*words[1:2], "--help"] if words[:1] == ["help"] else words
    arguments = whole.parse_args(words)
    if arguments.version:
        print(f"pyarena {library_version(Path(library))}")
        return 0
    if arguments.verb is None:
        whole.print_help()
        return 2
    arguments.installed_library = Path(library)
    try:
        return int(_verb(arguments.verb).main(arguments))
    except (Refusal, ProcessError) as error:
        print(f"pyarena {arguments.verb}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
