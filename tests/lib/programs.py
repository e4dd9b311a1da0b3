# SPDX-License-Identifier: MIT
"""Run real programs with and without libpyarena: what every pytest file here shares.

Owns: where the library is (PYARENA_LIB), the clean environment that tests start programs in, the
list of CPythons on this machine, and the skip with a reason when a program is missing.
Used by: tests/preload, tests/python.  Nothing here talks to the network.
"""
from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Mapping, Sequence

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ROOT / "tests" / "preload" / "PACKAGES"

# Variables that change what an allocator, an interpreter or a tool prints.  PYARENA_LIB is among
# them: the library would rightly say that it is no option.
UNWANTED = re.compile(r"^(PYARENA_|LD_|PYTHON|MALLOC_|GLIBC_TUNABLES$|GIT_|LANG|LC_|MAKE|MFLAGS|"
                      r"NODE_|JAVA_|_JAVA|JDK_|PERL|VERBOSE$|GREP_|CC$|CXX$|CFLAGS$|CXXFLAGS$|"
                      r"CPPFLAGS$|LDFLAGS$|BASH_ENV$|ENV$|TERM$|COLUMNS$|LINES$)")


def library() -> Path:
    """The library under test: PYARENA_LIB, or the one that the default build directory holds."""
    path = Path(os.environ.get("PYARENA_LIB") or ROOT / "build" / ".libs" / "libpyarena.so")
    if not path.is_file():
        pytest.fail(f"there is no {path}: build it, or set PYARENA_LIB", pytrace=False)
    return path.resolve()


def environment(*, preload: bool, home: Path | str = "/nonexistent",
                **variables: str) -> dict[str, str]:
    """The environment that a program under test starts in."""
    env = {name: value for name, value in os.environ.items() if not UNWANTED.match(name)}
    env.update(HOME=str(home), LC_ALL="C.UTF-8", TZ="UTC", TERM="dumb")
    if preload:
        env["LD_PRELOAD"] = str(library())
    env.update(variables)
    return env


@dataclasses.dataclass
class Result:
    """How one program ended."""
    argv: Sequence[str]
    status: int  # as subprocess gives it: negative is the signal
    out: str
    err: str

    def __str__(self) -> str:
        def tail(text: str) -> str:
            return text if len(text) < 6000 else "…" + text[-6000:]
        ended = f"killed by {signal.Signals(-self.status).name}" if self.status < 0 \
            else f"exit status {self.status}"
        return (f"{' '.join(map(str, self.argv))}\n{ended}\n"
                f"--- stdout\n{tail(self.out)}\n--- stderr\n{tail(self.err)}")


def run(argv: Sequence[str | Path], *, preload: bool = True, cwd: Path | None = None,
        stdin: str = "", timeout: float = 300, home: Path | str = "/nonexistent",
        variables: Mapping[str, str] | None = None) -> Result:
    """Run argv to its end.  A program that hangs fails the test, and its children go with it."""
    argv = [str(word) for word in argv]
    env = environment(preload=preload, home=home, **(variables or {}))
    with subprocess.Popen(argv, cwd=cwd, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, errors="backslashreplace",
                          start_new_session=True) as process:
        try:
            out, err = process.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired:
            where = stacks(process.pid)
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            pytest.fail(f"no end after {timeout} seconds\n{where}\n"
                        f"{Result(argv, process.returncode, out, err)}", pytrace=False)
        except BaseException:  # the test's own time is over: nobody waits for the program any more
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return Result(argv, process.returncode, out, err)


# For an interpreter: up and down until the library's thread is there, which takes a habit, and idle until it has ended.
UNTIL_IDLE = """
import os, time
def is_watched():
    return len(os.listdir("/proc/self/task")) > 1
for _ in range(20000):
    rows = [bytes(2000) for _ in range(3000)]
    del rows
    if is_watched():
        break
while is_watched():
    time.sleep(0.1)
"""


def stacks(session: int) -> str:
    """Where the processes of a session wait, for the report of a hang."""
    lines = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                for task in stat.parent.glob("task/*"):
                    lines.append(f"{stat.parent.name}/{task.name} {fields[0]} "
                                 f"{(task / 'comm').read_text().strip()} "
                                 f"waits in {(task / 'wchan').read_text().strip() or '?'}")
        except OSError:
            continue
    return "\n".join(lines)


@functools.lru_cache(maxsize=None)
def packages() -> dict[str, str]:
    """Which Debian package brings which program: tests/preload/PACKAGES."""
    lines = (line.split("#")[0].split() for line in PACKAGES.read_text().splitlines())
    return {words[0]: words[1] for words in lines if words}


def need(*programs: str) -> None:
    """Skip the test unless all these programs are installed."""
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin"  # where Debian has servers
    for name in programs:
        if shutil.which(name, path=path) is None:
            pytest.skip(f"{name} is not installed (Debian package {packages()[name]})")


@dataclasses.dataclass(frozen=True)
class Python:
    """One CPython of this machine, as it describes itself."""
    path: str
    version: str  # as Py_GetVersion() begins, such as 3.13.0
    info: tuple[int, ...]
    has_gil: bool
    debug: bool

    @property
    def served(self) -> bool:
        """Whether the library takes the object allocator of this CPython."""
        return self.info >= (3, 7) and self.has_gil

    def config(self, *names: str) -> list[str]:
        """Variables of its sysconfig; the include directory goes by the name INCLUDE."""
        code = ("import json, sys, sysconfig\n"
                "get = lambda n: sysconfig.get_paths()['include'] if n == 'INCLUDE' "
                "else sysconfig.get_config_var(n)\n"
                "print(json.dumps([str(get(n) or '') for n in sys.argv[1:]]))")
        return json.loads(run([self.path, "-c", code, *names], preload=False).out)

    def has(self, module: str) -> bool:
        """Whether this module can be imported."""
        return run([self.path, "-c", f"import {module}"], preload=False).status == 0


DESCRIBE = """
import json, os, platform, sys, sysconfig
print(json.dumps([platform.python_implementation(), os.path.realpath(sys.executable),
                  sys.version.split()[0], list(sys.version_info[:3]),
                  not sysconfig.get_config_var("Py_GIL_DISABLED"),
                  hasattr(sys, "gettotalrefcount")]))
"""


@functools.lru_cache(maxsize=None)
def all_pythons() -> tuple[Python, ...]:
    """Every CPython found, one entry for each executable, oldest first."""
    places = [Path("/usr/bin"), Path("/usr/local/bin"),
              *Path.home().glob(".pyenv/versions/*/bin"),
              *Path("/opt").glob("*/bin"),
              *(Path(place) for place in os.environ.get("PATH", "").split(":") if place)]
    files = {file.resolve(): file for place in places for file in place.glob("python*")
             if re.fullmatch(r"python[0-9.]*t?d?", file.name) and os.access(file, os.X_OK)}
    found: dict[str, Python] = {}
    for file in files.values():
        try:
            answer = subprocess.run([file, "-c", DESCRIBE], capture_output=True, text=True,
                                    env=environment(preload=False, home=Path.home()),
                                    stdin=subprocess.DEVNULL, timeout=200, check=True).stdout
            kind, path, version, info, has_gil, debug = json.loads(answer)
        except (OSError, subprocess.SubprocessError, ValueError):
            continue  # a launcher whose interpreter is not installed
        if kind == "CPython":
            found[path] = Python(path, version, tuple(info), has_gil, debug)
    return tuple(sorted(found.values(), key=lambda python: (python.info, python.path)))


def pythons() -> list[Python]:
    """One CPython of each version, oldest first: the system's own, else the last found."""
    system = os.path.realpath("/usr/bin/python3")
    ordered = sorted(all_pythons(), key=lambda python: python.path == system)
    chosen = {(python.info[:2], python.has_gil, python.debug): python for python in ordered}
    return [python for python in all_pythons() if python in chosen.values()]


def served_pythons() -> list[Python]:
    """The CPythons whose objects the library serves."""
    return [python for python in pythons() if python.served]


def default_python() -> Python:
    """The system's own CPython: Debian's, which has numpy."""
    system = os.path.realpath("/usr/bin/python3")
    for python in pythons():
        if python.path == system:
            return python
    return served_pythons()[-1]


def few_pythons() -> list[Python]:
    """The oldest served CPython, the system's own and the newest, where all would take too long."""
    served, default = served_pythons(), default_python()
    return [python for python in served if python in (served[0], default, served[-1])]


def each(chosen: Sequence[Python]) -> "pytest.MarkDecorator":
    """Parametrize a test by CPythons; its argument is called python."""
    return pytest.mark.parametrize("python", chosen, ids=[label(python) for python in chosen])


def label(python: Python) -> str:
    """A short name, unique on this machine."""
    same = [other for other in all_pythons() if other.version == python.version]
    return python.version if len(same) == 1 else f"{python.version}.{same.index(python) + 1}"


@functools.lru_cache(maxsize=None)
def built_c(source: Path) -> Path:
    """A C program of the tests as `make check` built it, or built here when pytest is run by hand."""
    place = source.relative_to(ROOT).with_suffix("")
    built = Path(os.environ.get("TOP_BUILDDIR", "/nonexistent")) / place
    return built if built.is_file() else compile_c(source, Path(tempfile.mkdtemp()) / source.stem, "-pthread")


def compile_c(source: Path | str, target: Path, *arguments: str | Path) -> Path:
    """Compile a C program, given as a file or as text; return where the executable is."""
    need("gcc")
    if isinstance(source, str):
        text, source = source, target.with_suffix(".c")
        source.write_text(text)
    result = run(["gcc", "-std=gnu11", "-O1", "-g", "-Wall", source, "-o", target, *arguments],
                 preload=False)
    assert result.status == 0, result
    return target
