/* SPDX-License-Identifier: MIT */
/*
 * machine.h: what a test needs of the machine that it runs on; without it, it is skipped.  scripts/ports runs
 * the tests where pages are larger, and in an emulator in place of a kernel.
 */
#ifndef MACHINE_H
#define MACHINE_H

#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

/* The test counts pages, or has holes of that size. */
static inline void need_pages_of_at_most(size_t bytes)
{
	if ((size_t)sysconf(_SC_PAGESIZE) > bytes)
		skip();
}

static inline bool is_emulated(void)
{
	return getenv("TESTS_ARE_EMULATED") != NULL;
}

/*
 * Emulators of programs know no RLIMIT_AS, no MADV_WIPEONFORK and no MADV_POPULATE_WRITE, and hang in children of busy
 * threads.
 */
static inline void need_a_kernel(void)
{
	if (is_emulated())
		skip();
}

#endif
