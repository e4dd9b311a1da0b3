# SPDX-License-Identifier: MIT
"""scripts/pictures: the README's pictures can be made, each from a real run."""
from __future__ import annotations

import struct
from pathlib import Path

import programs
import tools

SCRIPT = programs.ROOT / "scripts" / "pictures"


def size_of(picture: Path) -> tuple[int, int]:
    data = picture.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) > 10000
    return struct.unpack(">II", data[16:24])


def draw(*words: object, status: int = 0) -> programs.Result:
    result = programs.run([programs.default_python().path, "-B", SCRIPT, "--lib", programs.library(), *map(str, words)],
                          preload=False, timeout=500)
    assert result.status == status, result
    return result


def test_pictures_are_made(tmp_path: Path) -> None:
    """Of compare too, but that takes longer; its page has tests of its own."""
    tools.browser()
    programs.need("tmux")
    draw("--output", tmp_path, "top", "map")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.png", "top.png"]
    assert all(width in (880, 1000) and height >= 500 for width, height in map(size_of, tmp_path.iterdir()))


def test_those_of_the_readme_are_there_and_small() -> None:
    readme = (programs.ROOT / "README.md").read_text()
    for name in ("compare", "top", "map"):
        picture = programs.ROOT / "docs" / "pictures" / f"{name}.png"
        assert f"(docs/pictures/{name}.png)" in readme
        assert size_of(picture)[0] <= 1000 and picture.stat().st_size < 150000


def test_what_is_no_picture_is_told() -> None:
    tools.browser()
    programs.need("tmux")
    assert "there is no picture 'portrait'" in draw("portrait", status=2).err
