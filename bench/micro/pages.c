/* SPDX-License-Identifier: MIT */
/*
 * pages.c: what the kernel asks for memory that is touched and given back, whatever the allocator.
 *
 * Usage: pages [MIB]; 64 by default, at least 4.  Prints CSV: what,microseconds, which are those of 4 KiB; the
 * least of five turns, and for huge pages the least and the most of all, for it depends on whether the
 * machine has some at hand.  Compile it by cc -O2.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define PAGE ((size_t)4096)
#define MIB ((size_t)1 << 20)
#define HUGE_PAGE (2 * MIB)
#define TURNS 5

static size_t bytes = 64 * MIB;

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void must(int result, const char *what)
{
	if (result != 0) {
		perror(what);
		exit(1);
	}
}

/* Memory that begins where a huge page may. */
static char *map(int advice)
{
	char *p = mmap(NULL, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);

	if (p == MAP_FAILED)
		must(-1, "mmap");
	p += -(uintptr_t)p & (HUGE_PAGE - 1);
	must(madvise(p, bytes, advice), "madvise");
	return p;
}

static void touch(char *memory)
{
	for (size_t at = 0; at < bytes; at += PAGE)
		((volatile char *)memory)[at] = 1;
}

static void advise_by(char *memory, size_t step, int advice)
{
	for (size_t at = 0; at < bytes; at += step)
		must(madvise(memory + at, step, advice), "madvise");
}

enum { FAULT, CLEAR, POPULATE_16K, POPULATE_1M, PURGE_16K, PURGE_64K, PURGE_ALL, STEPS };

static const char *const names[STEPS] = {
	"page fault",
	"clear a page that is there",
	"populate by 16 KiB",
	"populate by a MiB",
	"purge by 16 KiB",
	"purge by 64 KiB",
	"purge all in one call",
};

static void run_step(char *memory, int step)
{
	switch (step) {
	case FAULT:
		touch(memory);
		break;
	case CLEAR:
		memset(memory, 0, bytes);
		break;
	case POPULATE_16K:
		advise_by(memory, 4 * PAGE, MADV_POPULATE_WRITE);
		break;
	case POPULATE_1M:
		advise_by(memory, MIB, MADV_POPULATE_WRITE);
		break;
	case PURGE_16K:
		advise_by(memory, 4 * PAGE, MADV_DONTNEED);
		break;
	case PURGE_64K:
		advise_by(memory, 16 * PAGE, MADV_DONTNEED);
		break;
	case PURGE_ALL:
		advise_by(memory, bytes, MADV_DONTNEED);
		break;
	}
}

/* So that each step finds the pages there, or not there. */
static const int order[] = { FAULT, CLEAR, PURGE_ALL, POPULATE_16K, PURGE_16K, POPULATE_1M, PURGE_64K };

static void measure_pages(void)
{
	double least[STEPS];

	for (int i = 0; i < STEPS; i++)
		least[i] = 1e9;
	char *memory = map(MADV_NOHUGEPAGE);
	for (int turn = 0; turn < TURNS; turn++) {
		for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
			double begin = now_us();
			run_step(memory, order[i]);
			double each = (now_us() - begin) / (double)(bytes / PAGE);
			if (each < least[order[i]])
				least[order[i]] = each;
		}
	}
	for (int i = 0; i < STEPS; i++)
		printf("%s,%.3f\n", names[i], least[i]);
}

static void measure_huge_pages(void)
{
	char *memory = map(MADV_HUGEPAGE);
	double least = 1e9, most = 0;

	for (int turn = 0; turn < TURNS; turn++) {
		for (size_t at = 0; at < bytes; at += HUGE_PAGE) {
			double begin = now_us();
			((volatile char *)memory)[at] = 1;
			double each = (now_us() - begin) / (double)(HUGE_PAGE / PAGE);
			least = each < least ? each : least;
			most = each > most ? each : most;
		}
		must(madvise(memory, bytes, MADV_DONTNEED), "madvise");
	}
	printf("huge page at best,%.3f\nhuge page at worst,%.3f\n", least, most);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		bytes = strtoul(argv[1], NULL, 10) * MIB;
	if (bytes < 4 * MIB || bytes % HUGE_PAGE != 0) {
		fprintf(stderr, "usage: pages [MIB], an even number from 4 on\n");
		return 2;
	}
	puts("what,microseconds");
	measure_pages();
	measure_huge_pages();
	return 0;
}
