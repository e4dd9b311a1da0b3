# SPDX-License-Identifier: MIT
"""The programs that bench/programs runs: what each needs, its input, its command.

Inputs are made here, the same in every run, in a directory that is given.  Each command can be run again and again
in it and does the same work each time.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.lib.tree import ROOT

_INPUTS = ROOT / "bench" / "inputs"
_PACKAGE = ROOT / "python" / "pyarena"
_PYTHON = "/usr/bin/python3"  # Debian's own, which its Python programs run on
_WORDS = [f"{first}{second}{third}" for first in "bdgklmnprst" for second in "aeiou" for third in "dlmnrst"]


@dataclass(frozen=True)
class Program:
    """A program to run.

    needs: the commands that have to be there (a Python module as python3:NAME), each with its Debian package.
    prepare: makes the input for an amount of work, 1 is the usual, in a directory; returns the command.
    """

    name: str
    summary: str
    needs: dict[str, str]
    prepare: Callable[[Path, float], list[str]]

    def missing(self) -> list[str]:
        """The Debian packages that are not installed."""
        return sorted({package for command, package in self.needs.items() if not _is_there(command)})


def _is_there(command: str) -> bool:
    name, _, module = command.partition(":")
    if module:
        words = [_PYTHON, "-c", f"import importlib.util, sys; sys.exit(not importlib.util.find_spec({module!r}))"]
        return shutil.which(_PYTHON) is not None and subprocess.run(words, check=False).returncode == 0
    return shutil.which(name) is not None


def _written(path: Path, lines: Iterator[str]) -> str:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)
    return str(path)


# The client runs without the preload.  Debian links the server to jemalloc; glibc's malloc comes first by its preload.
_REDIS = """\
cd "$1"
LD_PRELOAD=${LD_PRELOAD:-libc.so.6} redis-server --port 0 --unixsocket "$PWD/socket" --save '' --appendonly no \
    --dir "$PWD" >server.log &
server=$!
unset LD_PRELOAD
until redis-cli -s socket ping >ping.log 2>&1; do sleep 0.01; done
redis-benchmark -s socket -q -n "$2" -r 30000 -d 400 -P 16 -t set,get,incr,lpush,rpop,sadd,hset,spop,zadd,mset
redis-cli -s socket shutdown nosave
wait $server
"""


def _redis(directory: Path, scale: float) -> list[str]:
    return ["bash", "-euc", _REDIS, "redis", str(directory), str(max(1000, int(60_000 * scale)))]


def _c_functions(count: int) -> Iterator[str]:
    draw = random.Random(1)
    yield "struct node { struct node *next; long values[8]; };"
    for number in range(count):
        cases = "\n".join(
            f"\tcase {case}: sum += node->values[{draw.randrange(8)}] * {draw.randrange(1, 99)}; break;"
            for case in range(draw.randrange(5, 20))
        )
        callee = f"work{draw.randrange(number)}(node->next, kind + 1)" if number else "kind"
        yield f"""\
long work{number}(struct node *node, int kind)
{{
\tlong sum = {number};
\tfor (int i = 0; i < 8; i++)
\t\tsum += node->values[i] > kind ? node->values[i] / (i + {draw.randrange(1, 9)}) : -node->values[7 - i];
\tswitch (kind % 23) {{
{cases}
\tdefault: sum ^= kind << {draw.randrange(1, 9)};
\t}}
\twhile (node->next && sum > {draw.randrange(1000)})
\t\tsum -= {callee} | 1, node = node->next;
\treturn sum;
}}"""


def _gcc(directory: Path, scale: float) -> list[str]:
    source = _written(directory / "large.c", _c_functions(max(10, int(150 * scale))))
    return ["gcc", "-O2", "-c", "-o", str(directory / "large.o"), source]


def _statements(count: int) -> Iterator[str]:
    draw = random.Random(1)
    yield "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, town TEXT, year INTEGER, note TEXT);"
    yield "CREATE TABLE orders (person INTEGER, article TEXT, price REAL);\nBEGIN;"
    for number in range(count):
        name, town, note = (" ".join(draw.choices(_WORDS, k=length)) for length in (2, 1, draw.randrange(15)))
        yield f"INSERT INTO people VALUES ({number}, '{name}', '{town}', {draw.randrange(1930, 2010)}, '{note}');"
        yield f"INSERT INTO orders VALUES ({draw.randrange(count)}, '{draw.choice(_WORDS)}', {draw.randrange(9999)});"
    yield "COMMIT;\nCREATE INDEX by_town ON people (town, year);\nCREATE INDEX by_person ON orders (person);"
    yield "SELECT town, count(*), sum(price) FROM people JOIN orders ON person = id GROUP BY town ORDER BY 3 LIMIT 5;"
    yield "SELECT name, group_concat(article) AS all_of FROM people, orders WHERE person = id GROUP BY name LIMIT 5;"
    yield "SELECT year, max(length(note || upper(name))) FROM people WHERE note LIKE '%ba%' GROUP BY year LIMIT 5;"
    yield "UPDATE people SET note = note || name WHERE year % 3 = 0;\nDELETE FROM people WHERE year % 5 = 0;\nVACUUM;"


def _sqlite(directory: Path, scale: float) -> list[str]:
    script = _written(directory / "load.sql", _statements(max(100, int(200_000 * scale))))
    return ["sqlite3", "-bail", ":memory:", f".read {script}"]


def _commits(count: int) -> Iterator[str]:
    """A history for git fast-import, in which files of some hundred lines change by a few each time."""
    draw = random.Random(1)
    files = [[" ".join(draw.choices(_WORDS, k=8)) for _ in range(300)] for _ in range(20)]
    for number in range(count):
        lines = files[draw.randrange(len(files))]
        for _ in range(5):
            lines[draw.randrange(len(lines))] = " ".join(draw.choices(_WORDS, k=8))
        name, data = f"file{files.index(lines)}", "\n".join(lines)
        yield f"commit refs/heads/main\ncommitter A <a@b> {1_700_000_000 + number} +0000\ndata 2\nc\n"
        yield f"M 644 inline {name}\ndata {len(data)}\n{data}"


def _git(directory: Path, scale: float) -> list[str]:
    repository = directory / "repository"
    history = _written(directory / "history", _commits(max(20, int(900 * scale))))
    subprocess.run(["git", "init", "-q", repository], check=True)
    with open(history, encoding="utf-8") as stream:
        subprocess.run(["git", "-C", repository, "fast-import", "--quiet"], stdin=stream, check=True)
    return ["git", "-C", str(repository), "gc", "--aggressive", "--quiet"]


def _script(name: str, interpreter: str, amount: int) -> Callable[[Path, float], list[str]]:
    return lambda _, scale: [interpreter, str(_INPUTS / name), str(max(10, int(amount * scale)))]


def _some_modules(scale: float) -> list[str]:
    modules = sorted(map(str, _PACKAGE.glob("*.py")))
    return modules[: max(1, int(len(modules) * scale))]


def _pylint(_: Path, scale: float) -> list[str]:
    return [_PYTHON, "-m", "pylint", "--exit-zero", "--persistent=n", *_some_modules(0.1 * scale)]


def _mypy(_: Path, scale: float) -> list[str]:
    return ["mypy", "--cache-dir=/dev/null", "--follow-imports=silent", *_some_modules(scale)]


def _sphinx(directory: Path, scale: float) -> list[str]:
    draw, count = random.Random(1), max(3, int(25 * scale))
    pages = [f"page{number}" for number in range(count)]
    (directory / "conf.py").write_text("extensions = ['sphinx.ext.autodoc']\nproject = 'Pages'\n")
    _written(directory / "index.rst", iter(["Pages", "=====", ".. toctree::", "", *(f"   {page}" for page in pages)]))
    for page in pages:
        lines = [page, "=" * len(page)]
        for section in range(8):
            title, text = f"Section {section}", " ".join(draw.choices(_WORDS, k=150))
            lines += ["", title, "-" * len(title), "", text, "", f"* see :doc:`{draw.choice(pages)}`, **{text[:9]}**", ""]
            lines += ["=====  =====", "a      b", "=====  =====", "1      2", "=====  =====", ""]
        _written(directory / f"{page}.rst", iter(lines))
    return [_PYTHON, "-m", "sphinx", "-q", "-E", "-a", str(directory), str(directory / "html")]


PROGRAMS = (
    Program(
        "redis",
        "redis-server under redis-benchmark.",
        {"redis-server": "redis-server", "redis-benchmark": "redis-tools"},
        _redis,
    ),
    Program("gcc", "gcc -O2 compiles one large generated file.", {"gcc": "gcc"}, _gcc),
    Program("sqlite3", "sqlite3 loads and queries a database in memory.", {"sqlite3": "sqlite3"}, _sqlite),
    Program("git", "git gc --aggressive of a generated history.", {"git": "git"}, _git),
    Program("perl", "perl counts, sorts and matches words.", {"perl": "perl"}, _script("words.pl", "perl", 40_000)),
    Program("node", "node serves requests.", {"node": "nodejs"}, _script("buffers.js", "node", 9_000)),
    Program("pylint", "pylint on modules of the package pyarena.", {"python3:pylint": "pylint"}, _pylint),
    Program("mypy", "mypy on the package pyarena.", {"mypy": "mypy"}, _mypy),
    Program("sphinx", "sphinx-build makes pages of text.", {"python3:sphinx": "python3-sphinx"}, _sphinx),
    Program(
        "pandas",
        "pandas joins, groups, writes and reads a table.",
        {"python3:pandas": "python3-pandas"},
        _script("frames.py", _PYTHON, 250_000),
    ),
)
