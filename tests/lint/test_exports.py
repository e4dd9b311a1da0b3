# SPDX-License-Identifier: MIT
"""The built library exports exactly what preload/pyarena.map lists, and is linked as it must be."""
from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import tree

MAP = tree.ROOT / "preload" / "pyarena.map"
HEADER = tree.ROOT / "src" / "pyarena.h"

# Names of glibc's that belong to malloc.
FAMILY = re.compile(r"c?free|[cm]alloc\w*|realloc\w*|mallinfo2?|mallopt|p?valloc|(posix_)?memalign"
                    r"|aligned_alloc|free_\w*sized")
OPERATOR = re.compile(r"_Z(nw|na|dl|da)[A-Z]\w*|_Z(nw|na)m\w*")


def output(*argv: str | Path) -> str:
    return subprocess.run([str(word) for word in argv], check=True, capture_output=True, text=True,
                          env={**os.environ, "LC_ALL": "C"}).stdout


def library() -> Path:
    path = Path(os.environ["PYARENA_LIB"])
    assert path.is_file(), f"there is no {path}"
    return path


def dynamic_symbols(path: Path, kind: str) -> set[str]:
    return {line.split()[-1].partition("@")[0]
            for line in output("nm", "-D", kind, path).splitlines() if line}


def loaded_library(name: str) -> Path:
    """Where the dynamic linker finds a library such as libc.so.6."""
    path = Path(output("gcc", f"-print-file-name={name}").strip())
    assert path.is_file(), f"gcc does not know {name}"
    return path


def listed() -> set[str]:
    """The names in the map, with pyarena_* replaced by what pyarena.h declares."""
    text = re.sub(r"/\*.*?\*/", "", MAP.read_text(), flags=re.DOTALL)
    names = set(re.findall(r"([\w*]+);", text.partition("global:")[2].partition("local:")[0]))
    assert len(names) > 30, f"{MAP.name} lists next to nothing"
    assert "pyarena_*" in names
    header = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    declared = set(re.findall(r"\b(pyarena_\w+)\s*\([^)]*\);", header))
    assert len(declared) >= 5, f"{HEADER.name} declares next to nothing"
    return names - {"pyarena_*"} | declared


def test_library_exports_the_list() -> None:
    exported = dynamic_symbols(library(), "--defined-only")
    tree.report([f"{name}: exported, but not in the list" for name in sorted(exported - listed())]
                + [f"{name}: in the list, but not exported"
                   for name in sorted(listed() - exported)])


def test_list_covers_the_c_library() -> None:
    family = {name for name in dynamic_symbols(loaded_library("libc.so.6"), "--defined-only")
              if FAMILY.fullmatch(name)}
    assert len(family) > 15, f"found only {family} in the C library"
    tree.report([f"{name}: the C library has it, preload/pyarena.map has not"
                 for name in sorted(family - listed())])


def test_list_covers_the_cxx_library() -> None:
    operators = {name for name in dynamic_symbols(loaded_library("libstdc++.so.6"),
                                                  "--defined-only")
                 if OPERATOR.fullmatch(name)}
    assert len(operators) >= 20, f"found only {operators} in the C++ library"
    tree.report([f"{name}: the C++ library has it, preload/pyarena.map has not"
                 for name in sorted(operators - listed())])


def test_linked_as_it_must_be() -> None:
    dynamic = output("readelf", "--dynamic", "--wide", library())
    wrong = [f"{flag} is not set" for flag in ("NODELETE", "NOW")
             if not re.search(rf"\bFlags:.*\b{flag}\b", dynamic)]
    wrong += [f"{tag} is there" for tag in ("TEXTREL", "RPATH", "RUNPATH")
              if f"({tag})" in dynamic]
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)
    assert needed, "needs not even the C library"
    wrong += [f"needs {name}" for name in needed
              if not re.match(r"(libc|libpthread|libdl|ld-linux.*)\.so", name)]
    assert re.search(r"\(SONAME\).*\[libpyarena\.so\]", dynamic), "SONAME is not libpyarena.so"
    tree.report(wrong)


def test_thread_locals_need_no_call() -> None:
    """To find one by __tls_get_addr may allocate, and the allocator would call itself."""
    relocations = output("readelf", "--relocs", "--wide", library())
    assert re.search(r"_TPOFF64|_TLS_TPREL", relocations), "the library has no thread locals"
    assert not re.search(r"DTPMOD|TLSDESC", relocations)
