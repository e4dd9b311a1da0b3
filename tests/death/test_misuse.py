# SPDX-License-Identifier: MIT
"""Each misuse ends with SIGABRT and exactly one line, which names function, pointer and fault.

misuse.c, beside this file, commits them, one for each run.
"""
from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

import programs

FOREIGN = "not a pointer from this allocator"
INTERIOR = "not at the start of a block"
FREED = "freed already"

# No program's address, in the user's half and outside it.
WILD = ["0x1", "0x8", "0x10", "0x1000", "0xffff0", "0x7ffffffff000", "0x7fffffffffff",
        "0x800000000000", "0x4141414141414141", "0xdeadbeefdeadbee0", "0xffff800000000000",
        "0xffffffff81000000", "0xfffffffffffffff0", "0xffffffffffffffff"]

# name of the case -> function in the message, faults that may be named.  More than one where the
# address may rightly have become anything by then: the memory is gone, or it never was a block.
# Of a large object only the start is known.
CASES: dict[str, tuple[str, set[str]]] = {
    "free_stack": ("free", {FOREIGN}),
    "free_stack_of_a_thread": ("free", {FOREIGN}),
    "free_static": ("free", {FOREIGN}),
    "free_constant": ("free", {FOREIGN}),
    "free_code": ("free", {FOREIGN}),
    "free_environment": ("free", {FOREIGN}),
    "free_own_mapping": ("free", {FOREIGN}),
    "free_of_another_allocator": ("free", {FOREIGN}),
    "free_interior_small": ("free", {INTERIOR}),
    "free_interior_medium": ("free", {INTERIOR}),
    "free_interior_large": ("free", {INTERIOR, FOREIGN}),
    "free_middle_of_large": ("free", {INTERIOR, FOREIGN}),
    "free_end_of_large": ("free", {INTERIOR, FOREIGN}),
    "free_misaligned_by_1": ("free", {INTERIOR}),
    "free_misaligned_by_8": ("free", {INTERIOR}),
    "free_misaligned_medium": ("free", {INTERIOR}),
    "free_misaligned_large": ("free", {INTERIOR, FOREIGN}),
    "free_before_small": ("free", {INTERIOR, FREED, FOREIGN}),
    "free_before_large": ("free", {INTERIOR, FREED, FOREIGN}),
    "free_past_small": ("free", {INTERIOR, FREED, FOREIGN}),
    "free_past_medium": ("free", {INTERIOR, FREED, FOREIGN}),
    "free_past_large": ("free", {INTERIOR, FREED, FOREIGN}),
    "free_start_of_mebibyte": ("free", {INTERIOR, FOREIGN}),
    "realloc_interior": ("realloc", {INTERIOR}),
    "realloc_interior_large": ("realloc", {INTERIOR, FOREIGN}),
    "usable_size_of_interior": ("malloc_usable_size", {INTERIOR}),
    "double_free_small": ("free", {FREED}),
    "double_free_zero": ("free", {FREED}),
    "double_free_page": ("free", {FREED}),
    "double_free_medium": ("free", {FREED}),
    "double_free_large": ("free", {FREED, FOREIGN}),
    "double_free_aligned": ("free", {FREED}),
    "double_free_only_block": ("free", {FREED, FOREIGN}),
    "double_free_after_others": ("free", {FREED}),
    "double_free_after_work": ("free", {FREED}),
    "double_free_after_trim": ("free", {FREED}),
    "free_in_a_released_arena": ("free", {FOREIGN}),
    "realloc_in_a_released_arena": ("realloc", {FOREIGN}),
    "usable_size_in_a_released_arena": ("malloc_usable_size", {FOREIGN}),
    "double_free_in_a_thread": ("free", {FREED}),
    "double_free_after_a_thread": ("free", {FREED}),
    "double_free_by_two_threads": ("free", {FREED}),
    "double_free_of_medium_in_a_thread": ("free", {FREED}),
    "double_free_of_an_ended_threads_block": ("free", {FREED}),
    "double_free_in_a_child": ("free", {FREED}),
    "double_free_after_realloc": ("free", {FREED}),
    "realloc_freed": ("realloc", {FREED}),
    "realloc_freed_in_place": ("realloc", {FREED}),
    "realloc_freed_to_nothing": ("realloc", {FREED}),
    "realloc_freed_medium": ("realloc", {FREED}),
    "realloc_freed_large": ("realloc", {FREED, FOREIGN}),
    "usable_size_of_freed": ("malloc_usable_size", {FREED}),
}

# The cases that take an address.
ADDRESS_CASES = {
    "free_address": "free",
    "realloc_address": "realloc",
    "realloc_address_to_nothing": "realloc",
    "reallocarray_address": "reallocarray",
    "usable_size_of_address": "malloc_usable_size",
    "delete_address": "operator delete",
    "delete_sized_address": "operator delete",
    "free_sized_address": "free_sized",
}

OTHER_CASES = {"nothing_wrong", "free_with_stderr_closed"}


PROGRAM = Path(__file__).resolve().with_name("misuse.c")


def dies(case: str, function: str, faults: set[str], *arguments: str, **variables: str) -> None:
    result = programs.run([programs.built_c(PROGRAM), case, *arguments], timeout=300, variables=variables)
    if result.status == 77:
        pytest.skip("there is no such pointer on this machine")
    assert result.status == -signal.SIGABRT, result
    pointer = result.out.strip()
    assert re.fullmatch("0x[0-9a-f]+", pointer), result
    assert result.err in {f"pyarena: fatal: {function}({pointer}): {fault}\n"
                          for fault in faults}, result


@pytest.mark.parametrize("case", CASES)
def test_message(case: str) -> None:
    dies(case, *CASES[case])


@pytest.mark.parametrize("case", CASES)
def test_message_of_a_hardened_process(case: str) -> None:
    dies(case, *CASES[case], PYARENA_HARDEN="1")


@pytest.mark.parametrize("address", WILD)
def test_free_of_a_wild_pointer(address: str) -> None:
    dies("free_address", "free", {FOREIGN}, address)


@pytest.mark.parametrize("case", ADDRESS_CASES)
def test_other_functions_name_themselves(case: str) -> None:
    for address in ("0x10", "0x4141414141414140"):
        dies(case, ADDRESS_CASES[case], {FOREIGN}, address)


def test_death_needs_no_stderr() -> None:
    result = programs.run([programs.built_c(PROGRAM), "free_with_stderr_closed"])
    assert result.status == -signal.SIGABRT, result
    assert result.err == "", result


@pytest.mark.parametrize("harden", ["0", "1"])
def test_right_use_is_silent(harden: str) -> None:
    result = programs.run([programs.built_c(PROGRAM), "nothing_wrong"], variables={"PYARENA_HARDEN": harden})
    assert result.status == 0, result
    assert result.out.endswith("survived\n"), result
    assert result.err == "", result


def test_no_case_is_forgotten() -> None:
    listed = programs.run([programs.built_c(PROGRAM), "--list"], preload=False).out.split()
    assert set(listed) == set(CASES) | set(ADDRESS_CASES) | OTHER_CASES
