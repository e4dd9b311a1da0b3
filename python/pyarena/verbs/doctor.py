# SPDX-License-Identifier: MIT
"""Find out whether the library serves a process, or can serve a command, and what keeps it from that.

Says what is well, what is worth knowing and what is wrong, each with what it means.  A command is not
run; if it is a Python, that interpreter is started with "pass" to see whether the library takes it, and to
see whether it finds the module pyarena.

Exit status: 0 if nothing is wrong, 1 if something is.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import shutil
import subprocess
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarena
from pyarena import process
from pyarena.command import add_library, add_words, library_of, program_of, words_of
from pyarena.program import Program
from pyarena.record import RecordError, Snapshot, Target
from pyarena.text import size

USAGE = "[OPTION ...] PID | -- COMMAND [ARG ...]"
SUMMARY = "say whether a process or command is served, and if not, why"
EXAMPLES = """\
  pyarena doctor 4711
  pyarena doctor -- python3 app.py
"""

WELL, NOTE, WRONG = "ok", "note", "WRONG"

# As src/option.def has them, which a test compares.
_OPTIONS = ("KEEP_FREE", "PYTHON", "DISABLE", "SCOPE", "IDLE", "THP", "TRIM_FORK", "HARDEN", "STATS", "VERBOSE")

# Libraries that bring an allocator of their own, by what their file is called.
_PRIVATE = (
    (re.compile(r"libarrow\.so"), "Arrow keeps its tables in pools of its own; ARROW_DEFAULT_MEMORY_POOL=system has them call malloc"),
    (re.compile(r"polars.*\.so"), "polars brings an allocator of its own for its tables"),
    (re.compile(r"libjvm\.so"), "the Java heap is the virtual machine's own"),
)  # fmt: skip
_ALLOCATORS = re.compile(r"lib(jemalloc|tcmalloc\w*|mimalloc|snmalloc\w*|hardened_malloc\w*|mesh)\b")


@dataclass(frozen=True)
class Finding:
    """One thing that was found."""

    grade: str
    title: str
    meaning: str = ""

    def text(self, width: int) -> str:
        """Two lines or more for a terminal."""
        lines = textwrap.wrap(self.title, width - 7, initial_indent=f"{self.grade:5}  ", subsequent_indent=" " * 7)
        if self.meaning:
            lines += textwrap.wrap(self.meaning, width, initial_indent=" " * 7, subsequent_indent=" " * 7)
        return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of this verb."""
    add_library(parser)
    add_words(parser, "a process ID, or -- and a command")


# ---- Settings -----------------------------------------------------------------------------------------


def settings(variables: Mapping[str, str]) -> Iterator[Finding]:
    """What the environment says."""
    given = {name.removeprefix("PYARENA_"): value for name, value in sorted(variables.items()) if name.startswith("PYARENA_")}
    for name in given:
        if name not in _OPTIONS:
            near = difflib.get_close_matches(name, _OPTIONS, 1)
            yield Finding(WRONG, f"PYARENA_{name} is not an option",
                          f"Perhaps PYARENA_{near[0]} is meant." if near else "libpyarena(7) has all of them.")  # fmt: skip
    own = [f"PYARENA_{name}={value}" for name, value in given.items() if name in _OPTIONS]
    if own:
        yield Finding(NOTE, f"settings: {' '.join(own)}", "libpyarena(7) tells what they do.")
    elif not given:
        yield Finding(WELL, "no settings: everything is at its default")
    if variables.get("PYARENA_DISABLE", "0") not in ("", "0", "no", "off", "false"):
        yield Finding(WRONG, "PYARENA_DISABLE is set", "The library stands aside altogether.")
    if variables.get("PYTHONMALLOC"):
        yield Finding(WRONG, f"PYTHONMALLOC={variables['PYTHONMALLOC']} is set",
                      "CPython sets this allocator after the library has set its own, so its objects are not served "
                      "by the interpreter's heap.  Leave the variable out.")  # fmt: skip
    if variables.get("PYTHONDEVMODE"):
        yield Finding(WRONG, "PYTHONDEVMODE is set", "CPython then uses its debug allocator on top of its own.")
    ignored = [name for name in variables if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"]
    if ignored:
        yield Finding(NOTE, f"{', '.join(sorted(ignored))}: not read by libpyarena",
                      "They tune glibc's malloc, which is not in use; they may go.")  # fmt: skip


# ---- The machine --------------------------------------------------------------------------------------


def _first_word(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def machine() -> Iterator[Finding]:
    """What the kernel's settings mean for memory that is given back."""
    pages = re.search(r"\[(\w+)\]", _first_word("/sys/kernel/mm/transparent_hugepage/enabled"))
    if pages and pages[1] == "always":
        yield Finding(NOTE, "transparent huge pages: always",
                      "The kernel may fill holes of 4 KiB with a page of 2 MiB.  Unless PYARENA_THP=always asks for them, "
                      "the library forbids it for its arenas; large objects, stacks and other mappings are as large as the kernel makes them.")  # fmt: skip
    elif pages:
        yield Finding(WELL, f"transparent huge pages: {pages[1]}",
                      "Each page of 4 KiB that is given back stays so." if pages[1] == "never" else
                      "Only for who asks for them, which the library does with PYARENA_THP=always: else each page of 4 KiB "
                      "that is given back stays so.")  # fmt: skip
    overcommit = _first_word("/proc/sys/vm/overcommit_memory")
    if overcommit == "2":
        yield Finding(NOTE, "the kernel does not overcommit (vm.overcommit_memory is 2)",
                      "Address space counts against its limit even where the memory was given back: watch mapped_bytes, "
                      "not only resident memory.")  # fmt: skip
    elif overcommit:
        yield Finding(WELL, f"the kernel overcommits (vm.overcommit_memory is {overcommit})",
                      "Address space whose memory was given back costs nothing.")  # fmt: skip


def memory_limits(cgroup: str, root: str = "/sys/fs/cgroup") -> Iterator[tuple[int, str]]:
    """The limits of memory of a process's control group and of those around it, with what the group is using.

    cgroup is the text of /proc/PID/cgroup.  The groups are told from the inside out.
    """
    for line in cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        place, names = ((f"{root}/memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")) if controllers else
                        (root, ("memory.max", "memory.current")))  # fmt: skip
        group = Path(path)
        for inner in (group, *group.parents):
            limit, use = (_first_word(f"{place}{inner}/{name}") for name in names)
            if limit.isdigit() and int(limit) < 2**60:
                yield int(limit), use


def _cgroup(pid: int) -> Iterator[Finding]:
    limits = list(memory_limits(process.read_text(pid, "cgroup")))
    if not limits:
        yield Finding(WELL, "no control group limits its memory")
        return
    limit, use = min(limits)
    used = f", of which {size(int(use))} are in use" if use.isdigit() else ""
    yield Finding(NOTE, f"its control group may have {size(limit)}{used}",
                  "What is given back counts no more at once.  The kernel ends processes at the limit "
                  "without asking the library; PYARENA_KEEP_FREE=0 keeps the least.")  # fmt: skip


def _address_limit(pid: int) -> Iterator[Finding]:
    found = re.search(r"^Max address space\s+(\d+)", process.read_text(pid, "limits"), re.MULTILINE)
    if found:
        yield Finding(NOTE, f"the address space is limited to {size(int(found[1]))} (ulimit -v)",
                      "Address space that is kept for reuse counts against it, although it costs no memory.")  # fmt: skip


# ---- A process ----------------------------------------------------------------------------------------


def of_process(pid: int) -> Iterator[Finding]:
    """What there is to say of a running process."""
    variables = process.environment(pid)
    paths = list(dict.fromkeys(one.path for one in process.mappings(pid) if one.path.startswith("/")))
    snapshot = None
    try:
        with Target(pid) as target:
            snapshot = target.read()
        yield Finding(WELL, f"libpyarena {snapshot.version} serves malloc")
    except RecordError as error:
        yield Finding(WRONG, str(error), _why_not_loaded(variables) if "is not loaded" in str(error) else "")
    if snapshot:
        yield from _python(snapshot, paths, variables)
    yield from settings(variables)
    for path in paths:
        name = Path(path).name
        if _ALLOCATORS.match(name):
            yield Finding(WRONG if not snapshot else NOTE, f"{name} is in the process as well",
                          "Of two that are preloaded the first serves; the other one costs memory for nothing.")  # fmt: skip
        for pattern, meaning in _PRIVATE:
            if pattern.search(name):
                yield Finding(NOTE, f"{name} is not covered", f"{meaning[0].upper()}{meaning[1:]}.")
    yield from _cgroup(pid)
    yield from _address_limit(pid)


def _why_not_loaded(variables: Mapping[str, str]) -> str:
    named = variables.get("LD_PRELOAD")
    if not variables:
        return "Its environment may not be read, so why is not known."
    if not named:
        return "LD_PRELOAD was not set when it was started; pyarena run sets it."
    return (f"LD_PRELOAD is {named}.  Either that file is not there for this process, or the program is static or "
            "runs with raised privileges: pyarena doctor -- COMMAND tells.")  # fmt: skip


def _python(snapshot: Snapshot, paths: list[str], variables: Mapping[str, str]) -> Iterator[Finding]:
    if not any(re.match(r"(lib)?python\d", Path(path).name) for path in paths):
        yield Finding(NOTE, "no CPython is in this process", "Its malloc is served, and that is all there is.")
        return
    heaps = [heap for heap in snapshot.heap_table() if heap["is_interpreter"]]
    live = sum(heap["live_bytes"] for heap in heaps)
    if heaps and live:
        yield Finding(WELL, f"CPython's objects are served: {size(live)} of them are live")
        return
    meaning = "CPython older than 3.7, a free-threaded one, and one that is loaded late keep their own allocator."
    if variables.get("PYARENA_PYTHON") == "off":
        meaning = "PYARENA_PYTHON=off asks for that."
    elif heaps:
        meaning = "The library has set its allocator, and CPython has replaced it: by PYTHONMALLOC or -X dev."
    yield Finding(WRONG, "CPython's objects are not served, malloc alone is", meaning)


# ---- A command ----------------------------------------------------------------------------------------


def of_command(words: list[str], library: Path) -> Iterator[Finding]:
    """What there is to say of a command that is not running."""
    program = program_of(words)
    obstacle = program.obstacle()
    if obstacle:
        yield Finding(WRONG, obstacle, "libpyarena cannot serve it.")
        return
    yield Finding(WELL, f"the library can be preloaded into {program.path}")
    if program.python is None:
        yield Finding(NOTE, "it is no CPython", "malloc is served; so are Pythons that it starts.")
    elif program.is_free_threaded:
        yield Finding(WRONG, "it is a free-threaded CPython",
                      "Its objects stay with the allocator that is built into it; malloc alone is served.")  # fmt: skip
    else:
        yield _trial(program, library)
        yield from _module(program)
    if "dev" in words and words[words.index("dev") - 1] == "-X" or "-Xdev" in words:
        yield Finding(WRONG, "-X dev is given", "CPython then uses its debug allocator on top of its own.")
    yield from settings(os.environ)
    yield from _cgroup(os.getpid())


def _trial(program: Program, library: Path) -> Finding:
    """Start the interpreter once and see what the library says."""
    variables = {name: value for name, value in os.environ.items()
                 if not name.startswith(("PYARENA_", "PYTHONMALLOC", "PYTHONDEVMODE"))}  # fmt: skip
    variables |= {"LD_PRELOAD": str(library), "PYARENA_VERBOSE": "1"}
    try:
        done = subprocess.run([program.path, "-E", "-S", "-c", "pass"], env=variables, capture_output=True, text=True,
                              timeout=30, check=False)  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(WRONG, f"{program.path} could not be tried: {error}")
    said = next((line for line in done.stderr.splitlines() if line.startswith("pyarena: ")), "")
    said = re.sub(r" \(pid \d+\)", "", said.removeprefix("pyarena: "))
    if done.returncode != 0 or not said:
        return Finding(WRONG, f"{program.path} was tried with the library, which said nothing",
                       done.stderr.strip()[-300:])  # fmt: skip
    if "and CPython" not in said:
        return Finding(WRONG, f"tried: libpyarena {said}, but not CPython's objects",
                       "That takes CPython 3.7 or newer, whose symbols are there when the program starts.")  # fmt: skip
    return Finding(WELL, f"tried: libpyarena {said}")


def _module(program: Program) -> Iterator[Finding]:
    """Whether the interpreter finds the module that tells a program of its own memory."""
    code = "import importlib.util as u, sys; sys.exit(3 if u.find_spec('pyarena') is None else 0)"
    try:
        done = subprocess.run([program.path, "-c", code], cwd="/", capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return
    if done.returncode == 3:
        package = Path(pyarena.__file__).parents[1]
        yield Finding(NOTE, '"import pyarena" does not find the module', "Only a program that calls it needs it.  A file "
                      f"pyarena.pth in the interpreter's site directory, with the line {package}, makes it known.")  # fmt: skip
    elif done.returncode == 0:
        yield Finding(WELL, '"import pyarena" finds the module')


def main(arguments: argparse.Namespace) -> int:
    """Print what was found."""
    words = words_of(arguments)
    if len(words) == 1 and words[0].isdigit():
        pid = int(words[0])
        findings = [*of_process(pid), *machine()]
        print(f"process {pid}: {process.command_line(pid)}\n")
    else:
        findings = [*of_command(words, library_of(arguments)), *machine()]
        print(f"command: {' '.join(words)}\n")
    width = min(shutil.get_terminal_size().columns, 100)
    for finding in findings:
        print(finding.text(width))
    wrong = sum(finding.grade == WRONG for finding in findings)
    print("\nNothing is wrong." if not wrong else f"\n{wrong} thing{'s are' if wrong > 1 else ' is'} wrong.")
    return 1 if wrong else 0
