/* SPDX-License-Identifier: MIT */
/*
 * musl.h: what the tests name and musl has not: scripts/ports includes it before everything else, and links them with
 * the library, whose functions these are.
 */
#ifndef MUSL_H
#define MUSL_H

#include <dlfcn.h>
#include <malloc.h>
#include <stddef.h>
#include <stdio.h>

/* Of its parameters none is known here either. */
enum {
	M_MXFAST = 1,
	M_TRIM_THRESHOLD = -1,
	M_TOP_PAD = -2,
	M_MMAP_THRESHOLD = -3,
	M_MMAP_MAX = -4,
	M_CHECK_ACTION = -5,
	M_PERTURB = -6,
	M_ARENA_TEST = -7,
	M_ARENA_MAX = -8,
};

typedef int __rlimit_resource_t;

struct mallinfo {
	int arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};

struct mallinfo2 {
	size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};

void *pvalloc(size_t);
int malloc_trim(size_t);
int mallopt(int, int);
int malloc_info(int, FILE *);
void malloc_stats(void);

/* No C++ and no second C library here: what asks for these is left out. */
#define LM_ID_NEWLM (-1)
__attribute__((weak)) void *dlmopen(long, const char *, int);
__attribute__((weak)) int __cxa_thread_atexit_impl(void (*)(void *), void *, void *);
struct mallinfo mallinfo(void);
struct mallinfo2 mallinfo2(void);

#endif
