# SPDX-License-Identifier: MIT
"""The Python module in processes that the library serves, and in those that it does not."""
from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import programs

PACKAGE = programs.ROOT / "python"
FIELDS = re.findall(r"^PYARENA_STAT\((\w+), ",
                    (programs.ROOT / "src" / "pyarena-stats.def").read_text(), re.MULTILINE)


def run(python: programs.Python, code: str, *, preload: bool = True, **variables: str) -> str:
    """What a script that uses the module prints."""
    result = programs.run([python.path, "-B", "-c", code], preload=preload,
                          variables={"PYTHONPATH": str(PACKAGE), **variables})
    assert (result.status, result.err) == (0, ""), result
    return result.out


@programs.each(programs.few_pythons())
def test_active_where_it_is_loaded(python: programs.Python) -> None:
    out = run(python, """
import pyarena
assert pyarena.is_active()
assert pyarena.version() == "0.1.0"
before = pyarena.stats()
kept = [bytes(1000) for _ in range(50000)]
after = pyarena.stats()
assert after.live_bytes - before.live_bytes > 50e6, (before, after)
assert after.live_blocks - before.live_blocks >= 50000
assert isinstance(after.live_bytes, int)
print(*pyarena.Stats._fields)
""")
    assert out.split() == FIELDS


@programs.each(programs.few_pythons())
def test_report_is_written_when_it_is_asked_for(python: programs.Python, tmp_path: Path) -> None:
    """And not again at exit, but by a child as well."""
    code = """
import os, pyarena
kept = [bytes(1000) for _ in range(20000)]
pyarena.report()
del kept
child = os.fork()
if child:
    os.waitpid(child, 0)
print(os.getpid(), child) if child else None
"""
    parent, child = run(python, code, PYARENA_STATS=f":{tmp_path}/%p").split()
    live = {path.name: json.loads(path.read_text())["stats"]["live_bytes"] for path in tmp_path.iterdir()}
    assert live.keys() == {parent, child}
    assert live[parent] > 20e6 > 10e6 > live[child], live


@programs.each(programs.few_pythons())
def test_inactive_where_it_is_not(python: programs.Python) -> None:
    code = """
import pyarena
assert not pyarena.is_active()
assert set(pyarena.stats()) == {0}
assert pyarena.trim() == 0
pyarena.keep_free(0)
pyarena.keep_free(None)
pyarena.report()
with pyarena.watch() as moved:
    kept = [bytes(1000) for _ in range(50000)]
assert 45e6 < moved.resident_change < 65e6, moved
assert "live" not in str(moved), moved
print(pyarena.version())
"""
    assert run(python, code, preload=False) == "None\n"
    assert run(python, code, PYARENA_DISABLE="1") == "0.1.0\n"


@programs.each(programs.few_pythons())
def test_trim_gives_back_what_cycles_hold(python: programs.Python) -> None:
    run(python, """
import gc, pyarena
gc.disable()
pyarena.keep_free(1 << 40)
for _ in range(30000):
    cycle = [bytes(1000)]
    cycle.append(cycle)
del cycle
assert pyarena.trim(full=False) < 10e6
assert pyarena.trim() > 25e6
assert pyarena.stats().dirty_bytes < 1e6
""")


@programs.each(programs.few_pythons())
def test_keep_free_takes_effect(python: programs.Python) -> None:
    run(python, """
import pyarena
def dirty_after_peak():
    peak = [bytes(1000) for _ in range(50000)]
    del peak
    return pyarena.stats().dirty_bytes
pyarena.keep_free(1 << 40)
assert dirty_after_peak() > 40e6
pyarena.keep_free(0)
assert dirty_after_peak() < 2e6
assert pyarena.stats().reserve_bytes == 0
pyarena.keep_free(None)
try:
    pyarena.keep_free(-1)
except ValueError as error:
    assert "bytes" in str(error)
else:
    raise AssertionError("a negative amount was taken")
""")


@programs.each(programs.few_pythons())
def test_watch_sees_what_a_block_leaves(python: programs.Python) -> None:
    run(python, """
import re, pyarena
try:
    with pyarena.watch() as moved:
        kept = [bytes(1000) for _ in range(50000)]
        assert moved.change.live_bytes > 50e6  # as of now
        raise KeyError
except KeyError:
    pass
assert moved.change.live_bytes > 50e6 and moved.resident_change > 45e6
assert 0 < moved.seconds < 60
del kept
assert moved.change.live_bytes > 50e6  # as at the end
with pyarena.watch() as moved:
    pass
assert re.match(r"live [+-]0\\.\\d MB, resident [+-]0\\.\\d MB, 0\\.\\d{3} s$", str(moved)), moved
""")


@programs.each(programs.few_pythons())
def test_works_in_forked_children_and_threads(python: programs.Python) -> None:
    run(python, """
import os, threading, pyarena
seen = []
thread = threading.Thread(target=lambda: seen.append((pyarena.is_active(), pyarena.trim())))
thread.start(); thread.join()
assert seen[0][0]
child = os.fork()
if child == 0:
    peak = [bytes(1000) for _ in range(20000)]
    os._exit(0 if pyarena.is_active() and pyarena.stats().live_bytes > 20e6 else 1)
assert os.waitpid(child, 0)[1] == 0
""")


def test_types_hold(tmp_path: Path) -> None:
    programs.need("mypy")
    use = tmp_path / "use.py"
    use.write_text("import pyarena\nnumber: int = pyarena.stats().live_bytes\n"
                   "with pyarena.watch() as moved:\n    text: str = str(moved)\n")
    result = programs.run(["mypy", "--strict", f"--cache-dir={tmp_path}", use], preload=False,
                          variables={"MYPYPATH": str(PACKAGE)})
    assert result.status == 0, result


def test_the_package_is_typed(tmp_path: Path) -> None:
    programs.need("mypy")
    result = programs.run(["mypy", "--strict", f"--cache-dir={tmp_path}", PACKAGE / "pyarena"], preload=False)
    assert result.status == 0, result


@pytest.mark.parametrize("name", ["is_active", "keep_free", "stats", "trim", "version", "watch",
                                  "Watch", "Stats"])
def test_everything_is_explained(name: str) -> None:
    out = run(programs.default_python(), f"import pyarena; print(pyarena.{name}.__doc__)")
    assert len(out) > 40


def test_hooks_for_workers_are_what_the_documents_say() -> None:
    """Those of the module's own documentation, with stand-ins for the servers."""
    code = """
import sys, types, pyarena
hooks = [block for block in pyarena.__doc__.split("\\n\\n") if block.startswith("    ") and "pyarena.trim" in block
         and "import" in block and "is_active" not in block]
assert len(hooks) == 3, hooks
assert all(len(hook.splitlines()) == 2 for hook in hooks)
calls = []
pyarena.trim = lambda: calls.append(1)
connected = []
signals = types.SimpleNamespace(task_postrun=types.SimpleNamespace(connect=lambda hook, weak: connected.append(hook)))
sys.modules["celery"] = celery = types.ModuleType("celery")
sys.modules["celery.signals"] = celery.signals = types.ModuleType("celery.signals")
celery.signals.task_postrun = signals.task_postrun
names = {"client": types.SimpleNamespace(run=lambda hook: hook())}
for hook in hooks:
    exec("\\n".join(line[4:] for line in hook.splitlines()), names)
assert len(calls) == 1  # Dask's has run
for number in range(1, 301):
    names["post_request"](types.SimpleNamespace(nr=number), None, None, None)
assert len(calls) == 4
connected[0](sender=None, task_id="1")
assert len(calls) == 5
"""
    run(programs.default_python(), code)
