# SPDX-License-Identifier: MIT
"""The environment variables, as the option table declares them: what is taken, what is told."""
from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest

import programs

TABLE = re.findall(r'PA_OPTION\(\w+, "(\w+)", (PA_KIND_\w+), "([^"]*)", "([^"]*)"',
                   (programs.ROOT / "src" / "option.def").read_text())
DEFAULT = {name: default for name, _, default, _ in TABLE}
VALUES = {name: values for name, _, _, values in TABLE}

TAKEN = {
    "KEEP_FREE": ["auto", "0", "1", "4096", "512K", "64M", "1G", "0%", "50%", "1000%"],
    "PYTHON": ["auto", "off"],
    "DISABLE": ["0", "1", "no", "yes", "off", "on", "false", "true"],
    "SCOPE": ["all", "python"],
    "IDLE": ["auto", "off"],
    "THP": ["auto", "never", "always"],
    "TRIM_FORK": ["0", "1"],
    "HARDEN": ["0", "1"],
    "STATS": ["0", ":/dev/null"],
    "VERBOSE": ["0", "no", "off", "false"],
}
REFUSED = {
    "KEEP_FREE": ["banana", "-1", "1001%", "-5%", "%", "12X", "K", "5 M", "1e9", "0x10",
                  "99999999999999999999", "99999999999G", "99999999999999999999%", "auto ", "AUTOMATIC"],
    "PYTHON": ["1", "yes", "autooff", "3.11"],
    "DISABLE": ["2", "maybe", "-1", "01x"],
    "SCOPE": ["bash", "a", "pythons"],
    "IDLE": ["on", "1"],
    "THP": ["madvise", "0"],
    "TRIM_FORK": ["auto", "2"],
    "HARDEN": ["2", "full"],
    "STATS": ["2", "xml", "jsonx", "file", ":"],
    "VERBOSE": ["loud", "3"],
}
UNKNOWN = {"KEPFREE": "KEEP_FREE", "KEEPFREE": "KEEP_FREE", "KEEP_FREEE": "KEEP_FREE",
           "STAT": "STATS", "keep_free": "KEEP_FREE", "PYTON": "PYTHON", "DISABLED": "DISABLE",
           "SCOP": "SCOPE", "VERBOS": "VERBOSE", "VERBOSITY": "VERBOSE", "IDL": "IDLE"}


def warnings(variables: dict[str, str]) -> list[str]:
    """What one short program writes to standard error; it must work all the same."""
    result = programs.run(["sort"], stdin="b\na\n", variables=variables)
    assert result.status == 0 and result.out == "a\nb\n", result
    return result.err.splitlines()


def test_these_lists_cover_the_table() -> None:
    assert set(DEFAULT) == set(TAKEN) == set(REFUSED) and len(DEFAULT) >= 6


@pytest.mark.parametrize("name, value", [(name, value) for name in TAKEN for value in TAKEN[name]])
def test_right_value_is_taken_silently(name: str, value: str) -> None:
    assert warnings({f"PYARENA_{name}": value}) == []


@pytest.mark.parametrize("name, value", [(name, value) for name in REFUSED
                                         for value in REFUSED[name]])
def test_wrong_value_warns_once(name: str, value: str) -> None:
    assert warnings({f"PYARENA_{name}": value}) == [
        f"pyarena: warning: PYARENA_{name}={value} is not {VALUES[name]}; using {DEFAULT[name]}"]


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_name_suggests_the_nearest(name: str) -> None:
    assert warnings({f"PYARENA_{name}": "1"}) == [
        f"pyarena: warning: PYARENA_{name} is not an option; "
        f"did you mean PYARENA_{UNKNOWN[name]}?"]


@pytest.mark.parametrize("name", ["BANANA", "X", "", "ÄÖ", "%s%n"])
def test_unknown_name_that_resembles_none(name: str) -> None:
    assert warnings({f"PYARENA_{name}": "1"}) == [
        f"pyarena: warning: PYARENA_{name} is not an option"]


@pytest.mark.parametrize("name", ["Q" * 5000, "KEEP_FREE_" * 40], ids=["long", "repeated"])
def test_long_name_does_no_harm(name: str) -> None:
    lines = warnings({f"PYARENA_{name}": "1"})
    assert len(lines) == 1 and lines[0].startswith("pyarena: warning: PYARENA_"), lines


@pytest.mark.parametrize("value", ["9" * 5000, "%s%n%s", "\x01\x1b[31m", "ä", ":" * 300 + "K"],
                         ids=["long", "format", "control", "unicode", "colons"])
def test_odd_value_does_no_harm(value: str) -> None:
    lines = warnings({"PYARENA_KEEP_FREE": value})
    assert len(lines) == 1 and lines[0].startswith("pyarena: warning: PYARENA_KEEP_FREE="), lines


@pytest.mark.parametrize("name", DEFAULT)
def test_empty_value_is_the_default(name: str) -> None:
    assert warnings({f"PYARENA_{name}": ""}) == []


def test_each_of_several_is_told() -> None:
    lines = warnings({"PYARENA_KEEP_FREE": "x", "PYARENA_SCOPE": "y", "PYARENA_STAT": "1"})
    assert len(lines) == 3 and len(set(lines)) == 3, lines


def test_names_that_only_look_alike_are_left_alone() -> None:
    assert warnings({"PYARENAS": "1", "MY_PYARENA_KEEP_FREE": "x", "PYARENA": "1"}) == []


def test_forked_child_does_not_warn_again() -> None:
    programs.need("bash")
    result = programs.run(["bash", "-c", "(echo child); (echo child) | read x; echo parent"],
                          variables={"PYARENA_KEEP_FREE": "banana"})
    assert result.status == 0 and result.err.count("warning") == 1, result


def test_proof_line_of_another_program() -> None:
    (line,) = warnings({"PYARENA_VERBOSE": "1"})
    assert re.fullmatch(r"pyarena: [0-9]+\.[0-9]+\.[0-9]+\S* serves malloc \(pid [0-9]+\)", line)


def test_closed_standard_error_is_survived() -> None:
    """Nothing of a message may reach a file that the program opens in standard error's place."""
    programs.need("bash")
    with tempfile.TemporaryDirectory() as directory:
        result = programs.run(["bash", "-c", "exec 2>&-; sort -o out <<< $'b\\na'; cat out"],
                              cwd=Path(directory),
                              variables={"PYARENA_VERBOSE": "1", "PYARENA_KEEP_FREE": "banana"})
        assert result.status == 0 and result.out == "a\nb\n", result


SETUID = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include "pyarena.h"
int main(void)
{
	char *volatile block = malloc(100000);
	strcpy(block, "text");
	printf("%lu %d\n", getauxval(AT_SECURE), pyarena_is_active());
	free(block);
	return 0;
}
"""


@pytest.fixture()
def secure_program():
    """A program linked with the library, setuid root, and the same without setuid, in a directory
    that every user may read.  The loader itself ignores a preload in such a program, so linking is
    how the library gets there."""
    programs.need("gcc", "setpriv")
    if os.geteuid() != 0:
        pytest.skip("only root can make a setuid program of another user")
    directory = Path(tempfile.mkdtemp(prefix="pyarena-setuid-"))
    try:
        directory.chmod(0o755)
        library = directory / "libpyarena.so"
        shutil.copy(programs.library(), library)
        library.chmod(0o644)
        plain = programs.compile_c(SETUID, directory / "plain", f"-I{programs.ROOT / 'src'}",
                                   library, f"-Wl,-rpath,{directory}")
        secure = directory / "secure"
        shutil.copy(plain, secure)
        plain.chmod(0o755)
        secure.chmod(0o4755)
        yield plain, secure
    finally:
        shutil.rmtree(directory)


def test_setuid_program_ignores_options(secure_program, tmp_path: Path) -> None:
    plain, secure = secure_program
    report = secure.with_name("report")
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    variables = {"PYARENA_VERBOSE": "1", "PYARENA_STATS": f":{report}", "PYARENA_KEEP_FREE": "x",
                 "PYARENA_NAME": "1"}
    result = programs.run([*as_nobody, plain], preload=False, variables=variables)
    assert result.status == 0 and result.out == "0 1\n", result
    assert "serves malloc" in result.err and result.err.count("warning") >= 2, result
    result = programs.run([*as_nobody, secure], preload=False, variables=variables)
    if result.out.startswith("0 "):
        pytest.skip("this file system or container does not honour setuid")
    assert (result.status, result.out, result.err) == (0, "1 1\n", ""), result
    assert not report.exists()
    result = programs.run([*as_nobody, secure], preload=False, variables={"PYARENA_DISABLE": "1"})
    assert (result.status, result.out, result.err) == (0, "1 1\n", ""), result


RESIDENT_AFTER_FORK = """
import os
kept = [bytes(600) for _ in range(60000)]
del kept
if os.fork() == 0:
    with open("/proc/self/statm") as file:
        print(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20)
    raise SystemExit
os.wait()
"""


def test_trim_before_fork() -> None:
    resident = {}
    for trims in "0", "1":
        variables = {"PYARENA_KEEP_FREE": "64M", "PYARENA_TRIM_FORK": trims}
        result = programs.run(["python3", "-c", RESIDENT_AFTER_FORK], variables=variables)
        assert result.status == 0, result
        resident[trims] = int(result.out)
    assert resident["0"] - resident["1"] >= 25, resident
