# SPDX-License-Identifier: MIT
"""Each file of the library includes only headers of its own layer and of lower ones: src/LAYERS."""
from __future__ import annotations

import re
from pathlib import Path

import tree

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)
SYSTEM_INCLUDE = re.compile(r"^\s*#\s*include\s*<([^>]+)>", re.MULTILINE)

# Headers that declare system calls: those are os.c's.
SYSTEM_CALLS = re.compile(r"(sys/(mman|syscall|uio|resource|prctl|stat)|unistd|fcntl|sched|time"
                          r"|linux/\w+)\.h")


def read_layers() -> dict[str, int]:
    """Module, or directory with its slash, to the number of its layer; 0 is the lowest."""
    lines = [line.partition("#")[0].split()
             for line in (tree.ROOT / "src" / "LAYERS").read_text().splitlines()]
    layers: dict[str, int] = {}
    for number, names in enumerate(names for names in lines if names):
        for name in names:
            assert name not in layers, f"src/LAYERS: {name} stands twice"
            layers[name] = number
    assert len(layers) > 10, "src/LAYERS lists next to nothing"
    return layers


def layer_of(path: Path, layers: dict[str, int]) -> int | None:
    directory = path.parent.name + "/"
    return layers.get(directory, layers.get(path.stem) if directory == "src/" else None)


def library_files() -> list[Path]:
    return tree.files(lambda path: path.suffix in (".c", ".h", ".def")
                      and path.parent.name in ("src", "preload")
                      and path.parent.parent == tree.ROOT, at_least=30)


def test_every_file_has_a_layer() -> None:
    layers = read_layers()
    tree.report([f"{tree.relative(path)}: not in src/LAYERS" for path in library_files()
                 if layer_of(path, layers) is None])


def test_every_layer_has_a_file() -> None:
    stems = {path.stem for path in library_files()}
    tree.report([f"src/LAYERS: there is no src/{name}.*" for name in read_layers()
                 if not name.endswith("/") and name not in stems])


def test_includes_go_down() -> None:
    layers = read_layers()
    wrong = []
    checked = 0
    for path in library_files():
        for name in INCLUDE.findall(path.read_text()):
            places = [path.parent / name, tree.ROOT / "src" / name]
            included = next((place for place in places if place.is_file()), None)
            if included is None:
                wrong.append(f"{tree.relative(path)}: there is no {name}")
                continue
            checked += 1
            own, other = layer_of(path, layers), layer_of(included, layers)
            if own is not None and other is not None and other > own:
                wrong.append(f"{tree.relative(path)} includes {name} of a higher layer")
    tree.report(wrong)
    assert checked >= 50, f"only {checked} includes found"


def test_only_os_calls_the_system() -> None:
    tree.report([f"{tree.relative(path)} includes <{name}>" for path in library_files()
                 if path.parent.name == "src" and path.stem != "os"
                 for name in SYSTEM_INCLUDE.findall(path.read_text())
                 if SYSTEM_CALLS.fullmatch(name)])
    text = (tree.ROOT / "src" / "os.c").read_text()
    assert any(map(SYSTEM_CALLS.fullmatch, SYSTEM_INCLUDE.findall(text))), "os.c calls nothing"
