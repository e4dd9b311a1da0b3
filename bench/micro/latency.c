/* SPDX-License-Identifier: MIT */
/*
 * latency.c: how long single calls of malloc and free take in a service under churn.
 *
 * Usage: latency [--operations N] [--threads N]
 * Threads replace blocks of many sizes in one table, so that each frees what others made.  The table fills up
 * and empties again by turns.  Each call is timed alone; so is the first write to each page of a new block, and,
 * for the cost of the clock and the noise of the machine, nothing.
 * Prints CSV: call,calls,p50,p99,p999,longest,late; times in nanoseconds, late: calls that took more than a
 * millisecond.  Neither these nor the longest are calls in which the kernel gave the processor to somebody else.
 * Is linked with the C library only; the allocator is preloaded.
 */
#define _GNU_SOURCE
#include "common.h"

#include <stdatomic.h>
#include <sys/resource.h>

enum {
	SLOTS = 20000,    /* blocks in the table when it is full: some 100 MB */
	TURN = 4 * SLOTS, /* operations of a thread until filling turns to emptying */
	MOST_THREADS = 64,
	LOOK = 1000, /* operations between two looks at how often the thread lost the processor */
	PAGE = 4096,
	LATE_NS = 1000000,
};

enum call { NOTHING, MALLOC, TOUCH, FREE, CALLS };

static const char *const names[CALLS] = { "nothing", "malloc", "first touch", "free" };

/* As HdrHistogram has it: buckets of equal width within each power of two, so that none is wider than 1/64. */
enum { SUB_BITS = 6, SUB_BUCKETS = 1 << SUB_BITS, BUCKETS = (64 - SUB_BITS + 1) * SUB_BUCKETS };

struct histogram {
	uint64_t counts[BUCKETS];
	uint64_t longest;
	uint64_t late;
};

struct worker {
	struct histogram calls[CALLS];
	uint64_t operations;
	uint64_t random;
	long preemptions; /* seen so far */
};

static _Atomic(void *) slots[SLOTS];
static struct worker workers[MOST_THREADS];

static unsigned int width_of(uint64_t value)
{
	unsigned int bits = 64 - (unsigned int)__builtin_clzll(value | 1);

	return bits > SUB_BITS + 1 ? bits - SUB_BITS - 1 : 0;
}

static size_t bucket_of(uint64_t value)
{
	unsigned int width = width_of(value);

	return width * (size_t)SUB_BUCKETS + (size_t)(value >> width);
}

/* The largest value that a bucket counts. */
static uint64_t end_of(size_t bucket)
{
	if (bucket < 2 * SUB_BUCKETS)
		return bucket;
	unsigned int width = (unsigned int)(bucket / SUB_BUCKETS) - 1;
	return ((bucket - width * (size_t)SUB_BUCKETS + 1) << width) - 1;
}

/* Has the thread lost the processor since the last look? */
static bool was_preempted(struct worker *worker)
{
	struct rusage usage;
	long before = worker->preemptions;

	getrusage(RUSAGE_THREAD, &usage);
	worker->preemptions = usage.ru_nivcsw;
	return usage.ru_nivcsw != before;
}

static void record(struct worker *worker, enum call call, uint64_t begin, uint64_t end)
{
	struct histogram *histogram = &worker->calls[call];
	uint64_t elapsed = end - begin;

	histogram->counts[bucket_of(elapsed)]++;
	if ((elapsed <= histogram->longest && elapsed <= LATE_NS) || was_preempted(worker))
		return;
	histogram->late += elapsed > LATE_NS;
	if (elapsed > histogram->longest)
		histogram->longest = elapsed;
}

/* Of a thousand blocks 900 have up to 256 bytes, 90 up to 4 KiB, nine up to 64 KiB, one up to a MiB. */
static size_t random_size(uint64_t random)
{
	unsigned int kind = (unsigned int)(random % 1000);
	size_t most = kind < 900 ? 256 : kind < 990 ? 4 << 10 : kind < 999 ? 64 << 10 : 1 << 20;

	return (random >> 32) % most + 1;
}

static void *timed_malloc(struct worker *worker, size_t size)
{
	uint64_t begin = now_ns();
	char *block = opaque(malloc(size));
	uint64_t made = now_ns();

	checked(block);
	for (size_t at = 0; at < size; at += PAGE)
		((volatile char *)block)[at] = 1;
	uint64_t end = now_ns();
	record(worker, MALLOC, begin, made);
	record(worker, TOUCH, made, end);
	return block;
}

static void timed_free(struct worker *worker, void *block)
{
	if (block == NULL)
		return;
	uint64_t begin = now_ns();
	free(block);
	record(worker, FREE, begin, now_ns());
}

static void serve_one(struct worker *worker, bool is_emptying)
{
	uint64_t random = next_random(&worker->random);
	_Atomic(void *) *slot = &slots[random % SLOTS];
	uint64_t begin = now_ns();

	record(worker, NOTHING, begin, now_ns());
	timed_free(worker, atomic_exchange(slot, NULL));
	if (is_emptying && (random >> 32) % 8 != 0)
		return;
	void *block = timed_malloc(worker, random_size(next_random(&worker->random)));
	timed_free(worker, atomic_exchange(slot, block));
}

static void *serve(void *argument)
{
	struct worker *worker = argument;

	for (uint64_t i = 0; i < worker->operations; i++) {
		if (i % LOOK == 0)
			was_preempted(worker);
		serve_one(worker, i / TURN % 2 == 1);
	}
	return NULL;
}

static void add(struct histogram *sum, const struct histogram *one)
{
	for (size_t i = 0; i < BUCKETS; i++)
		sum->counts[i] += one->counts[i];
	sum->late += one->late;
	if (one->longest > sum->longest)
		sum->longest = one->longest;
}

static uint64_t total_of(const struct histogram *histogram)
{
	uint64_t total = 0;

	for (size_t i = 0; i < BUCKETS; i++)
		total += histogram->counts[i];
	return total;
}

/* The time within which so many of a thousand calls ended. */
static uint64_t quantile(const struct histogram *histogram, uint64_t total, uint64_t thousandth)
{
	uint64_t wanted = (total * thousandth + 999) / 1000, seen = 0;
	size_t bucket = 0;

	while ((seen += histogram->counts[bucket]) < wanted)
		bucket++;
	return end_of(bucket);
}

static void print(enum call call, const struct histogram *histogram)
{
	uint64_t total = total_of(histogram);

	printf("%s,%llu,%llu,%llu,%llu,%llu,%llu\n", names[call], (unsigned long long)total,
	       (unsigned long long)quantile(histogram, total, 500),
	       (unsigned long long)quantile(histogram, total, 990),
	       (unsigned long long)quantile(histogram, total, 999),
	       (unsigned long long)histogram->longest, (unsigned long long)histogram->late);
}

int main(int argc, char **argv)
{
	uint64_t operations = 4000000, count = 1;
	pthread_t threads[MOST_THREADS];

	for (int i = 1; i < argc; i += 2) {
		if (strcmp(argv[i], "--operations") == 0)
			operations = number(argv[i + 1]);
		else if (strcmp(argv[i], "--threads") == 0)
			count = number(argv[i + 1]);
		else
			fail("usage: latency [--operations N] [--threads N]");
	}
	if (count > MOST_THREADS)
		fail("so many threads are too many");
	for (uint64_t i = 0; i < count; i++) {
		workers[i].operations = operations / count;
		workers[i].random = RANDOM_SEED + i;
		start(&threads[i], serve, &workers[i]);
	}
	for (uint64_t i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	for (uint64_t i = 1; i < count; i++) {
		for (int call = 0; call < CALLS; call++)
			add(&workers[0].calls[call], &workers[i].calls[call]);
	}
	for (int call = 0; call < CALLS; call++)
		print((enum call)call, &workers[0].calls[call]);
	return 0;
}
