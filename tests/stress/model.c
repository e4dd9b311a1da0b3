/* SPDX-License-Identifier: MIT */
/*
 * model.c: random operations against a model.
 *
 * Each thread allocates, resizes, checks and frees by every function of the API, in slots of its own
 * and in slots shared with the other threads.  The model knows each block's size, alignment and
 * contents, and a map of all 16-byte granules in use finds two blocks that overlap at once.
 *
 * A failure names the seed.  Each operation has random numbers of its own, made of seed, thread and
 * count; so with one thread a seed repeats the run exactly, and the first operations can be left out.
 * That is how a failing run of one thread is shrunk.
 */
#include "../lib/blocks.h"

#include "../../src/pyarena.h"

#include <pthread.h>

#define OWN_SLOTS 2000
#define SHARED_SLOTS 1500
#define THREADS_MAX 64
#define LIVE_LIMIT (96 * MIB) /* of one thread; above it nothing large is asked for */
#define LARGEST_SIZE (32 * MIB)
#define WHOLE (8 * KIB)      /* contents of blocks up to here are written whole */
#define WINDOW ((size_t)256) /* of larger ones at both ends and */
#define STRIDE (64 * KIB)    /* every so far */

enum origin { PLAIN, ALIGNED, PAGES };
enum state { EMPTY, BUSY, FULL };

struct slot {
	int state; /* [atomic] of shared slots only */
	enum origin origin;
	void *block;
	size_t size;
	size_t usable;
	size_t alignment;
	uint64_t contents;
};

struct worker {
	pthread_t thread;
	unsigned index;
	uint64_t random;
	uint64_t from, operations;
	uint64_t done; /* so far, for reports */
	size_t live;   /* bytes in slots that it filled, less those that it emptied */
	struct slot *own;
};

static struct tap_option options[] = {
	{ "ops", 5000000, "operations of the largest point, over all its threads" },
	{ "from", 0, "the operation to begin with, where there is one thread" },
	{ "threads", 4, "threads of the points that have several" },
	{ "seed", 0, "of the random numbers; 0 takes one from the clock" },
	{ NULL, 0, NULL },
};

static struct slot *shared;
static uint64_t seed;
static uint64_t
	*reached; /* in memory that outlives the process: its operation, where there is one thread */
static void (*free_sized)(void *, size_t);
static void (*free_aligned_sized)(void *, size_t, size_t);

#define CHECK(worker, condition, ...) \
	do { \
		if (!(condition)) { \
			tap_failed(__FILE__, __LINE__, #condition, " " __VA_ARGS__); \
			report(worker); \
		} \
	} while (0)

__attribute__((noreturn)) static void report(const struct worker *worker)
{
	tap_note("seed %llu, thread %u, operation %llu", (unsigned long long)seed, worker->index,
		 (unsigned long long)worker->done);
	_exit(1);
}

/*
 * The map of granules: 2^22 leaves of 64 MiB each, in the lower half of the address space.  A leaf is
 * made when a block lies in it.
 */
#define LEAF_BITS 26
#define LEAF_GRANULES ((size_t)1 << (LEAF_BITS - 4))

static uint64_t **leaves;

static uint64_t *leaf_of(size_t leaf)
{
	uint64_t *words = __atomic_load_n(&leaves[leaf], __ATOMIC_ACQUIRE);

	if (words != NULL)
		return words;
	uint64_t *made = (uint64_t *)table_of(LEAF_GRANULES / 64, sizeof(uint64_t));
	if (__atomic_compare_exchange_n(&leaves[leaf], &words, made, false, __ATOMIC_ACQ_REL,
					__ATOMIC_ACQUIRE))
		return made;
	munmap(made, LEAF_GRANULES / 8);
	return words;
}

/* All granules of the block must be unused before (mark) or used before (unmark). */
static bool map_change(const void *block, size_t usable, bool mark)
{
	size_t at = (uintptr_t)block >> 4;
	size_t last = ((uintptr_t)block + (usable == 0 ? 0 : usable - 1)) >> 4;
	bool good = true;

	while (at <= last) {
		uint64_t *word = &leaf_of(at / LEAF_GRANULES)[at % LEAF_GRANULES / 64];
		size_t from = at % 64;
		size_t to = last - at + from > 63 ? 63 : last - at + from;
		uint64_t bits = (~UINT64_C(0) << from) & (~UINT64_C(0) >> (63 - to));
		uint64_t before = mark ? __atomic_fetch_or(word, bits, __ATOMIC_RELAXED)
				       : __atomic_fetch_and(word, ~bits, __ATOMIC_RELAXED);
		good = good && (before & bits) == (mark ? 0 : bits);
		at += to - from + 1;
	}
	return good;
}

/* The windows of a block in which its contents are written, one after the other. */
static bool next_window(size_t usable, size_t *from, size_t *to)
{
	if (usable <= WHOLE) {
		if (*to != 0 || usable == 0)
			return false;
		*to = usable;
		return true;
	}
	size_t tail = (usable - WINDOW) / 8 * 8;
	if (*to == usable)
		return false;
	*from = *to == 0 ? 0 : *from + STRIDE;
	if (*from >= tail || *from + WINDOW > tail) {
		*from = tail;
		*to = usable;
	} else {
		*to = *from + WINDOW;
	}
	return true;
}

static void write_contents(struct slot *slot)
{
	size_t from = 0;
	size_t to = 0;

	while (next_window(slot->usable, &from, &to))
		fill_range(slot->block, from, to, slot->contents);
}

/* Up to limit bytes of what write_contents wrote at slot's sizes, now to be found at block. */
static void check_contents(struct worker *worker, const struct slot *slot, const void *block,
			   size_t limit)
{
	size_t from = 0;
	size_t to = 0;

	while (next_window(slot->usable, &from, &to) && from < limit) {
		size_t end = to < limit ? to : limit;
		size_t damage = find_damage(block, from, end, slot->contents);
		CHECK(worker, damage == end,
		      "byte %zu of %p (%zu bytes, %zu usable, aligned to %zu) is not what was written",
		      damage, block, slot->size, slot->usable, slot->alignment);
	}
}

static size_t random_size(struct worker *worker)
{
	uint64_t *random = &worker->random;
	uint64_t kind = random_below(random, 1000);
	uint64_t power;

	if (kind < 850)
		power = random_below(random, 11);
	else if (kind < 970)
		power = 10 + random_below(random, 6);
	else if (kind < 997 || worker->live > LIVE_LIMIT)
		power = 14 + random_below(random, 6);
	else
		power = 19 + random_below(random, 6);
	size_t size = (size_t)1 << power;
	switch (random_below(random, 8)) {
	case 0:
		return size + random_below(random, 33) - (size > 16 ? 16 : 1);
	case 1:
		return size + size / 8 * random_below(random, 8) + random_below(random, 3) - 1;
	default:
		return size - 1 + random_below(random, size + 1);
	}
}

static size_t random_alignment(struct worker *worker)
{
	uint64_t kind = random_below(&worker->random, 1000);

	if (kind < 900)
		return (size_t)1 << random_below(&worker->random, 13);
	if (kind < 997)
		return (size_t)1 << random_below(&worker->random, 18);
	return (size_t)1 << random_below(&worker->random, 27);
}

static void enter(struct worker *worker, struct slot *slot, void *block, size_t size, size_t alignment,
		  enum origin origin)
{
	CHECK(worker, block != NULL, "%zu bytes aligned to %zu: %s", size, alignment, strerror(errno));
	slot->block = block;
	slot->size = size;
	slot->alignment = alignment < 16 ? 16 : alignment;
	slot->origin = origin;
	slot->usable = CALL(malloc_usable_size)(block);
	slot->contents = random_next(&worker->random);
	CHECK(worker, is_aligned(block, slot->alignment), "%p (%zu bytes) is not aligned to %zu", block,
	      size, slot->alignment);
	CHECK(worker, slot->usable >= size, "%p has %zu bytes, but %zu were asked for", block,
	      slot->usable, size);
	CHECK(worker, map_change(block, slot->usable, true),
	      "%p (%zu bytes, %zu usable) overlaps another block", block, size, slot->usable);
	worker->live += slot->usable;
	write_contents(slot);
}

/* Take the block out of the model just before it goes back. */
static void *leave(struct worker *worker, struct slot *slot)
{
	CHECK(worker, CALL(malloc_usable_size)(slot->block) == slot->usable,
	      "usable size of %p was %zu and is %zu", slot->block, slot->usable,
	      CALL(malloc_usable_size)(slot->block));
	CHECK(worker, map_change(slot->block, slot->usable, false), "the model itself is damaged");
	worker->live -= slot->usable < worker->live ? slot->usable : worker->live;
	return slot->block;
}

static void check_zeroes(struct worker *worker, const void *block, size_t size)
{
	size_t from = 0;
	size_t to = 0;

	if (block == NULL)
		return;
	if (size <= 4 * STRIDE) {
		CHECK(worker, is_zero(block, size), "calloc of %zu bytes at %p", size, block);
		return;
	}
	while (next_window(size, &from, &to))
		CHECK(worker, is_zero((const char *)block + from, to - from),
		      "calloc of %zu bytes at %p, near byte %zu", size, block, from);
}

static void allocate(struct worker *worker, struct slot *slot)
{
	size_t size = random_size(worker);
	size_t alignment = 16;
	void *block = NULL;

	switch (random_below(&worker->random, 32)) {
	case 0:
		alignment = random_alignment(worker);
		enter(worker, slot, CALL(memalign)(alignment, size), size, alignment, ALIGNED);
		break;
	case 1:
		alignment = random_alignment(worker);
		enter(worker, slot, CALL(aligned_alloc)(alignment, size), size, alignment, ALIGNED);
		break;
	case 2:
		alignment = random_alignment(worker) * 8;
		errno = CALL(posix_memalign)(&block, alignment, size);
		enter(worker, slot, block, size, alignment, ALIGNED);
		break;
	case 3:
		if (random_below(&worker->random, 2) == 0)
			enter(worker, slot, CALL(valloc)(size), size, page_bytes(), PAGES);
		else
			enter(worker, slot, CALL(pvalloc)(size), size, page_bytes(), PAGES);
		break;
	case 4:
	case 5:
	case 6:
	case 7:
	case 8:
	case 9:
		size = size / 3 * 3;
		block = CALL(calloc)(3, size / 3);
		check_zeroes(worker, block, size);
		enter(worker, slot, block, size, 16, PLAIN);
		break;
	case 10:
		enter(worker, slot, CALL(realloc)(NULL, size), size, 16, PLAIN);
		break;
	case 11:
		enter(worker, slot, CALL(reallocarray)(NULL, size, 1), size, 16, PLAIN);
		break;
	case 12:
		size = 0;
		enter(worker, slot, CALL(malloc)(0), 0, 16, PLAIN);
		break;
	default:
		enter(worker, slot, CALL(malloc)(size), size, 16, PLAIN);
		break;
	}
}

static void release(struct worker *worker, struct slot *slot)
{
	uint64_t kind = random_below(&worker->random, 8);

	check_contents(worker, slot, slot->block, slot->usable);
	void *block = leave(worker, slot);
	errno = 77;
	if (kind == 0 && slot->origin == PLAIN && free_sized != NULL)
		free_sized(block, slot->size);
	else if (kind == 0 && slot->origin == ALIGNED && free_aligned_sized != NULL)
		free_aligned_sized(block, slot->alignment, slot->size);
	else if (kind == 1)
		CHECK(worker, CALL(realloc)(block, 0) == NULL, "realloc(%p, 0)", block);
	else
		CALL(free)(block);
#ifndef __SANITIZE_THREAD__ /* to name a race, a suppressed one too, it opens files and leaves their errno */
	CHECK(worker, kind == 1 || errno == 77, "free of %p set errno to %d", block, errno);
#endif
	slot->block = NULL;
}

static void resize(struct worker *worker, struct slot *slot)
{
	size_t size = random_size(worker);
	/* All but the state, which others look at. */
	struct slot old = { .origin = slot->origin,
			    .block = slot->block,
			    .size = slot->size,
			    .usable = slot->usable,
			    .alignment = slot->alignment,
			    .contents = slot->contents };

	/* Often to something near, as growing arrays do, and sometimes over several classes. */
	if (random_below(&worker->random, 3) != 0)
		size = old.size + old.size / 8 + random_below(&worker->random, 64);
	if (size == 0 || size > LARGEST_SIZE)
		size = 1;
	check_contents(worker, &old, old.block, old.usable);
	leave(worker, slot);
	void *block = random_below(&worker->random, 4) == 0 ? CALL(reallocarray)(old.block, size, 1)
							    : CALL(realloc)(old.block, size);
	CHECK(worker, block != NULL, "realloc(%p, %zu) from %zu", old.block, size, old.size);
	check_contents(worker, &old, block, size < old.size ? size : old.size);
	enter(worker, slot, block, size, 16, PLAIN);
}

/* Any size that an object can have, at any alignment: a block, which is not touched, or ENOMEM. */
static void ask_for_much(struct worker *worker)
{
	uint64_t power = 25 + random_below(&worker->random, 38);
	size_t size = (size_t)(random_next(&worker->random) >> (63 - power)) | (size_t)1 << power;
	size_t alignment = random_alignment(worker);
	void *block;

	errno = 0;
	if (random_below(&worker->random, 2) == 0)
		block = CALL(malloc)(size);
	else
		block = CALL(memalign)(alignment, size);
	CHECK(worker, block != NULL || errno == ENOMEM, "%zu bytes: errno %d", size, errno);
	CHECK(worker, block == NULL || CALL(malloc_usable_size)(block) >= size, "%zu bytes", size);
	CALL(free)(block);
}

/* What must fail, and what may be asked at any time. */
static void ask(struct worker *worker)
{
	void *block = worker;

	switch (random_below(&worker->random, 9)) {
	case 8:
		ask_for_much(worker);
		break;
	case 0:
		errno = 0;
		CHECK(worker,
		      CALL(malloc)((size_t)PTRDIFF_MAX + 1 + random_next(&worker->random) / 2) == NULL,
		      "more than there is");
		CHECK(worker, errno == ENOMEM, "errno %d", errno);
		break;
	case 1:
		CHECK(worker, CALL(calloc)((size_t)1 << 33, (size_t)1 << 31) == NULL, "overflow");
		break;
	case 2:
		CHECK(worker, CALL(posix_memalign)(&block, 24, 8) == EINVAL && block == worker, "24");
		break;
	case 3:
#ifndef ENGINE_LINKED /* else it is glibc's, which does not survive that another thread makes its first block */
		CHECK(worker, mallinfo2().uordblks < (size_t)1 << 40, "mallinfo2");
#endif
		break;
	case 4:
		if (random_below(&worker->random, 100) == 0)
			CALL(malloc_trim)(0);
		break;
	case 5:
		CALL(free)(NULL);
		break;
	default:
		CHECK(worker, CALL(malloc_usable_size)(NULL) == 0, "of NULL");
		break;
	}
}

/* One operation on a slot that only this thread uses now. */
static void operate(struct worker *worker, struct slot *slot)
{
	if (slot->block == NULL)
		allocate(worker, slot);
	else if (random_below(&worker->random, 4) == 0)
		resize(worker, slot);
	else if (random_below(&worker->random, 8) == 0)
		check_contents(worker, slot, slot->block, slot->usable);
	else
		release(worker, slot);
}

static void operate_on_shared(struct worker *worker)
{
	struct slot *slot = &shared[random_below(&worker->random, SHARED_SLOTS)];
	int state = __atomic_load_n(&slot->state, __ATOMIC_RELAXED);

	/* Acquires what the thread that left the slot released. */
	if (state == BUSY || !__atomic_compare_exchange_n(&slot->state, &state, BUSY, false,
							  __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return;
	operate(worker, slot);
	__atomic_store_n(&slot->state, slot->block == NULL ? EMPTY : FULL, __ATOMIC_RELEASE);
}

static void *work(void *argument)
{
	struct worker *worker = (struct worker *)argument;
	uint64_t phase; /* slots in use swell and shrink, so that peaks come and go */

	for (worker->done = worker->from; worker->done < worker->operations; worker->done++) {
		phase = mix(seed + worker->done / 50000 + 1) % 3;
		worker->random = mix(mix(seed * 1000 + worker->index) + worker->done);
		if (reached != NULL)
			*reached = worker->done;
		uint64_t kind = random_below(&worker->random, 64);
		if (kind == 0) {
			ask(worker);
		} else if (kind < 20) {
			operate_on_shared(worker);
		} else {
			size_t count = OWN_SLOTS >> (phase * 3);
			operate(worker, &worker->own[random_below(&worker->random, count)]);
		}
	}
	for (size_t i = 0; i < OWN_SLOTS; i++)
		if (worker->own[i].block != NULL && random_below(&worker->random, 10) != 0)
			release(worker, &worker->own[i]);
	return NULL;
}

static void look_up(const char *name, void *function)
{
	void *symbol = dlsym(RTLD_DEFAULT, name);

	memcpy(function, &symbol, sizeof(symbol));
}

static uint64_t live_blocks(void)
{
	int (*stats)(struct pyarena_stats *);
	struct pyarena_stats now;

	look_up("pyarena_stats", &stats);
	now.size = sizeof(now);
	if (stats == NULL)
		return 0;
	REQUIRE(stats(&now) == 0);
	return now.live_blocks;
}

static void choose_seed(void)
{
	seed = tap_value("seed");
	if (seed == 0) {
		struct timespec now;
		clock_gettime(CLOCK_REALTIME, &now);
		seed = mix((uint64_t)now.tv_nsec + (uint64_t)now.tv_sec) % 1000000000 + 1;
	}
}

static void work_together(uint64_t from, uint64_t operations, size_t threads)
{
	static struct worker workers[THREADS_MAX];

	REQUIRE(threads > 0 && threads <= THREADS_MAX, "1 to %d threads", THREADS_MAX);
	look_up("free_sized", &free_sized);
	look_up("free_aligned_sized", &free_aligned_sized);
	leaves = (uint64_t **)table_of((size_t)1 << (47 - LEAF_BITS), sizeof(uint64_t *));
	shared = (struct slot *)table_of(SHARED_SLOTS, sizeof(struct slot));
	uint64_t before = live_blocks();
	for (size_t i = 0; i < threads; i++) {
		struct worker *worker = &workers[i];
		worker->index = (unsigned)i;
		worker->from = from;
		worker->operations = operations / threads;
		worker->own = (struct slot *)table_of(OWN_SLOTS, sizeof(struct slot));
		if (i > 0)
			REQUIRE(pthread_create(&worker->thread, NULL, work, worker) == 0);
	}
	work(&workers[0]);
	for (size_t i = 1; i < threads; i++)
		pthread_join(workers[i].thread, NULL);
	/* What ended threads have left behind is freed here. */
	for (size_t i = 0; i < threads; i++)
		for (size_t j = 0; j < OWN_SLOTS; j++)
			if (workers[i].own[j].block != NULL)
				release(&workers[0], &workers[i].own[j]);
	for (size_t i = 0; i < SHARED_SLOTS; i++)
		if (shared[i].block != NULL)
			release(&workers[0], &shared[i]);
	CALL(malloc_trim)(0); /* lists of blocks that other threads freed are looked through */
	uint64_t after = live_blocks();
	EXPECT(after <= before + 2 * threads + 8, "%llu blocks live before, %llu after",
	       (unsigned long long)before, (unsigned long long)after);
}

static void run(uint64_t operations, size_t threads)
{
	choose_seed();
	tap_note("figure: %llu random operations by %zu threads, seed %llu",
		 (unsigned long long)operations, threads, (unsigned long long)seed);
	work_together(0, operations, threads);
}

/* One thread's run in a process of its own, silent if it is only to find out whether it fails. */
static bool attempt(uint64_t from, uint64_t until, bool is_silent)
{
	pid_t child = fork();

	REQUIRE(child >= 0, "fork: %s", strerror(errno));
	if (child == 0) {
		int nowhere = is_silent ? open("/dev/null", O_WRONLY) : -1;
		if (is_silent && (dup2(nowhere, STDOUT_FILENO) < 0 || dup2(nowhere, STDERR_FILENO) < 0))
			_exit(TAP_ERROR);
		work_together(from, until, 1);
		_exit(tap_status());
	}
	int status;
	REQUIRE(waitpid(child, &status, 0) == child);
	return status == 0;
}

static void one_thread(void)
{
	uint64_t from = tap_value("from"), until = tap_value("ops") / 2;

	choose_seed();
	reached = (uint64_t *)mmap(NULL, sizeof *reached, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	REQUIRE(reached != MAP_FAILED);
	tap_note("figure: %llu random operations by one thread, seed %llu",
		 (unsigned long long)(until - from), (unsigned long long)seed);
	if (attempt(from, until, false))
		return;
	/* Leave out what came before, by halves, as long as it fails. */
	if (*reached + 1 < until)
		until = *reached + 1;
	for (uint64_t step = (until - from) / 2; step > 0; step /= 2)
		while (step < until - from && !attempt(from + step, until, true))
			from += step;
	EXPECT(false, "the last %llu operations fail by themselves: --seed %llu --from %llu --ops %llu",
	       (unsigned long long)(until - from), (unsigned long long)seed, (unsigned long long)from,
	       (unsigned long long)until * 2);
}

static void many_threads(void)
{
	run(tap_value("ops"), tap_value("threads"));
}

/* Each free gives its pages back, so all that is purged is used again at once. */
static void nothing_kept(void)
{
	tap_need_library();
	tap_restart_with("PYARENA_KEEP_FREE", "0");
	run(tap_value("ops") / 4, tap_value("threads"));
}

static void everything_kept(void)
{
	tap_need_library();
	tap_restart_with("PYARENA_KEEP_FREE", "64G");
	run(tap_value("ops") / 4, tap_value("threads"));
}

static void standing_aside(void)
{
	tap_need_library();
	tap_restart_with("PYARENA_DISABLE", "1");
	run(tap_value("ops") / 10, tap_value("threads"));
}

static const struct tap_point points[] = {
	{ "one_thread", one_thread },         { "many_threads", many_threads },
	{ "nothing_kept", nothing_kept },     { "everything_kept", everything_kept },
	{ "standing_aside", standing_aside }, { NULL, NULL },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, points, options);
}
