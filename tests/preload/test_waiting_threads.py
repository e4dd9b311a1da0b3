# SPDX-License-Identifier: MIT
"""What threads hold that allocate a little and wait, by hundreds: against glibc and, where installed, jemalloc.

Resident memory for each thread, beyond what its stack takes; and what is left when all have ended.
"""
from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import programs
from tools import PACKAGE

sys.path.insert(0, str(PACKAGE))

from pyarena.allocators import find_library  # noqa: E402  (the path comes first)

# Threads: as many as the first argument says.  Each makes blocks of as many sizes as the second says.  The first
# round has the stacks made, the second allocates.
SOURCE = r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
enum { BLOCKS = 20 };
static pthread_barrier_t barrier;
static int kinds;
static long resident(void)
{
	long size, pages;
	FILE *file = fopen("/proc/self/statm", "r");
	if (!file || fscanf(file, "%ld %ld", &size, &pages) != 2)
		abort();
	fclose(file);
	return pages * sysconf(_SC_PAGESIZE);
}
static void *wait_with_blocks(void *argument)
{
	void *blocks[BLOCKS] = { NULL };
	for (int i = 0; kinds && i < BLOCKS; i++) {
		size_t size = 24 + 48 * (i % kinds);
		blocks[i] = memset(malloc(size), 1, size);
	}
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < BLOCKS; i++)
		free(blocks[i]);
	return argument;
}
static void run(int count, long *held, long *left)
{
	pthread_t threads[count];
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 65536);
	pthread_barrier_init(&barrier, NULL, count + 1);
	long before = resident();
	for (int i = 0; i < count; i++)
		if (pthread_create(&threads[i], &attributes, wait_with_blocks, NULL))
			abort();
	pthread_barrier_wait(&barrier);
	*held = resident() - before;
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	*left = resident() - before;
}
int main(int argc, char **argv)
{
	long held, left;
	run(atoi(argv[1]), &held, &left);
	kinds = atoi(argv[argc - 1]);
	run(atoi(argv[1]), &held, &left);
	printf("[%ld, %ld]\n", held, left);
}
"""
THREADS = 200
KIB = 1024


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return programs.compile_c(SOURCE, tmp_path_factory.mktemp("threads") / "threads", "-pthread")


def held_and_left(program: Path, kinds: int, library: Path | None) -> tuple[float, float]:
    """For each thread, in KiB."""
    variables = {"LD_PRELOAD": str(library)} if library else {}
    result = programs.run([program, str(THREADS), str(kinds)], preload=False, variables=variables)
    assert result.status == 0, result
    held, left = json.loads(result.out)
    return held / THREADS / KIB, left / THREADS / KIB


@pytest.mark.parametrize("kinds", [1, 5, 20])
def test_threads_that_wait_hold_no_more_than_under_jemalloc(program: Path, kinds: int) -> None:
    jemalloc = find_library("libjemalloc.so.2")
    if jemalloc is None:
        pytest.skip("libjemalloc.so.2 is not installed (Debian package libjemalloc2)")
    (ours, left), (theirs, theirs_left) = (held_and_left(program, kinds, one)
                                           for one in (programs.library(), jemalloc))
    assert 4 < ours <= theirs, f"{ours:.1f} KiB a thread, under jemalloc {theirs:.1f}"
    assert left <= theirs_left, f"{left:.1f} KiB a thread are left, under jemalloc {theirs_left:.1f}"
