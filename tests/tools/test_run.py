# SPDX-License-Identifier: MIT
"""pyarena run: the command becomes what it was told, under the library, or says why not."""
from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

import pytest

import programs
import tools

PYTHON = programs.default_python().path


def test_the_library_serves_the_command() -> None:
    result = tools.pyarena("run", "--verbose", "--", PYTHON, "-c", "print(__import__('os').getpid())",
                           library=True)
    assert result.err.startswith("pyarena: 0.1.0 serves malloc and CPython 3.")
    assert f"(pid {result.out.strip()})" in result.err


def test_exit_status_input_and_arguments_are_the_commands_own() -> None:
    result = tools.pyarena("run", "--", PYTHON, "-c", "import sys; print(sys.argv[1:]); sys.exit(7)",
                           "--keep-free", "-h", library=True, status=7)
    assert (result.out, result.err) == ("['--keep-free', '-h']\n", "")


def test_options_reach_the_library(tmp_path: Path) -> None:
    code = "import os; print(sorted(n + '=' + v for n, v in os.environ.items() if 'PYARENA' in n))"
    result = tools.pyarena("run", "--keep-free", "64M", "--scope", "python",
                           f"--stats={tmp_path}/%p.json", "--", PYTHON, "-c", code, library=True)
    assert "PYARENA_KEEP_FREE=64M" in result.out and "PYARENA_SCOPE=python" in result.out
    report, = tmp_path.iterdir()
    options = json.loads(report.read_text())["options"]
    assert options["PYARENA_KEEP_FREE"] == "64M" and options["PYARENA_SCOPE"] == "python"
    result = tools.pyarena("run", "--stats", "--", PYTHON, "-c", "pass", library=True)
    assert "live_bytes" in result.err


def test_another_preload_stays_behind() -> None:
    library = Path("/lib/x86_64-linux-gnu/libm.so.6")
    if not library.exists():
        pytest.skip(f"there is no {library}")
    result = tools.pyarena("run", "--", PYTHON, "-c", "import os; print(os.environ['LD_PRELOAD'])",
                           library=True, variables={"LD_PRELOAD": str(library)})
    assert result.out == f"{programs.library()}:{library}\n"


def test_a_library_that_is_none_is_refused(tmp_path: Path) -> None:
    half = tmp_path / "half.so"
    half.write_bytes(programs.library().read_bytes()[:3000])
    for path in ("/etc/passwd", PYTHON, half):
        result = tools.pyarena("run", "--lib", path, "--", "true", status=2)
        assert result.err.endswith("is not libpyarena, or not for this machine\n"), result


def test_the_version_is_that_of_the_library_beside_it(tmp_path: Path) -> None:
    for place in ("scripts", "build/.libs"):
        (tmp_path / place).mkdir(parents=True)
    shutil.copy(tools.COMMAND, tmp_path / "scripts/pyarena")
    (tmp_path / "python").symlink_to(tools.PACKAGE)
    shutil.copy(programs.library(), tmp_path / "build/.libs/libpyarena.so")
    result = programs.run([PYTHON, "-B", tmp_path / "scripts/pyarena", "--version"], preload=False)
    assert (result.status, result.out, result.err) == (0, "pyarena 0.1.0\n", "")


def test_help_tells_of_a_verb() -> None:
    assert tools.pyarena("help", "trim").out == tools.pyarena("trim", "--help").out
    assert tools.pyarena("help").out == tools.pyarena("--help").out


def refused(*words: object) -> str:
    """The reason for which a command is refused: one line."""
    result = tools.pyarena("run", "--", *words, library=True, status=2)
    assert result.out == "" and result.err.count("\n") == 1, result
    assert result.err.startswith("pyarena run: ")
    return result.err


def compiled(tmp_path: Path, *options: str, compiler: str = "gcc") -> Path:
    programs.need("gcc")
    source, target = tmp_path / "program.c", tmp_path / "program"
    source.write_text("int main(void) { return 0; }\n")
    result = programs.run([compiler, source, "-o", target, *options], preload=False)
    if result.status != 0:
        pytest.skip(f"{compiler} {' '.join(options)} does not work here")
    return target


def test_static_programs_are_refused(tmp_path: Path) -> None:
    assert "linked statically" in refused(compiled(tmp_path, "-static"))


def test_sanitizer_builds_are_refused(tmp_path: Path) -> None:
    assert "sanitizer (libasan" in refused(compiled(tmp_path, "-fsanitize=address"))


def test_linked_in_sanitizers_are_seen(tmp_path: Path) -> None:
    if shutil.which("clang") is None:
        pytest.skip("clang is not installed (Debian package clang)")
    program = compiled(tmp_path, "-fsanitize=address", compiler="clang")
    assert "sanitizer (__asan_init)" in refused(program)


def test_other_machines_are_refused(tmp_path: Path) -> None:
    program = compiled(tmp_path)
    data = bytearray(program.read_bytes())
    data[18:20] = (243).to_bytes(2, "little")
    program.write_bytes(data)
    assert "made for riscv64 (64 bits), the library for " in refused(program)


def test_musl_programs_are_refused(tmp_path: Path) -> None:
    program = compiled(tmp_path, "-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1")
    assert "linked with musl" in refused(program)


def test_setuid_programs_are_refused(tmp_path: Path) -> None:
    programs.need("setpriv")
    if os.geteuid() != 0:
        pytest.skip("takes root, to become somebody else")
    program = compiled(tmp_path)
    program.chmod(0o755 | stat.S_ISUID)
    for place in (tmp_path, *list(tmp_path.parents)[:2]):
        place.chmod(0o755)
    result = programs.run(["setpriv", "--reuid=65534", "--clear-groups", PYTHON, "-B", tools.COMMAND,
                           "run", "--lib", programs.library(), "--", program], preload=False)
    if "Permission denied" in result.err or "No such file" in result.err:
        pytest.skip("the tree is not readable to other users")
    assert result.status == 2 and "raised privileges" in result.err, result


def test_free_threaded_python_is_refused(tmp_path: Path) -> None:
    """A stand-in: what tells a free-threaded CPython is a text in it."""
    programs.need("gcc")
    source = tmp_path / "python3.14t.c"
    source.write_text('const char *Py_GetVersion(void) { return "3.14 free-threading build"; }\n'
                      "int main(void) { return Py_GetVersion() == 0; }\n")
    program = tmp_path / "python3.14t"
    done = programs.run(["gcc", "-rdynamic", source, "-o", program], preload=False)
    assert done.status == 0, done
    assert "free-threaded CPython" in refused(program)


def test_scripts_are_followed_to_their_interpreter(tmp_path: Path) -> None:
    program = compiled(tmp_path, "-static")
    script = tmp_path / "script"
    script.write_text(f"#!/usr/bin/env {program}\n")
    script.chmod(0o755)
    assert f"{program} is linked statically" in refused(script)
    script.write_text("#!/nonexistent/interpreter\n")
    assert "the interpreter of" in refused(script)


@pytest.mark.parametrize("word, reason", [
    ("nosuchprogram", "nosuchprogram is not found in PATH"),
    ("/nonexistent/program", "/nonexistent/program is not found"),
    ("/etc/passwd", "/etc/passwd is not an executable file"),
])
def test_what_is_no_program_is_refused(word: str, reason: str) -> None:
    assert reason in refused(word)


def test_a_wrong_command_line_is_told_in_a_line(tmp_path: Path) -> None:
    for words, reason in [
            (["run"], "no command is given"),
            (["run", "--keep-free", "lots", "--", "true"], "'lots' is not auto, a size"),
            (["run", "--lib", tmp_path / "none.so", "--", "true"], "there is no library"),
            (["frob"], "invalid choice: 'frob'")]:
        result = tools.pyarena(*words, status=2)
        assert reason in result.err and result.err.count("\n") == 1, result


def completed(line: str) -> list[str]:
    """What bash proposes when the tab key is pressed behind a line."""
    programs.need("bash")
    words = " ".join(word or '""' for word in line.split(" "))
    code = f"source {programs.ROOT}/scripts/completion.bash; COMP_WORDS=({words}); " \
           f"COMP_CWORD={line.count(' ')}; _pyarena; echo ${{COMPREPLY[@]}}"
    return programs.run(["bash", "-c", code], preload=False).out.split()


def test_bash_completes_verbs_and_options(tmp_path: Path) -> None:
    assert completed("pyarena st") == ["stats"]
    assert {"run", "doctor", "compare", "--help"} <= set(completed("pyarena "))
    assert completed("pyarena run --ke") == ["--keep-free"]
    assert completed("pyarena run --scope py") == ["python"]
    assert "python3" in completed("pyarena run -- python")
    assert completed("pyarena help do") == ["doctor"] and "--version" in completed("pyarena --")
    file = tmp_path / "heap.map"
    file.touch()
    assert completed(f"pyarena map {tmp_path}/he") == [str(file)] == completed(f"pyarena run --map {tmp_path}/he")
    with tools.served("") as process:
        assert str(process.pid) in completed("pyarena stats ")


def test_help_tells_of_every_verb() -> None:
    whole = tools.pyarena("--help").out
    verbs = sorted(path.stem for path in (tools.PACKAGE / "pyarena" / "verbs").glob("[!_]*.py"))
    assert len(verbs) >= 3
    for verb in verbs:
        assert f"    {verb} " in whole, verb
        text = tools.pyarena(verb, "--help").out
        assert "examples:\n  pyarena " + verb in text, text
    assert tools.pyarena(status=2).out == whole
