/* SPDX-License-Identifier: MIT */
/*
 * scale.c: what calls of malloc and free, a fork, and giving back cost in a heap of some size.
 *
 * Usage: scale MEGABYTES
 * Fills a heap with blocks of 16 to 512 bytes until so much is in use, then replaces blocks at random, forks, and frees
 * nine of ten, scattered.
 * Prints CSV: fill,replace,fork,child,drain,longest,left: nanoseconds of one malloc when filling, of one free with its
 * malloc, of a fork, of a fork until its child has ended, of one free when draining, of the longest of these; and what
 * is resident then as a multiple of the bytes in use.  Is linked with the C library only; the allocator is preloaded.
 */
#define _GNU_SOURCE
#include "common.h"

#include <sys/mman.h>
#include <sys/wait.h>

enum { LEAST = 16, MOST = 512, REPLACED = 2000000, FORKS = 5, KEPT = 10 };

struct heap {
	void **blocks;
	size_t count;
	uint64_t random;
	size_t used; /* bytes asked for and not freed, but for those of replaced blocks, which are as many in the mean */
};

static size_t random_size(struct heap *heap)
{
	return LEAST + next_random(&heap->random) % (MOST - LEAST + 1);
}

/* A table that is not the allocator's. */
static void **table_of(size_t count)
{
	void *table = mmap(NULL, count * sizeof(void *), PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (table == MAP_FAILED)
		fail("no memory for the table of blocks");
	return table;
}

static uint64_t fill(struct heap *heap)
{
	uint64_t begin = now_ns();

	for (size_t i = 0; i < heap->count; i++) {
		size_t size = random_size(heap);
		heap->blocks[i] = make(size);
		heap->used += size;
	}
	return (now_ns() - begin) / heap->count;
}

static uint64_t replace(struct heap *heap)
{
	uint64_t begin = now_ns();

	for (int i = 0; i < REPLACED; i++) {
		void **place = &heap->blocks[next_random(&heap->random) % heap->count];
		free(*place);
		*place = make(random_size(heap));
	}
	return (now_ns() - begin) / REPLACED;
}

/* The shortest of some forks: how long the parent was in it, and until the child, which does nothing, had ended. */
static void time_forks(uint64_t *parent, uint64_t *child)
{
	*parent = *child = UINT64_MAX;
	for (int i = 0; i < FORKS; i++) {
		uint64_t begin = now_ns();
		pid_t pid = fork();
		if (pid == 0)
			_exit(0);
		uint64_t forked = now_ns() - begin;
		if (pid < 0 || waitpid(pid, NULL, 0) != pid)
			fail("no fork");
		uint64_t ended = now_ns() - begin;
		*parent = forked < *parent ? forked : *parent;
		*child = ended < *child ? ended : *child;
	}
}

/* In an order that is not that of the addresses: steps of a prime go through all places. */
static uint64_t drain(struct heap *heap, uint64_t *longest)
{
	const size_t step = 2147483647;
	uint64_t begin = now_ns(), before = begin;
	size_t freed = 0;

	*longest = 0;
	for (size_t i = 0; i < heap->count; i++) {
		size_t place = (size_t)((unsigned __int128)i * step % heap->count);
		if (place % KEPT == 0)
			continue;
		free(heap->blocks[place]);
		freed++;
		uint64_t now = now_ns();
		*longest = now - before > *longest ? now - before : *longest;
		before = now;
	}
	heap->used -= heap->used / KEPT * (KEPT - 1);
	return (now_ns() - begin) / freed;
}

int main(int argc, char **argv)
{
	if (argc != 2)
		fail("usage: scale MEGABYTES");
	struct heap heap = { .random = RANDOM_SEED };
	heap.count = (size_t)(number(argv[1]) << 20) / ((LEAST + MOST) / 2);
	heap.blocks = table_of(heap.count);
	long before = resident_bytes();
	uint64_t filled = fill(&heap), replaced = replace(&heap);
	uint64_t forked, ended, longest;
	time_forks(&forked, &ended);
	uint64_t drained = drain(&heap, &longest);
	double left = (double)(resident_bytes() - before) / (double)heap.used;

	printf("%llu,%llu,%llu,%llu,%llu,%llu,%.3f\n", (unsigned long long)filled,
	       (unsigned long long)replaced, (unsigned long long)forked, (unsigned long long)ended,
	       (unsigned long long)drained, (unsigned long long)longest, left);
	return 0;
}
