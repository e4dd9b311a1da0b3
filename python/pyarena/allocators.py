# SPDX-License-Identifier: MIT
"""The allocators that are compared: where their libraries are, and the environment each runs in.

stock is CPython as it comes.  glibc is CPython with PYTHONMALLOC=malloc.  The other allocators are
preloaded, also with PYTHONMALLOC=malloc, because only so do they own CPython's objects.  libpyarena is
preloaded and nothing else, as its user does it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BASE = "stock"

# The name of a peer, the library it is loaded from, and Debian's package for it.
_PEERS = (
    ("jemalloc", "libjemalloc.so.2", "libjemalloc2"),
    ("mimalloc", "libmimalloc.so.2", "libmimalloc2.0"),
    ("tcmalloc", "libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"),
)

# Variables that select an allocator, and those that tune one or the interpreter.
_SELECTING = ("LD_PRELOAD", "PYTHONMALLOC")
_TUNING = ("GLIBC_TUNABLES", "MALLOC_", "MIMALLOC_", "TCMALLOC_", "PYARENA_", "PYTHON")


class AllocatorError(Exception):
    """An allocator that was asked for cannot be measured; the text says why."""


@dataclass(frozen=True)
class Allocator:
    """One column: a library to preload (or none), and variables to set."""

    name: str
    library: Path | None = None
    variables: tuple[tuple[str, str], ...] = ()

    def settings(self) -> dict[str, str]:
        """The environment variables that select this allocator."""
        chosen = dict(self.variables)
        if self.library is not None:
            chosen["LD_PRELOAD"] = str(self.library)
        return chosen

    def environment(self, inherited: Mapping[str, str], *, reproducible: bool) -> dict[str, str]:
        """The environment of a measured program.

        reproducible, for benchmarks, drops what tunes an allocator or the interpreter and fixes the hash seed; a user's
        own script keeps all that.
        """
        kept = {
            name: value
            for name, value in inherited.items()
            if name not in _SELECTING and not (reproducible and name.startswith(_TUNING))
        }
        if reproducible:
            kept["PYTHONHASHSEED"] = "0"
            kept["PYTHONDONTWRITEBYTECODE"] = "1"
        kept.update(self.settings())
        return kept


def find_library(name: str) -> Path | None:
    """The path of a shared library such as libjemalloc.so.2, or None."""
    ldconfig = shutil.which("ldconfig", path=os.environ.get("PATH", "") + ":/sbin:/usr/sbin")
    if ldconfig is not None:
        listing = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=False).stdout
        for line in listing.splitlines():
            entry, arrow, path = line.strip().partition(" => ")
            if arrow and entry.split(" ", 1)[0] == name and _is_native(Path(path)):
                return Path(path)
    for pattern in ("usr/local/lib", "usr/lib/*-linux-gnu*", "usr/lib64", "usr/lib"):
        for directory in sorted(Path("/").glob(pattern)):
            candidate = directory / name
            if candidate.exists() and _is_native(candidate):
                return candidate
    return None


def _is_native(library: Path) -> bool:
    """Is the library's ELF class that of this interpreter?"""
    try:
        with library.open("rb") as file:
            head = file.read(5)
    except OSError:
        return False
    return head == b"\x7fELF" + (b"\x02" if sys.maxsize > 2**32 else b"\x01")


def _owns_python(library: Path) -> bool:
    """Does the library take CPython's objects by itself?  libpyarena does; it exports pyarena_version."""
    return b"\0pyarena_version\0" in library.read_bytes()


def parse_library(text: str) -> Allocator:
    """An allocator from NAME=PATH, or from "NAME=PATH VARIABLE=VALUE …" with variables of its own."""
    words = shlex.split(text)
    name, equals, path = words[0].partition("=") if words else ("", "", "")
    if not (name and equals and path):
        raise AllocatorError(f"{text!r} is not NAME=PATH")
    library = Path(path).expanduser().resolve()
    if not library.is_file():
        raise AllocatorError(f"{name}: there is no file {library}")
    variables: dict[str, str] = {} if _owns_python(library) else {"PYTHONMALLOC": "malloc"}
    for word in words[1:]:
        variable, equals, value = word.partition("=")
        if not equals:
            raise AllocatorError(f"{name}: {word!r} is not VARIABLE=VALUE")
        variables[variable] = value
    return Allocator(name, library, tuple(variables.items()))


def collect(
    wanted: Sequence[str] | None, added: Iterable[Allocator], *, library: Path, plain: bool = False
) -> tuple[list[Allocator], list[str]]:
    """The columns in order, stock first, and a warning for each known allocator that is not there.

    wanted limits the columns to these names; a name that is not there is then an error.  added
    are further ones; one with a known name replaces it.  plain adds each peer once more without
    PYTHONMALLOC, as name "jemalloc-plain".  library is libpyarena.
    """
    columns = {BASE: Allocator(BASE), "glibc": Allocator("glibc", None, (("PYTHONMALLOC", "malloc"),))}
    missing: dict[str, str] = {}
    for name, soname, package in _PEERS:
        peer = find_library(soname)
        if peer is None:
            missing[name] = f"{name} is not installed (Debian: apt-get install {package})"
            continue
        columns[name] = Allocator(name, peer, (("PYTHONMALLOC", "malloc"),))
        if plain:
            columns[f"{name}-plain"] = Allocator(f"{name}-plain", peer)
    if library.is_file():
        columns["pyarena"] = Allocator("pyarena", library)
    else:
        missing["pyarena"] = f"libpyarena.so is not built: there is no {library}"
    for allocator in added:
        columns[allocator.name] = allocator
        missing.pop(allocator.name, None)
    if wanted is None:
        return list(columns.values()), list(missing.values())
    for name in wanted:
        if name not in columns:
            raise AllocatorError(missing.get(name, f"no allocator {name}; known: {', '.join(columns)}"))
    return [columns[name] for name in columns if name == BASE or name in wanted], []


def check(allocator: Allocator, python: Path | None = None) -> None:
    """Raise AllocatorError unless the library is really mapped into a process of this interpreter, or of cat(1).

    The dynamic loader only warns when it cannot preload, and stock would be measured instead.
    """
    if allocator.library is None:
        return
    maps = "/proc/self/maps"
    program = ["cat", maps] if python is None else [str(python), "-c", f"print(open('{maps}').read())"]
    done = subprocess.run(
        program,
        env=allocator.environment(os.environ, reproducible=True),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise AllocatorError(f"{allocator.name}: {program[0]} fails under {allocator.library}: {done.stderr.strip()}")
    if str(allocator.library.resolve()) not in done.stdout:
        raise AllocatorError(f"{allocator.name}: {allocator.library} is not loaded: {done.stderr.strip()}")
