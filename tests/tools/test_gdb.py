# SPDX-License-Identifier: MIT
"""In gdb: what an address is, and how the library's structures are printed; of processes and core files."""
from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

import programs
import tools

from pyarena import blocks
from pyarena.address import FOREIGN, describe
from pyarena.record import Target

SCRIPT = programs.ROOT / "scripts" / "pyarena-gdb.py"
# Blocks of the C library's interface, each in another state; their addresses are written to a file.
BLOCKS = """
import ctypes, threading
lib = ctypes.CDLL(None)
lib.malloc.restype, lib.malloc.argtypes, lib.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
some = [lib.malloc(1000) for _ in range(4000)]
for number, block in enumerate(some[1000:3000]):
    if number % 40: lib.free(block)
lib.malloc_trim(0)
addresses = {"live": some[500], "inside": some[500] + 77, "purged": some[2020], "listed": lib.malloc(4000),
             "remote": lib.malloc(200), "medium": lib.malloc(100000), "freed_medium": lib.malloc(90000),
             "large": lib.malloc(1 << 20), "module": ctypes.cast(lib.malloc, ctypes.c_void_p).value}
lib.free(addresses["listed"])
def free_others(): lib.free(addresses["remote"]); lib.free(addresses["freed_medium"])
thread = threading.Thread(target=free_others)
thread.start(); thread.join()
def tell(path):
    open(path, "w").write(repr(addresses))
"""
NOTHING = {"PYARENA_KEEP_FREE": "0"}  # is kept: what is free is given back


def gdb(*commands: str, pid: int | None = None, files: tuple[object, ...] = ()) -> str:
    programs.need("gdb")
    words = ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off", *map(str, files)]
    words += ["-p", str(pid)] if pid else []
    for command in commands:
        words += ["-ex", command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, env=programs.environment(preload=False))
    if re.search("ptrace: (Operation not permitted|Inappropriate)", done.stderr):
        pytest.skip("debuggers are not allowed here")
    assert "Python Exception" not in done.stderr and "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def addresses_of(process: subprocess.Popen[str], path: Path) -> dict[str, int]:
    tools.tell(process, f"tell({str(path)!r})")
    return eval(path.read_text())


def check(said: dict[str, str]) -> None:
    """What is said of each address, on one line."""
    assert "the beginning of a block, in use" in said["live"] and "1,008 B" in said["live"]
    assert "77 bytes into a block, in use" in said["inside"] and "malloc" in said["inside"]
    assert re.search("it is +free: in no pool; its page is given back", said["purged"]) or blocks.ABSENT in said["purged"]
    assert blocks.ABSENT in said["listed"] or re.search("a block, free(  |$)", said["listed"])
    assert "the beginning of a block, " + blocks.REMOTE in said["remote"]
    assert "the beginning of a medium object, in use" in said["medium"]
    assert "the beginning of a medium object, " + blocks.REMOTE in said["freed_medium"]
    assert "the beginning of a large object, in use" in said["large"] and "1.00 MiB" in said["large"]
    assert FOREIGN in said["module"]


def test_each_address_is_told(tmp_path: Path) -> None:
    with tools.served(BLOCKS, variables=NOTHING) as process, Target(process.pid) as target:
        addresses = addresses_of(process, tmp_path / "addresses")
        check({name: "  ".join(f"{key} {what}" for key, what in describe(target, address))
               for name, address in addresses.items()})
        arena = addresses["live"] >> 20 << 20
        assert "the library's own records" in describe(target, arena + 100)[0][1]
        assert "never used" in describe(target, arena + (1 << 20) - 1)[0][1]


def test_each_block_of_a_pool_agrees_with_its_count() -> None:
    with tools.served(BLOCKS, variables=NOTHING) as process, Target(process.pid) as target:
        time.sleep(0.5)  # until it waits, and nothing moves any more
        snapshot = target.read()
        counted = 0
        for arena in snapshot.arenas:
            for pool in arena.pools:
                if not pool.run_units:
                    found = blocks.Blocks.read(target, arena, pool)
                    states = [found.state(number) for number in range(found.count)]
                    assert states.count(blocks.LIVE) == len(list(found.live()))
                    assert states.count(blocks.LIVE) + states.count(blocks.REMOTE) == pool.used
                    counted += len(states)
        assert counted > 20000


def test_gdb_tells_of_a_running_program(tmp_path: Path) -> None:
    with tools.served(BLOCKS, variables=NOTHING) as process:
        addresses = addresses_of(process, tmp_path / "addresses")
        out = gdb(f"source {SCRIPT}", *(f"pyarena {address}" for address in addresses.values()), "pyarena (char *)0 + 1",
                  pid=process.pid)
    parts = re.split(r"^(0x[0-9a-f]+)$", out, flags=re.MULTILINE)
    said = {int(address, 16): " ".join(what.split("\n")) for address, what in zip(parts[1::2], parts[2::2])}
    check({name: said[address] for name, address in addresses.items()})
    assert FOREIGN in said[1]


def test_gdb_prints_structures(tmp_path: Path) -> None:
    with tools.served(BLOCKS, variables=NOTHING) as process:
        address = addresses_of(process, tmp_path / "addresses")["live"]
        arena = f"((struct pa_arena *){address >> 20 << 20})"
        pool = f"*(struct pa_pool *)((char *){arena} + {arena}->pools[{(address >> 14) % 64}].first)"
        out = gdb(f"source {SCRIPT}", f"print *{arena}", f"print *{arena}->heap", f"print {pool}",
                  f"print {arena}->pools[0]", f"print /r {arena}->pools[0]", f"print {arena}->pools", pid=process.pid)
    if "No struct type named" in out:
        pytest.skip("the library has no debugging information")
    assert re.search(r"\$1 = arena of heap \d+, \d+ slots free, \d+ pages resident, \d+ given back = \{", out), out
    assert re.search(r"\$2 = heap \d+, thread, owned = \{arena_mask = ", out), out
    assert re.search(r"\$3 = (full|partial|carvable|current) pool, \d+ of 32 blocks of 1008 B in use = \{list = ", out), out
    assert "$4 = no pool begins here\n" in out and "$5 = {list = " in out and "$6 = {no pool begins here, " in out, out


def test_gdb_tells_of_a_core_file(tmp_path: Path) -> None:
    core = tmp_path / "core"
    with tools.served(BLOCKS, variables=NOTHING) as process:
        address = addresses_of(process, tmp_path / "addresses")["inside"]
        gdb(f"generate-core-file {core}", pid=process.pid)
        outside = tools.pyarena("stats", process.pid).out
    python = programs.default_python().path
    out = gdb(f"source {SCRIPT}", f"pyarena {address}", "pyarena", files=(python, core))
    assert "77 bytes into a block, in use" in out, out
    # The same blocks are live in the core file as in the process.
    lived = [line for line in outside.splitlines() if line.startswith("  live ")]
    assert len(lived) == 1 and lived[0] in out, (lived, out)


def test_gdb_loads_it_with_the_library(tmp_path: Path) -> None:
    """As installed, but for the place, which has to be said to be safe."""
    library = tmp_path / "libpyarena.so"
    shutil.copy(programs.library(), library)
    (tmp_path / "libpyarena.so-gdb.py").write_text(SCRIPT.read_text().replace('"../python"', repr(str(tools.PACKAGE))))
    with tools.served("", variables={"LD_PRELOAD": str(library)}) as process:
        programs.need("gdb")
        done = subprocess.run(["gdb", "-nx", "-batch", "-iex", f"set auto-load safe-path {tmp_path}", "-p", str(process.pid),
                               "-ex", "pyarena"], capture_output=True, text=True, timeout=300)
    if "Operation not permitted" in done.stderr:
        pytest.skip("debuggers are not allowed here")
    assert "libpyarena 0.1.0" in done.stdout, done


def test_what_cannot_be_told_is_said_in_a_line(tmp_path: Path) -> None:
    assert "libpyarena is not in this program, or the program does not run yet" in gdb(f"source {SCRIPT}", "pyarena 1")
    assert "Tell what an address is to libpyarena" in gdb(f"source {SCRIPT}", "help pyarena")
    with tools.served("", variables={"PYARENA_DISABLE": "1"}) as process:
        out = gdb(f"source {SCRIPT}", "pyarena 1", pid=process.pid)
    assert f"the library is in process {process.pid}, but stands aside there" in out
