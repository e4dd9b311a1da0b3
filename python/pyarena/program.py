# SPDX-License-Identifier: MIT
"""What a command really starts, and whether a library can be preloaded into it.

The dynamic loader leaves a preload out in silence, or with a warning that nobody reads.  So the reasons
are looked for before.
"""

from __future__ import annotations

import mmap
import os
import platform
import re
import shutil
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pyarena.elf import ElfError, Image

_SANITIZERS = re.compile(r"lib(asan|hwasan|lsan|msan|tsan)\b")
_SANITIZER_SYMBOLS = ("__asan_init", "__hwasan_init", "__lsan_init", "__msan_init", "__tsan_init")
_MOST_SCRIPTS = 5  # that name one another as interpreters; the kernel follows as few


class ProgramError(Exception):
    """A command cannot be started at all; the text says why."""


@dataclass(frozen=True)
class Program:
    """The program that a command ends up with, behind scripts and env(1)."""

    path: Path
    image: Image

    @staticmethod
    def of_command(word: str) -> Program:
        """What the first word of a command starts.  Raises ProgramError."""
        found = shutil.which(word)
        if found is None:
            there = "is not an executable file" if Path(word).exists() else "is not found"
            raise ProgramError(f"{word} {there}" + ("" if "/" in word else " in PATH"))
        path = Path(found)
        for _ in range(_MOST_SCRIPTS):
            try:
                with path.open("rb") as file:
                    line = file.readline(256)
                if not line.startswith(b"#!"):
                    return Program(path.resolve(), Image.of_file(path))
            except OSError as error:
                raise ProgramError(f"{path} cannot be read: {error.strerror}") from error
            except ElfError as error:
                raise ProgramError(f"{path} is neither a script nor a program: {error}") from error
            path = Program._interpreter(path, line[2:].decode(errors="replace").split())
        raise ProgramError(f"{found} is a script of a script of a script …")

    @staticmethod
    def _interpreter(script: Path, words: list[str]) -> Path:
        if words and Path(words[0]).name == "env":
            words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        found = shutil.which(words[0]) if words else None
        if found is None:
            raise ProgramError(f"the interpreter of {script} is not found: {' '.join(words)}")
        return Path(found)

    def obstacle(self) -> str | None:
        """Why a library cannot be preloaded into it, or would stand aside there; None if nothing is in the way."""
        own = platform.machine()
        if self.image.bits != 64 or self.image.machine != own:
            return (f"{self.path} is made for {self.image.machine} ({self.image.bits} bits), "
                    f"the library for {own} (64 bits)")  # fmt: skip
        if self.image.is_static:
            return f"{self.path} is linked statically, so no dynamic loader is there to preload anything"
        if "musl" in (self.image.interpreter or ""):
            return f"{self.path} is linked with musl; the library needs glibc"
        mode = self.path.stat().st_mode
        if mode & (stat.S_ISUID | stat.S_ISGID) and os.geteuid() != 0:
            return f"{self.path} runs with raised privileges (setuid or setgid), so the loader ignores preloads"
        if self.sanitizer:
            return f"{self.path} is built with a sanitizer ({self.sanitizer}), which has to see every request itself"
        return None

    @cached_property
    def sanitizer(self) -> str | None:
        """What shows that the program is built with a sanitizer."""
        named = next((name for name in self.image.needed if _SANITIZERS.match(name)), None)
        return named or next((name for name in _SANITIZER_SYMBOLS if self.image.symbol(name) is not None), None)

    @cached_property
    def python(self) -> str | None:
        """"CPython 3.11", or None if the program is no CPython."""
        if self.image.symbol("Py_GetVersion") is None and not any("libpython" in one for one in self.image.needed):
            return None
        found = re.match(r"python(\d\.\d+)", self.path.name)
        return f"CPython {found[1]}" if found else "CPython"

    @cached_property
    def is_free_threaded(self) -> bool:
        """Is it a CPython without a GIL?  The words are in its version's text, or in its libpython's."""
        if self.python is None:
            return False
        return any(_has_text(path, b"free-threading build") for path in [self.path, *self._libpythons()])

    def _libpythons(self) -> list[Path]:
        places = [self.path.parent, self.path.parent.parent / "lib", Path("/usr/lib"), Path("/usr/local/lib"),
                  *Path("/usr/lib").glob("*-linux-gnu*")]  # fmt: skip
        names = [name for name in self.image.needed if name.startswith("libpython")]
        return [place / name for name in names for place in places if (place / name).is_file()][:1]


def _has_text(path: Path, text: bytes) -> bool:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(text) >= 0
    except (OSError, ValueError):
        return False
