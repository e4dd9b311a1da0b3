# SPDX-License-Identifier: MIT
"""Attacks on the allocator: each reaches its aim, unless the process is hardened; then it fails or ends.

attack.c, beside this file, commits them, one for each run.  Those on records end in any process.
"""
from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

import programs

OVERRUN = "written beyond its end"
WRITTEN = "written to after it was freed"
FREED = "freed already"
SIZE = "not of this size"

# Ended by a page that may not be touched, whatever the options are.
GUARDED = ["overflow_small_into_records", "overflow_large_into_records"]

# name of the case -> function in the message and fault, where the process is hardened.
NOTICED = {
    "overflow_into_neighbour": ("free", OVERRUN),
    "overflow_of_neighbour_noticed_by_realloc": ("realloc", OVERRUN),
    "overflow_by_one_zero": ("free", OVERRUN),
    "overflow_into_the_gap": ("free", OVERRUN),
    "overflow_of_medium": ("free", OVERRUN),
    "overflow_of_large_into_the_gap": ("free", OVERRUN),
    "write_after_free": ("free", WRITTEN),
    "write_after_free_and_work": ("free", WRITTEN),
    "poison_the_list_later": ("free", WRITTEN),
    "double_free_interleaved": ("free", FREED),
    "free_sized_too_large": ("free_sized", SIZE),
    "free_sized_too_small": ("free_sized", SIZE),
    "free_sized_of_large": ("free_sized", SIZE),
    "free_aligned_sized_wrong": ("free_aligned_sized", SIZE),
    "delete_as_another_class": ("operator delete", SIZE),
}
# Ended by a guard page, where the process is hardened.
FAULTS = ["underflow_into_records", "overflow_behind_large", "read_after_free_of_large"]
# In vain, where the process is hardened.
FAILS = ["poison_the_list", "read_after_free", "read_what_another_left", "learn_addresses",
         "foresee_the_order"]


PROGRAM = Path(__file__).resolve().with_name("attack.c")


def attack(case: str, **variables: str) -> programs.Result:
    result = programs.run([programs.built_c(PROGRAM), case], timeout=300, variables=variables)
    if result.status == 77:
        pytest.skip("the blocks do not lie here as the attack needs them")
    return result


@pytest.mark.parametrize("harden", ["0", "1"])
@pytest.mark.parametrize("case", GUARDED)
def test_records_are_guarded(case: str, harden: str) -> None:
    result = attack(case, PYARENA_HARDEN=harden)
    assert result.status == -signal.SIGSEGV, result
    assert result.out == "", result


@pytest.mark.parametrize("case", [*NOTICED, *FAULTS, *FAILS])
def test_attack_succeeds_otherwise(case: str) -> None:
    result = attack(case)
    assert (result.status, result.out, result.err) == (0, "reached\n", ""), result


@pytest.mark.parametrize("case", NOTICED)
def test_attack_is_noticed(case: str) -> None:
    function, fault = NOTICED[case]
    result = attack(case, PYARENA_HARDEN="1")
    assert result.status == -signal.SIGABRT, result
    assert re.fullmatch(rf"pyarena: fatal: {function}\(0x[0-9a-f]+\): {fault}\n", result.err), result
    assert result.out == "", result


@pytest.mark.parametrize("case", FAULTS)
def test_attack_meets_a_guard(case: str) -> None:
    result = attack(case, PYARENA_HARDEN="1")
    assert result.status == -signal.SIGSEGV, result
    assert (result.out, result.err) == ("", ""), result


@pytest.mark.parametrize("case", FAILS)
def test_attack_fails(case: str) -> None:
    result = attack(case, PYARENA_HARDEN="1")
    assert (result.status, result.out, result.err) == (0, "failed\n", ""), result


def test_no_case_is_forgotten() -> None:
    listed = programs.run([programs.built_c(PROGRAM), "--list"], preload=False).out.split()
    assert sorted(listed) == sorted([*GUARDED, *NOTICED, *FAULTS, *FAILS])
