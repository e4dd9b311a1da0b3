/* SPDX-License-Identifier: MIT */
/*
 * micro.c: what one call of malloc, free and their family costs, in patterns that stress one path each.
 *
 * Usage: micro [--operations N] [--size BYTES] [--cold] [PATTERN...]; micro --list names the patterns.  --cold
 * leaves out the warm-up, so that instructions can be counted.
 * Prints CSV: pattern,size,operations,nanoseconds,resident_bytes; nanoseconds are of one operation, which is one
 * malloc with its free, or one realloc.  Is linked with the C library only; the allocator is preloaded.
 */
#define _GNU_SOURCE
#include "common.h"

#include <malloc.h>
#include <sched.h>
#include <stdatomic.h>

enum {
	BATCH = 4096,       /* blocks that a batch pattern holds at once */
	RING = 1024,        /* blocks on their way between two threads */
	LARSON_THREADS = 4, /* threads that inherit each other's blocks */
	LARSON_BLOCKS = 1000,
};

static const size_t sizes[] = { 16, 32, 48, 64, 96, 128, 256, 512, 1024, 4096, 16384, 65536 };
#define SIZE_COUNT COUNT_OF(sizes)

/* A pattern works for about this many operations on blocks of size bytes; returns how many it made. */
typedef uint64_t (*work_function)(size_t size, uint64_t operations);

struct pattern {
	const char *name;
	work_function work;
	size_t largest; /* the largest size that makes sense */
	const char *help;
};

static uint64_t pair(size_t size, uint64_t operations)
{
	for (uint64_t i = 0; i < operations; i++)
		free(make(size));
	return operations;
}

static uint64_t lifo(size_t size, uint64_t operations)
{
	static void *blocks[BATCH];
	uint64_t rounds = operations / BATCH + 1;

	for (uint64_t round = 0; round < rounds; round++) {
		for (int i = 0; i < BATCH; i++)
			blocks[i] = make(size);
		for (int i = BATCH; i > 0; i--)
			free(blocks[i - 1]);
	}
	return rounds * BATCH;
}

static uint64_t fifo(size_t size, uint64_t operations)
{
	static void *blocks[BATCH];
	uint64_t rounds = operations / BATCH + 1;

	for (uint64_t round = 0; round < rounds; round++) {
		for (int i = 0; i < BATCH; i++)
			blocks[i] = make(size);
		for (int i = 0; i < BATCH; i++)
			free(blocks[i]);
	}
	return rounds * BATCH;
}

static uint64_t random_order(size_t size, uint64_t operations)
{
	static void *blocks[BATCH];
	uint64_t state = RANDOM_SEED;

	for (int i = 0; i < BATCH; i++)
		blocks[i] = make(size);
	for (uint64_t i = 0; i < operations; i++) {
		size_t place = next_random(&state) % BATCH;
		free(blocks[place]);
		blocks[place] = make(size);
	}
	for (int i = 0; i < BATCH; i++)
		free(blocks[i]);
	return operations + BATCH;
}

/* Sizes from 16 bytes up to size, small ones more often, in random order. */
static uint64_t mixed_sizes(size_t size, uint64_t operations)
{
	static void *blocks[BATCH];
	uint64_t state = RANDOM_SEED;
	unsigned int spread = (unsigned int)(64 - __builtin_clzll((unsigned long long)size / 16));

	for (int i = 0; i < BATCH; i++)
		blocks[i] = NULL;
	for (uint64_t i = 0; i < operations; i++) {
		uint64_t number = next_random(&state);
		size_t place = number % BATCH;
		size_t limit = (size_t)16 << ((number >> 32) % spread);
		free(blocks[place]);
		blocks[place] = make(limit - (number >> 40) % (limit / 2));
	}
	for (int i = 0; i < BATCH; i++)
		free(blocks[i]);
	return operations;
}

static uint64_t zeroed(size_t size, uint64_t operations)
{
	for (uint64_t i = 0; i < operations; i++) {
		char *block = checked(calloc(1, size));
		*block = 1;
		free(opaque(block));
	}
	return operations;
}

static uint64_t aligned(size_t size, uint64_t operations)
{
	for (uint64_t i = 0; i < operations; i++) {
		char *block = checked(aligned_alloc(64, (size + 63) & ~(size_t)63));
		*block = 1;
		free(opaque(block));
	}
	return operations;
}

/* Two buffers grow in turn, by size at a time, a hundred steps each, as lists and strings do. */
static uint64_t growth(size_t size, uint64_t operations)
{
	uint64_t rounds = operations / 200 + 1;

	for (uint64_t round = 0; round < rounds; round++) {
		char *blocks[2] = { NULL, NULL };
		for (size_t step = 1; step <= 100; step++) {
			for (int i = 0; i < 2; i++) {
				blocks[i] = checked(realloc(blocks[i], step * size));
				blocks[i][step * size - 1] = 1;
			}
		}
		free(opaque(blocks[0]));
		free(opaque(blocks[1]));
	}
	return rounds * 200;
}

static uint64_t usable_size(size_t size, uint64_t operations)
{
	void *block = make(size);
	size_t sum = 0;

	for (uint64_t i = 0; i < operations; i++)
		sum += malloc_usable_size(opaque(block));
	free(block);
	if (sum < operations * size)
		fail("malloc_usable_size is less than the size asked for");
	return operations;
}

/* One thread allocates, another frees: a ring of one producer and one consumer. */
struct ring {
	_Atomic(void *) slots[RING];
	uint64_t operations;
	size_t size;
};

static void *consume(void *argument)
{
	struct ring *ring = argument;

	for (uint64_t i = 0; i < ring->operations; i++) {
		_Atomic(void *) *slot = &ring->slots[i % RING];
		void *block;
		while ((block = atomic_load_explicit(slot, memory_order_acquire)) == NULL)
			sched_yield();
		atomic_store_explicit(slot, NULL, memory_order_release);
		free(block);
	}
	return NULL;
}

static uint64_t handed_over(size_t size, uint64_t operations)
{
	static struct ring ring;
	pthread_t consumer;

	ring.size = size;
	ring.operations = operations;
	start(&consumer, consume, &ring);
	for (uint64_t i = 0; i < operations; i++) {
		_Atomic(void *) *slot = &ring.slots[i % RING];
		void *block = make(size);
		while (atomic_load_explicit(slot, memory_order_acquire) != NULL)
			sched_yield();
		atomic_store_explicit(slot, block, memory_order_release);
	}
	pthread_join(consumer, NULL);
	return operations;
}

/* After Larson and Krishnan (1998): threads replace random blocks of their set, end, and pass the set on. */
struct larson {
	void *blocks[LARSON_BLOCKS];
	size_t size;
	uint64_t operations;
	uint64_t state;
};

static void *replace_blocks(void *argument)
{
	struct larson *set = argument;

	for (uint64_t i = 0; i < set->operations; i++) {
		uint64_t number = next_random(&set->state);
		size_t place = number % LARSON_BLOCKS;
		free(set->blocks[place]);
		set->blocks[place] = make(set->size / 2 + (number >> 32) % (set->size / 2) + 1);
	}
	return NULL;
}

static uint64_t larson(size_t size, uint64_t operations)
{
	static struct larson sets[LARSON_THREADS];
	pthread_t threads[LARSON_THREADS];
	enum { GENERATIONS = 20 };
	uint64_t each = operations / (LARSON_THREADS * GENERATIONS) + 1;

	for (int generation = 0; generation < GENERATIONS; generation++) {
		for (int i = 0; i < LARSON_THREADS; i++) {
			sets[i].size = size;
			sets[i].operations = each;
			sets[i].state = RANDOM_SEED + (uint64_t)(generation * LARSON_THREADS + i);
			start(&threads[i], replace_blocks, &sets[i]);
		}
		for (int i = 0; i < LARSON_THREADS; i++)
			pthread_join(threads[i], NULL);
	}
	for (int i = 0; i < LARSON_THREADS; i++) {
		for (int place = 0; place < LARSON_BLOCKS; place++) {
			free(sets[i].blocks[place]);
			sets[i].blocks[place] = NULL;
		}
	}
	return each * LARSON_THREADS * GENERATIONS;
}

static const struct pattern patterns[] = {
	{ "pair", pair, 65536, "malloc, then free of the same block" },
	{ "lifo", lifo, 16384, "4096 blocks made, freed last first" },
	{ "fifo", fifo, 16384, "4096 blocks made, freed first first" },
	{ "random", random_order, 16384, "one of 4096 blocks replaced at random" },
	{ "mixed", mixed_sizes, 16384, "the same with sizes from 16 bytes up to this one" },
	{ "calloc", zeroed, 65536, "calloc, then free" },
	{ "aligned", aligned, 65536, "aligned_alloc of 64, then free" },
	{ "growth", growth, 4096, "two buffers grow in turn by this many bytes" },
	{ "usable", usable_size, 65536, "malloc_usable_size" },
	{ "handover", handed_over, 4096, "one thread allocates, another frees" },
	{ "larson", larson, 4096, "four threads replace blocks at random, end, and pass them on" },
};
#define PATTERN_COUNT COUNT_OF(patterns)

static void measure(const struct pattern *pattern, size_t size, uint64_t operations, bool is_cold)
{
	/* The same number of bytes for each size, so that large blocks do not take for ever. */
	uint64_t count = size <= 1024 ? operations : operations * 1024 / size + 1;
	if (!is_cold)
		pattern->work(size, count / 10 + 1);
	uint64_t begin = now_ns();
	uint64_t done = pattern->work(size, count);
	uint64_t elapsed = now_ns() - begin;

	printf("%s,%zu,%llu,%.3f,%ld\n", pattern->name, size, (unsigned long long)done,
	       (double)elapsed / (double)done, resident_bytes());
	fflush(stdout);
}

static const struct pattern *find_pattern(const char *name)
{
	for (size_t i = 0; i < PATTERN_COUNT; i++) {
		if (strcmp(patterns[i].name, name) == 0)
			return &patterns[i];
	}
	fprintf(stderr, "micro: no pattern %s; micro --list shows them\n", name);
	exit(2);
}

int main(int argc, char **argv)
{
	uint64_t operations = 2000000;
	size_t only = 0;
	bool is_chosen[PATTERN_COUNT] = { false };
	bool is_any_chosen = false, is_cold = false;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--list") == 0) {
			for (size_t n = 0; n < PATTERN_COUNT; n++)
				printf("%-9s %s\n", patterns[n].name, patterns[n].help);
			return 0;
		}
		if (strcmp(argv[i], "--help") == 0) {
			printf("usage: micro [--operations N] [--size BYTES] [--cold] [PATTERN...]\n       micro --list\n");
			return 0;
		}
		if (strcmp(argv[i], "--cold") == 0) {
			is_cold = true;
		} else if (strcmp(argv[i], "--operations") == 0) {
			operations = number(argv[++i]);
		} else if (strcmp(argv[i], "--size") == 0) {
			only = (size_t)number(argv[++i]);
			if (only < 16)
				fail("the smallest size is 16");
		} else {
			is_chosen[find_pattern(argv[i]) - patterns] = true;
			is_any_chosen = true;
		}
	}
	for (size_t n = 0; n < PATTERN_COUNT; n++) {
		if (is_any_chosen && !is_chosen[n])
			continue;
		if (only != 0)
			measure(&patterns[n], only, operations, is_cold);
		for (size_t i = 0; only == 0 && i < SIZE_COUNT && sizes[i] <= patterns[n].largest; i++)
			measure(&patterns[n], sizes[i], operations, is_cold);
	}
	return 0;
}
