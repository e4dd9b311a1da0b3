/* SPDX-License-Identifier: MIT */
/*
 * test_heap.c: a heap of its own against a shadow of what is live in it: every block is filled with
 * its own pattern, and the heap's invariants are looked at in between.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "capture.h"
#include "dice.h"
#include "lock.h"
#include "machine.h"
#include "malloc.h"
#include "manager.h"
#include "placement.h"
#include "reserve.h"

#define SHADOWS 4000u

struct shadow {
	unsigned char *p;
	size_t bytes;
	unsigned char fill;
};

static struct pa_heap *heap;
static struct shadow shadows[SHADOWS];

static void keep(size_t bytes)
{
	pa_reserve_set(&(struct pa_keep_option){ PA_KEEP_BYTES, bytes });
}

static int begin(void **state)
{
	(void)state;
	keep(1024 * PA_MIB);
	heap = pa_heap_acquire(PA_HEAP_THREAD);
	memset(shadows, 0, sizeof shadows);
	if (!heap)
		return -1;
	for (unsigned i = 0; i < PA_CLASSES; i++) /* what it learnt in other tests */
		heap->classes[i].growth = heap->classes[i].losses = 0;
	return 0;
}

/* A test leaves nothing live behind: then no arena stays. */
static int end(void **state)
{
	(void)state;
	pa_heap_check(heap);
	pa_heap_trim(heap);
	bool is_clean = heap->arena_mask == 0 && heap->queue_first == NULL;
	if (is_clean) /* else the next test gets another one */
		pa_heap_abandon(heap);
	pa_manager_shrink(PA_RESERVE_NOTHING);
	return is_clean ? 0 : -1;
}

static void release(struct pa_heap *from, void *p)
{
	if (!pa_heap_free(from, p))
		pa_heap_free_slow(from, p, "free");
}

static struct pa_pool *pool_of(const void *p)
{
	return pa_arena_pool_at(p);
}

static bool is_filled(const struct shadow *s)
{
	return s->bytes == 0 || (s->p[0] == s->fill && memcmp(s->p, s->p + 1, s->bytes - 1) == 0);
}

static void shadow_allocate(struct shadow *s, size_t bytes, unsigned char fill)
{
	*s = (struct shadow){ pa_allocate(heap, bytes), bytes, fill };
	assert_non_null(s->p);
	assert_int_equal((uintptr_t)s->p % PA_ALIGN, 0);
	assert_int_equal(pool_of(s->p)->owner, pa_heap_tag(heap));
	memset(s->p, fill, bytes);
}

static void shadow_free(struct shadow *s)
{
	assert_true(is_filled(s));
	release(heap, s->p);
	s->p = NULL;
}

static size_t some_bytes(struct dice *dice)
{
	switch (dice_below(dice, 16)) {
	case 0:
		return dice_below(dice, PA_SMALL_MAX + 1);
	case 1:
		return dice_below(dice, 32) ? 40 : dice_below(dice, PA_MEDIUM_MAX + 1);
	case 2:
		return 4000 + dice_below(dice, 300);
	default:
		return dice_below(dice, PA_TINY_MAX + 1);
	}
}

/* The number of arenas of the heap, and how many units of them are dirty or dead. */
static unsigned arena_count(unsigned *dirty)
{
	unsigned count = 0;

	*dirty = 0;
	for (unsigned n = 0; n <= PA_ARENA_USABLE; n++)
		for (struct pa_arena *arena = heap->arenas[n]; arena; arena = arena->next, count++)
			*dirty += (unsigned)arena->dirty_units + arena->dead_units;
	return count;
}

static void sweep_all(enum pa_sweep_depth depth)
{
	bool was_busy = pa_heap_enter(heap);

	for (unsigned n = 0; n <= PA_ARENA_USABLE; n++) {
		struct pa_arena *next;
		for (struct pa_arena *arena = heap->arenas[n]; arena; arena = next) {
			next = arena->next;
			pa_heap_sweep_arena(heap, arena, depth, PA_RESERVE_NOTHING);
		}
	}
	pa_placement_flush(heap);
	pa_heap_leave(heap, was_busy);
}

static void add_touched(void *context, struct pa_arena *arena)
{
	for (unsigned slot = PA_ARENA_FIRST; slot <= PA_ARENA_LAST; slot++)
		*(int64_t *)context += pa_count_bits(
			pa_units_get(arena->touched, pa_arena_first_unit(slot), PA_SLOT_UNITS));
}

/* What the reserve takes for resident is what the arenas hold, those of the cache included; nothing is large here. */
static void check_resident(void)
{
	bool was_busy = pa_heap_hold(heap); /* else another might be about to purge */
	struct pa_manager_counts counts;
	int64_t touched = 0;

	pa_placement_flush(heap);
	pa_lock(PA_LOCK_MANAGER);
	pa_manager_visit_locked(add_touched, &touched);
	pa_manager_count_locked(&counts);
	pa_unlock(PA_LOCK_MANAGER);
	assert_int_equal(pa_reserve.resident_units, touched + (int64_t)counts.cached_dirty_units);
	assert_int_equal(pa_reserve.live_units, pa_reserve.resident_units - pa_reserve.dirty_units);
	pa_heap_leave(heap, was_busy);
}

static void live_at_random(uint64_t seed, unsigned steps, bool with_sweeps)
{
	struct dice dice = { seed };

	for (unsigned n = 0; n < steps; n++) {
		/* It grows, shrinks, and for a while uses but a few sizes. */
		unsigned phase = n / 3000 % 4, i = dice_below(&dice, SHADOWS);
		struct shadow *s = &shadows[i];
		if (s->p && (phase != 0 || dice_below(&dice, 4) == 0))
			shadow_free(s);
		if (!s->p && phase != 1)
			shadow_allocate(s, phase == 3 ? 48 * (1 + i % 3) : some_bytes(&dice),
					(unsigned char)dice_throw(&dice));
		if (with_sweeps && dice_below(&dice, 1500) == 0)
			sweep_all(dice_below(&dice, 3));
		if (with_sweeps && dice_below(&dice, 4000) == 0)
			pa_heap_trim(heap);
		if (n % 1000 == 0) {
			pa_heap_check(heap);
			check_resident();
		}
	}
	for (unsigned i = 0; i < SHADOWS; i++)
		if (shadows[i].p)
			shadow_free(&shadows[i]);
}

static void test_random_life_with_a_large_reserve(void **state)
{
	(void)state;

	live_at_random(20, 150000, true);
}

static void test_random_life_without_reserve(void **state)
{
	(void)state;

	keep(0);
	live_at_random(21, 150000, false);
	assert_true(heap->sweeps > 0);
}

static void test_random_life_with_a_tight_reserve(void **state)
{
	(void)state;

	keep(PA_MIB / 2);
	live_at_random(22, 150000, true);
}

static void test_every_class(void **state)
{
	(void)state;

	for (unsigned c = 0; c < PA_CLASSES; c++) {
		unsigned count = 3u * pa_classes[c].blocks + 1;
		if (count > SHADOWS)
			count = SHADOWS;
		heap->classes[c].requests = PA_FINE_REQUESTS; /* no other class is to serve it */
		for (unsigned i = 0; i < count; i++) {
			unsigned char *p = pa_heap_pop(heap, c);
			if (!p)
				p = pa_heap_allocate_slow(heap, c);
			assert_non_null(p);
			shadows[i] = (struct shadow){ p, pa_classes[c].block_bytes, (unsigned char)i };
			memset(p, (int)i, pa_classes[c].block_bytes);
			assert_int_equal(pool_of(p)->class_index, c);
		}
		pa_heap_check(heap);
		for (unsigned i = 0; i < count; i += 3)
			shadow_free(&shadows[i]);
		pa_heap_check(heap);
		for (unsigned i = 0; i < count; i++)
			if (shadows[i].p)
				shadow_free(&shadows[i]);
		pa_heap_check(heap);
	}
}

/* What others are to free: then its owner finds it at its next slow path. */
struct handed {
	void **blocks;
	unsigned count;
};

static void *free_handed(void *argument)
{
	const struct handed *handed = argument;

	for (unsigned i = 0; i < handed->count; i++)
		pa_free(handed->blocks[i], "free");
	return NULL;
}

static void free_elsewhere(void **blocks, unsigned count)
{
	struct handed handed = { blocks, count };
	pthread_t thread;

	if (pthread_create(&thread, NULL, free_handed, &handed) != 0)
		capture_fail("pthread_create");
	pthread_join(thread, NULL);
}

static void test_remote_frees(void **state)
{
	static void *blocks[3000];
	struct dice dice = { 23 };
	(void)state;

	for (unsigned round = 0; round < 4; round++) {
		uint64_t collected = heap->remote_frees;
		for (unsigned i = 0; i < 3000; i++) {
			size_t bytes = i % 500 == 0 ? 20000 + i : some_bytes(&dice);
			blocks[i] = pa_allocate(heap, bytes);
			memset(blocks[i], 1, bytes);
		}
		free_elsewhere(blocks, 3000);
		pa_heap_check(heap);
		assert_int_equal(heap->remote_frees, collected);
		assert_non_null(heap->remote_pools);
		/* The slow path takes them back, as does a trim. */
		if (round % 2)
			pa_heap_trim(heap);
		else
			release(heap, pa_heap_allocate_run(heap, 20000, false));
		assert_null(heap->remote_pools);
		assert_int_equal(heap->remote_frees, collected + 3000);
		pa_heap_check(heap);
	}
}

/* A block that was freed elsewhere is used again. */
static void test_remote_frees_are_used_again(void **state)
{
	enum { COUNT = 2000 };
	static void *blocks[COUNT];
	unsigned dirty;
	(void)state;

	for (unsigned i = 0; i < COUNT; i++)
		blocks[i] = pa_allocate(heap, 512);
	unsigned arenas = arena_count(&dirty);
	for (unsigned round = 0; round < 10; round++) {
		free_elsewhere(blocks, COUNT);
		for (unsigned i = 0; i < COUNT; i++)
			blocks[i] = pa_allocate(heap, 512);
	}
	assert_in_range(arena_count(&dirty), arenas, arenas + 1);
	free_elsewhere(blocks, COUNT);
	pa_heap_trim(heap);
}

#define RING 256u

static _Atomic(void *) ring[RING];
static _Atomic(bool) is_over;
static _Atomic(unsigned) spoilt;

static void *empty_the_ring(void *argument)
{
	struct dice dice = { 24 };

	while (!pa_load_relaxed(&is_over)) {
		unsigned char *p = pa_exchange_acquire(&ring[dice_below(&dice, RING)], NULL);
		if (!p)
			continue;
		if (p[8] != p[9] || p[9] != p[10])
			pa_add_relaxed(&spoilt, 1);
		pa_free(p, "free");
	}
	return argument;
}

/* The owner allocates and frees while two others free what it has made. */
static void test_frees_of_several_at_once(void **state)
{
	struct dice dice = { 25 };
	pthread_t threads[2];
	(void)state;

	pa_store_relaxed(&is_over, false);
	keep(PA_MIB);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, empty_the_ring, NULL), 0);
	for (unsigned n = 0; n < 150000; n++) {
		size_t bytes = 16 + some_bytes(&dice) % 3000;
		unsigned char *p = pa_allocate(heap, bytes);
		memset(p, (int)n, bytes);
		p = atomic_exchange(&ring[dice_below(&dice, RING)], p);
		if (p) {
			assert_int_equal(p[8], p[10]);
			release(heap, p);
		}
	}
	pa_store_relaxed(&is_over, true);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < RING; i++) {
		void *p = atomic_exchange(&ring[i], NULL);
		if (p)
			release(heap, p);
	}
	assert_int_equal(spoilt, 0);
	assert_true(heap->remote_frees > 0);
	pa_heap_trim(heap);
}

static void test_runs(void **state)
{
	(void)state;

	for (size_t bytes = 1; bytes <= PA_MEDIUM_MAX; bytes += 4099) {
		char *p = pa_heap_allocate_run(heap, bytes, false);
		assert_non_null(p);
		assert_int_equal((uintptr_t)p % PA_SLOT_BYTES, 0);
		struct pa_pool *pool = pool_of(p);
		assert_int_equal(pool->class_index, PA_CLASS_RUN);
		assert_int_equal(pa_pool_slots(pool), (bytes + PA_SLOT_BYTES - 1) / PA_SLOT_BYTES);
		assert_int_equal(pool->run_units, (bytes + PA_UNIT_BYTES - 1) / PA_UNIT_BYTES);
		memset(p, 1, bytes);
		/* Every part of it leads back to its start. */
		for (size_t at = 0; at < bytes; at += 1024)
			assert_ptr_equal(pool_of(p + at), pool);
		assert_ptr_equal(pa_heap_find(heap, p, "free"), pool);
		pa_heap_check(heap);
		release(heap, p);
		assert_int_equal(pool->owner, 0);
	}
	char *p = pa_heap_allocate_run(heap, 0, false);
	assert_non_null(p);
	release(heap, p);
}

/* What grows gets room behind it, which what comes next leaves to it. */
static void test_runs_that_grow(void **state)
{
	(void)state;

	char *p = pa_heap_allocate_run(heap, 30000, true), *next[3];
	for (unsigned i = 0; i < 3; i++)
		next[i] = pa_heap_allocate_run(heap, 50000, false);
	assert_ptr_equal(p, pa_arena_slot_start(pa_arena_of(p), PA_ARENA_LAST - 3));
	assert_ptr_equal(next[0], pa_arena_slot_start(pa_arena_of(p), PA_ARENA_FIRST));
	assert_true(pa_heap_resize_run(heap, pool_of(p), 60000));
	/* One that has grown as far as it can is moved in front of twice as much again. */
	memset(p, 7, 60000);
	char *moved = pa_reallocate(heap, p, 70000, "realloc");
	assert_ptr_equal(moved, pa_arena_slot_start(pa_arena_of(p), PA_ARENA_LAST - 13));
	assert_ptr_equal(pa_reallocate(heap, moved, 160000, "realloc"), moved);
	for (unsigned i = 0; i < 60000; i++)
		assert_int_equal(moved[i], 7);
	pa_heap_check(heap);
	/* As much as there may be at most; and where there is no room to grow, what fits, before an arena is made. */
	char *largest = pa_heap_allocate_run(heap, PA_MEDIUM_MAX, true);
	char *rest = pa_heap_allocate_run(heap, PA_MEDIUM_MAX, false);
	char *fits = pa_heap_allocate_run(heap, 4 * PA_SLOT_BYTES, true);
	assert_ptr_equal(pa_arena_of(largest), pa_arena_of(p));
	assert_ptr_equal(pa_arena_of(rest), pa_arena_of(p));
	assert_ptr_equal(pa_arena_of(fits), pa_arena_of(p));
	release(heap, fits);
	release(heap, rest);
	release(heap, largest);
	release(heap, moved);
	for (unsigned i = 0; i < 3; i++)
		release(heap, next[i]);
}

/* More arenas than have a place in known: those that have none are found all the same. */
static void test_more_arenas_than_are_known(void **state)
{
	static char *runs[4 * (PA_KNOWN_ARENAS + 50)];
	unsigned count = sizeof runs / sizeof runs[0], unknown = 0;
	(void)state;

	for (unsigned i = 0; i < count; i++)
		assert_non_null(runs[i] = pa_heap_allocate_run(heap, 200000, false));
	pa_heap_check(heap);
	for (unsigned i = 0; i < count; i++) {
		unknown += *pa_heap_known(heap, runs[i]) != pa_arena_of(runs[i]);
		assert_ptr_equal(pa_heap_own_pool(heap, runs[i]), pool_of(runs[i]));
	}
	assert_true(unknown > 0);
	for (unsigned i = 0; i < count; i += 2) {
		char *freed = runs[i];
		release(heap, freed);
		assert_null(pa_heap_own_pool(heap, freed));
	}
	pa_heap_check(heap);
	for (unsigned i = 1; i < count; i += 2)
		release(heap, runs[i]);
	assert_null(pa_heap_own_pool(heap, NULL));
	assert_null(pa_heap_own_pool(heap, (void *)~(uintptr_t)15));
}

static void test_runs_in_place(void **state)
{
	(void)state;

	char *p = pa_heap_allocate_run(heap, 40000, false),
	     *behind = pa_heap_allocate_run(heap, 30000, false);
	assert_ptr_equal(behind, p + 3 * PA_SLOT_BYTES);
	struct pa_pool *pool = pool_of(p);
	memset(p, 3, 40000);
	memset(behind, 4, 30000);
	/* Within its slots, but not into those of the next one. */
	assert_true(pa_heap_resize_run(heap, pool, 3 * PA_SLOT_BYTES));
	assert_int_equal(pool->run_units, 12);
	memset(p + 40000, 3, 3 * PA_SLOT_BYTES - 40000);
	assert_false(pa_heap_resize_run(heap, pool, 3 * PA_SLOT_BYTES + 1));
	assert_int_equal(pa_pool_slots(pool), 3);
	assert_int_equal(pool->run_units, 12);
	pa_heap_check(heap);
	/* Shrunk, its last slots are free. */
	assert_true(pa_heap_resize_run(heap, pool, 17000));
	assert_int_equal(pa_pool_slots(pool), 2);
	assert_int_equal(pool->run_units, 5);
	pa_heap_check(heap);
	char *between = pa_heap_allocate_run(heap, 16384, false);
	assert_ptr_equal(between, p + 2 * PA_SLOT_BYTES);
	assert_false(pa_heap_resize_run(heap, pool, 40000));
	release(heap, between);
	assert_true(pa_heap_resize_run(heap, pool, 40000));
	for (unsigned i = 0; i < 17000; i++)
		assert_int_equal(p[i], 3);
	for (unsigned i = 0; i < 30000; i++)
		assert_int_equal(behind[i], 4);
	release(heap, behind);
	/* To the arena's end, not beyond it. */
	assert_true(pa_heap_resize_run(heap, pool, PA_MEDIUM_MAX));
	memset(p, 5, PA_MEDIUM_MAX);
	assert_false(pa_heap_resize_run(heap, pool, PA_ARENA_USABLE * PA_SLOT_BYTES + 1));
	assert_true(pa_heap_resize_run(heap, pool, PA_ARENA_USABLE * PA_SLOT_BYTES));
	assert_ptr_equal(pool_of(p + PA_ARENA_USABLE * PA_SLOT_BYTES - 1), pool);
	pa_heap_check(heap);
	release(heap, p);
}

static bool is_resident(const void *p)
{
	unsigned char resident = 0;

	if (mincore((void *)((uintptr_t)p & ~(uintptr_t)4095), 1, &resident) != 0)
		return false;
	return resident & 1;
}

/* Four runs, of which two go; and pools of which every second page becomes dead. */
static void test_sweep_depths(void **state)
{
	enum { COUNT = 1024 };
	static char *small[COUNT];
	(void)state;
	need_pages_of_at_most(PA_UNIT_BYTES);

	char *run = pa_heap_allocate_run(heap, 50000, false),
	     *stays = pa_heap_allocate_run(heap, 50000, false);
	memset(run, 1, 50000);
	memset(stays, 1, 50000);
	struct pa_arena *arena = pa_arena_of(run);
	release(heap, run);
	assert_int_equal(arena->dirty_units, 13);
	assert_true(arena->is_queued);
	sweep_all(PA_SWEEP_SLOTS);
	assert_int_equal(arena->dirty_units, 0);
	assert_false(is_resident(run));
	assert_true(is_resident(stays));
	pa_heap_check(heap);

	for (unsigned i = 0; i < COUNT; i++) {
		small[i] = pa_allocate(heap, 2048);
		memset(small[i], 2, 2048);
	}
	for (unsigned i = 0; i < COUNT; i++)
		if ((uintptr_t)small[i] >> 12 & 1)
			release(heap, small[i]);
	pa_heap_check(heap);
	sweep_all(PA_SWEEP_SLOTS);
	unsigned dead = 0;
	for (unsigned i = 0; i < COUNT; i++)
		dead += ((uintptr_t)small[i] >> 12 & 1) && !is_resident(small[i]);
	assert_int_equal(dead, 0);
	sweep_all(PA_SWEEP_ALL);
	for (unsigned i = 0; i < COUNT; i++) {
		if ((uintptr_t)small[i] >> 12 & 1) {
			assert_false(is_resident(small[i]));
			continue;
		}
		for (unsigned at = 0; at < 2048; at++)
			assert_int_equal(small[i][at], 2);
	}
	pa_heap_check(heap);
	/* What was purged is used again, as zeros. */
	for (unsigned i = 0; i < COUNT; i++) {
		if (!((uintptr_t)small[i] >> 12 & 1))
			continue;
		small[i] = pa_allocate(heap, 2048);
		for (unsigned at = 16; at < 2048; at++)
			assert_int_equal(small[i][at], 0);
		memset(small[i], 3, 2048);
	}
	pa_heap_check(heap);
	for (unsigned i = 0; i < COUNT; i++)
		release(heap, small[i]);
	release(heap, stays);
}

/* Pools in which dead units are expected are swept without being asked to sweep all. */
static void test_sweep_of_expected_dead_units(void **state)
{
	enum { COUNT = 4096 };
	static char *small[COUNT];
	unsigned resident = 0;
	(void)state;
	need_pages_of_at_most(PA_UNIT_BYTES);

	for (unsigned i = 0; i < COUNT; i++) {
		small[i] = pa_allocate(heap, 64);
		memset(small[i], 2, 64);
	}
	for (unsigned i = 0; i < COUNT; i++)
		if (i % 256 != 7)
			release(heap, small[i]);
	unsigned dirty;
	arena_count(&dirty);
	assert_true(dirty > 30);
	sweep_all(PA_SWEEP_POOLS);
	for (unsigned i = 7; i < COUNT; i += 256)
		assert_int_equal(small[i][5], 2);
	for (unsigned i = 0; i < COUNT; i += 64)
		resident += is_resident(small[i]);
	assert_in_range(resident, COUNT / 256, 2 * COUNT / 256);
	pa_heap_check(heap);
	for (unsigned i = 7; i < COUNT; i += 256)
		release(heap, small[i]);
}

/* Whatever goes back is counted as such, and what is dirty is within what is allowed. */
static void test_reserve_is_kept_to(void **state)
{
	struct dice dice = { 26 };
	(void)state;
	need_pages_of_at_most(PA_SLOT_BYTES);

	keep(2 * PA_MIB);
	for (unsigned i = 0; i < SHADOWS; i++)
		shadow_allocate(&shadows[i], 3000 + dice_below(&dice, 9000), 1);
	uint64_t purged = pa_load_relaxed(&pa_reserve.purged_units);
	for (unsigned i = 0; i < SHADOWS; i++)
		if (i % 16)
			shadow_free(&shadows[i]);
	pa_heap_check(heap);
	pa_placement_flush(heap);
	assert_true(pa_load_relaxed(&pa_reserve.dirty_units) <= 512 + 64);
	assert_true(pa_load_relaxed(&pa_reserve.purged_units) - purged > 2000);
	for (unsigned i = 0; i < SHADOWS; i += 16)
		shadow_free(&shadows[i]);
}

static void test_trim_gives_everything_back(void **state)
{
	unsigned dirty;
	(void)state;
	need_pages_of_at_most(PA_SLOT_BYTES);

	for (unsigned i = 0; i < SHADOWS; i++)
		shadow_allocate(&shadows[i], 100 + i % 400, (unsigned char)i);
	for (unsigned i = 0; i < SHADOWS; i++)
		if (i % 100)
			shadow_free(&shadows[i]);
	uint64_t purged = pa_load_relaxed(&pa_reserve.purged_units);
	size_t bytes = pa_heap_trim(heap);
	assert_int_equal(bytes, (pa_load_relaxed(&pa_reserve.purged_units) - purged) * PA_UNIT_BYTES);
	assert_true(bytes > SHADOWS * 150);
	arena_count(&dirty);
	assert_int_equal(dirty, 0);
	assert_int_equal(pa_heap_trim(heap), 0);
	for (unsigned i = 0; i < SHADOWS; i += 100)
		shadow_free(&shadows[i]);
}

/* A class above PA_TINY_MAX has pools of its own once it is asked for often. */
static void test_fine_classes_have_to_be_wanted(void **state)
{
	unsigned fine = pa_class_of(1000), coarse = pa_class_coarse(fine);
	void *blocks[PA_FINE_REQUESTS + 1];
	(void)state;

	heap->classes[fine].requests = 0; /* the heap may have been used before */
	assert_true(fine != coarse);
	for (unsigned i = 0; i <= PA_FINE_REQUESTS; i++) {
		blocks[i] = pa_allocate(heap, 1000);
		assert_int_equal(pool_of(blocks[i])->class_index, i < PA_FINE_REQUESTS ? coarse : fine);
	}
	for (unsigned i = 0; i <= PA_FINE_REQUESTS; i++)
		release(heap, blocks[i]);
}

/* Units that are present, of all pools of the heap that are not free. */
static unsigned present_units(void)
{
	unsigned units = 0;

	for (unsigned n = 0; n <= PA_ARENA_USABLE; n++)
		for (struct pa_arena *arena = heap->arenas[n]; arena; arena = arena->next)
			for (unsigned i = 0; i < PA_UNIT_WORDS; i++)
				units += pa_count_bits(arena->touched[i]);
	return units;
}

/* A class takes up more than it needs once it has grown, but never more than a share of that. */
static void test_growth_takes_up_units_ahead(void **state)
{
	enum { BLOCK = 1024, BLOCKS = 3000, PER_UNIT = PA_UNIT_BYTES / BLOCK };
	static char *blocks[BLOCKS];
	unsigned steps = 0, before = 0, others = 0;
	(void)state;

	for (unsigned i = 0; i < BLOCKS; i++) {
		blocks[i] = pa_allocate(heap, BLOCK);
		if (i < PA_FINE_REQUESTS) { /* from a coarser class */
			others = before = present_units();
			continue;
		}
		unsigned now = present_units() - others;
		unsigned needed = (i - PA_FINE_REQUESTS) / PER_UNIT;
		assert_in_range(now, needed, needed + needed / 16 + 2);
		steps += now > before;
		before = now;
	}
	assert_in_range(steps, BLOCKS / PER_UNIT / 16, BLOCKS / PER_UNIT / 2);
	for (unsigned i = 0; i < BLOCKS; i++)
		release(heap, blocks[i]);
}

/* What has grown before takes up resident units ahead as well: a pool of dirty ones at once. */
static void test_growth_takes_up_resident_units_ahead(void **state)
{
	enum { BLOCK = 512, BLOCKS = 6000 };
	static char *blocks[BLOCKS];
	uint64_t purged = pa_load_relaxed(&pa_reserve.purged_units);
	unsigned whole = 0;
	(void)state;

	for (unsigned turn = 0; turn < 2; turn++) {
		for (unsigned i = 0; i < BLOCKS; i++) {
			blocks[i] = pa_allocate(heap, BLOCK);
			const struct pa_pool *pool = pool_of(blocks[i]);
			bool is_first = pa_pool_used(pool) == 1;
			whole += turn == 1 && is_first && !pa_pool_carvable(pool);
		}
		for (unsigned i = 0; i < BLOCKS; i++)
			release(heap, blocks[i]);
	}
	assert_int_equal(pa_load_relaxed(&pa_reserve.purged_units), purged);
	assert_true(whole > BLOCKS * BLOCK / PA_SLOT_BYTES / 2);
}

/* Where there is no more memory, a pool that still waits for frees serves with the one block that it has. */
static void test_no_block_waits_in_vain(void **state)
{
	enum { BLOCK = 1024, SOME = 3000, BLOCKS = 200000 };
	static char *blocks[BLOCKS];
	struct rlimit before, none;
	unsigned count = 0;
	(void)state;
	need_a_kernel();

	assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
	none = (struct rlimit){ 1, before.rlim_max };
	for (; count < SOME; count++)
		blocks[count] = pa_allocate(heap, BLOCK);
	assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
	while (count < BLOCKS && (blocks[count] = pa_allocate(heap, BLOCK)) != NULL)
		count++;
	/* The first ones are of a coarser class, and the last ones of the current pool. */
	unsigned place = count / 2;
	unsigned pool_state = pool_of(blocks[place])->state;
	release(heap, blocks[place]);
	unsigned state_after = pool_of(blocks[place])->state;
	char *again = pa_allocate(heap, BLOCK);
	assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
	assert_in_range(count, SOME, BLOCKS - 1);
	assert_int_equal(pool_state, PA_POOL_FULL);
	assert_int_equal(state_after, PA_POOL_FULL);
	assert_ptr_equal(again, blocks[place]);
	for (unsigned i = 0; i < count; i++)
		release(heap, blocks[i]);
}

/* Classes that are used by turns do not rob each other of their empty pools for ever. */
static void test_classes_by_turns_keep_their_pools(void **state)
{
	enum { SIZES = 8, TURNS = 100 };
	unsigned losses = 0;
	(void)state;

	for (unsigned turn = 0; turn < TURNS; turn++) {
		unsigned before = losses;
		losses = 0;
		for (unsigned i = 0; i < SIZES; i++)
			release(heap, pa_allocate(heap, 32 * (i + 1)));
		for (unsigned i = 0; i < PA_CLASSES; i++)
			losses += heap->classes[i].losses;
		assert_true(losses > 0 || turn == 0);
		if (turn > TURNS / 2)
			assert_int_equal(losses, before);
	}
}

/* Where the system refuses to purge, it is not asked at each free; a while later it is asked again. */
static void test_refusals_are_not_asked_for(void **state)
{
	enum { BLOCKS = 3000 };
	static void *blocks[BLOCKS];
	(void)state;

	need_a_kernel();
	for (unsigned i = 0; i < BLOCKS; i++)
		blocks[i] = memset(pa_allocate(heap, 240), 1, 240);
	struct pa_arena *arena = pa_arena_of(blocks[0]);
	/* Not mlock, in the place of which sanitizers have one that does nothing. */
	if (syscall(SYS_mlock, arena, PA_ARENA_BYTES) != 0)
		skip(); /* RLIMIT_MEMLOCK */
	keep(0);
	uint64_t sweeps = heap->sweeps;
	for (unsigned i = 0; i < BLOCKS; i++)
		if (i % 128)
			release(heap, blocks[i]);
	assert_in_range(heap->sweeps - sweeps, 1, 8); /* hundreds, if it were */
	assert_int_not_equal(pa_load_relaxed(&pa_reserve.refused_ns), 0);

	assert_int_equal(syscall(SYS_munlock, arena, PA_ARENA_BYTES), 0);
	nanosleep(&(struct timespec){ 0, 300000000 }, NULL);
	assert_false(pa_reserve_is_refused());
	int64_t dirty = heap->dirty_units;
	for (unsigned i = 0; i < BLOCKS; i += 128)
		release(heap, blocks[i]);
	assert_true(heap->dirty_units < dirty);
	assert_int_equal(pa_load_relaxed(&pa_reserve.refused_ns), 0);
}

/* An empty current pool of one class serves another before fresh memory does. */
static void test_empty_current_pools_are_shared_out(void **state)
{
	static void *blocks[500];
	unsigned dirty;
	(void)state;

	for (unsigned size = 16; size <= 512; size += 16) {
		for (unsigned i = 0; i < 30; i++)
			blocks[i] = pa_allocate(heap, size);
		for (unsigned i = 0; i < 30; i++)
			release(heap, blocks[i]);
	}
	pa_heap_check(heap);
	struct pa_arena *arena = NULL;
	assert_int_equal(arena_count(&dirty), 1);
	for (unsigned n = 0; n <= PA_ARENA_USABLE; n++)
		if (heap->arenas[n])
			arena = heap->arenas[n];
	assert_true(PA_ARENA_USABLE - pa_arena_free_count(arena) <= 8);
}

static void test_adoption(void **state)
{
	uint32_t id = heap->id;
	(void)state;

	pa_lock(PA_LOCK_LIFE);
	uint64_t adoptions = pa_heap_adoptions_locked();
	pa_unlock(PA_LOCK_LIFE);
	for (unsigned i = 0; i < 500; i++)
		shadow_allocate(&shadows[i], i, (unsigned char)i);
	pa_heap_abandon(heap);
	assert_int_equal(heap->state, PA_HEAP_ABANDONED);
	struct pa_heap *other = pa_heap_acquire(PA_HEAP_INTERPRETER); /* of another kind */
	assert_int_not_equal(other->id, id);
	struct pa_heap *again = pa_heap_acquire(PA_HEAP_THREAD);
	assert_ptr_equal(again, heap);
	assert_int_equal(heap->id, id);
	assert_int_equal(heap->state, PA_HEAP_OWNED);
	struct pa_heap *fresh = pa_heap_acquire(PA_HEAP_THREAD);
	assert_ptr_not_equal(fresh, heap);
	pa_lock(PA_LOCK_LIFE);
	assert_int_equal(pa_heap_adoptions_locked() - adoptions, 1);
	pa_unlock(PA_LOCK_LIFE);
	pa_heap_check(heap);
	for (unsigned i = 0; i < 500; i++)
		shadow_free(&shadows[i]);
	pa_heap_abandon(other);
	pa_heap_abandon(fresh);
	/* Let the teardown's abandon and the next test's acquire meet the same heap. */
}

/* Adopt the heap, wherever it stands among those that wait. */
static void adopt_again(void)
{
	enum { OTHERS_MAX = 64 };
	struct pa_heap *others[OTHERS_MAX], *adopted;
	unsigned count = 0;

	while ((adopted = pa_heap_acquire(PA_HEAP_THREAD)) != heap) {
		if (count == OTHERS_MAX)
			capture_fail("it does not wait");
		others[count++] = adopted;
	}
	while (count > 0)
		pa_heap_abandon(others[--count]);
}

/* Blocks of a heap without owner, freed by others, do not keep its memory for ever. */
static void test_abandoned_heaps_are_served(void **state)
{
	static void *blocks[2000];
	unsigned dirty;
	(void)state;

	for (unsigned i = 0; i < 2000; i++)
		blocks[i] = memset(pa_allocate(heap, 400), 1, 400);
	assert_in_range(arena_count(&dirty), 1, 3);
	pa_heap_abandon(heap);
	free_elsewhere(blocks, 2000);
	assert_in_range(arena_count(&dirty), 1, 3);
	pa_heap_serve_abandoned(PA_RESERVE_NOTHING, UINT32_MAX);
	assert_int_equal(arena_count(&dirty), 0);
	assert_int_equal(heap->state, PA_HEAP_ABANDONED);
	adopt_again();
}

/* Of what other tests have left, nothing is dirty. */
static void give_back_all_others(void)
{
	pa_heap_serve_abandoned(PA_RESERVE_NOTHING, UINT32_MAX);
	pa_heap_shrink_caches(PA_RESERVE_NOTHING);
}

/* What a thread leaves free is there for the next one, as far as the reserve allows; the rest goes. */
static void test_free_memory_outlives_its_thread(void **state)
{
	static void *blocks[2000];
	unsigned dirty, left;
	(void)state;

	need_pages_of_at_most(PA_SLOT_BYTES);
	give_back_all_others();
	for (unsigned i = 0; i < 2000; i++)
		blocks[i] = memset(pa_allocate(heap, 400), 1, 400);
	for (unsigned i = 0; i < 2000; i++)
		if (i % 100 > 0)
			release(heap, blocks[i]);
	uint64_t purged = pa_load_relaxed(&pa_reserve.purged_units);
	pa_heap_abandon(heap);
	assert_int_equal(heap->state, PA_HEAP_ABANDONED);
	for (unsigned i = 0; i < PA_CLASSES; i++)
		assert_ptr_equal(heap->current[i], &pa_no_pool);
	arena_count(&dirty);
	assert_in_range(dirty, 150, 195); /* of 195 pages, those that hold nothing */
	pa_heap_serve_abandoned(PA_RESERVE_LIMIT, UINT32_MAX);
	assert_int_equal(pa_load_relaxed(&pa_reserve.purged_units), purged);

	assert_ptr_equal(pa_heap_acquire(PA_HEAP_THREAD), heap); /* it waits for the shortest time */
	pa_heap_check(heap);
	keep(100 * PA_UNIT_BYTES);
	pa_heap_abandon(heap);
	arena_count(&left);
	assert_in_range(left, 0, 100);
	assert_in_range(pa_load_relaxed(&pa_reserve.purged_units) - purged, dirty - 100, 195);
	adopt_again();
	pa_heap_check(heap);
	pa_heap_abandon(heap);
	pa_store_relaxed(&pa_reserve.idle_units, 50); /* as an idle process does */
	pa_heap_serve_abandoned(PA_RESERVE_IDLE, UINT32_MAX);
	arena_count(&left);
	assert_in_range(left, 0, 50);
	keep(0);
	pa_heap_serve_abandoned(PA_RESERVE_LIMIT, UINT32_MAX);
	arena_count(&left);
	assert_int_equal(left, 0);

	adopt_again();
	for (unsigned i = 0; i < 2000; i += 100)
		release(heap, blocks[i]);
}

/* Pages are found in which nothing is live, be the pool ever so full elsewhere; a trim has them in any case. */
static void test_pages_of_ended_threads_are_found(void **state)
{
	static void *blocks[256];
	unsigned dirty;
	(void)state;

	for (unsigned i = 0; i < 256; i++)
		blocks[i] = memset(pa_allocate(heap, 64), 1, 64);
	for (unsigned i = 60; i < 250; i++)
		release(heap, blocks[i]);
	pa_heap_abandon(heap);
	arena_count(&dirty);
	assert_in_range(dirty, 2, 3);
	pa_heap_serve_abandoned(PA_RESERVE_NOTHING, UINT32_MAX);
	arena_count(&dirty);
	assert_int_equal(dirty, 0);
	assert_false(pa_heap_serve_abandoned(PA_RESERVE_NOTHING, 1)); /* nothing is left */
	adopt_again();
	for (unsigned i = 0; i < 256; i++)
		if (i < 60 || i >= 250)
			release(heap, blocks[i]);
}

/* The same where others have freed blocks since. */
static void test_pages_that_others_freed_are_found(void **state)
{
	static void *blocks[256];
	unsigned dirty;
	(void)state;

	need_pages_of_at_most(PA_UNIT_BYTES);
	give_back_all_others();
	for (unsigned i = 0; i < 256; i++)
		blocks[i] = memset(pa_allocate(heap, 64), 1, 64);
	pa_heap_abandon(heap);
	free_elsewhere(blocks + 60, 190);
	pa_heap_serve_abandoned(PA_RESERVE_LIMIT, UINT32_MAX); /* collects them, and no more */
	pa_store_relaxed(&pa_reserve.idle_units, 0);
	pa_store_relaxed(&pa_reserve.dirty_units, pa_load_relaxed(&pa_reserve.dirty_units) + 1);
	pa_heap_serve_abandoned(PA_RESERVE_IDLE, UINT32_MAX);
	pa_store_relaxed(&pa_reserve.dirty_units, pa_load_relaxed(&pa_reserve.dirty_units) - 1);
	adopt_again();
	assert_null(pool_of(blocks[0])->remote);
	assert_int_equal(pa_units_get(pa_arena_of(blocks[0])->touched,
				      pa_arena_first_unit(pa_arena_slot(pool_of(blocks[0]))), 4),
			 0x9); /* of four pages the first and the last */
	arena_count(&dirty);
	assert_int_equal(dirty, 0);
	for (unsigned i = 0; i < 256; i++)
		if (i < 60 || i >= 250)
			release(heap, blocks[i]);
}

/* Who adopts a heap comes back to its full pools no sooner and no later than its thread would have. */
static void test_full_pools_wait_for_the_next_thread(void **state)
{
	static void *blocks[300];
	(void)state;

	for (unsigned i = 0; i < 300; i++)
		blocks[i] = pa_allocate(heap, 64);
	struct pa_pool *full = pool_of(blocks[0]);
	release(heap, blocks[0]);
	assert_int_equal(full->state, PA_POOL_FULL);
	int slack = full->slack, watermark = full->watermark;
	assert_true(slack > 0);
	pa_heap_abandon(heap);
	adopt_again();
	pa_heap_check(heap);
	assert_int_equal(full->state, PA_POOL_FULL);
	assert_int_equal(full->slack, slack);
	assert_int_equal(full->watermark, watermark);
	for (unsigned i = 1; i < 300; i++)
		release(heap, blocks[i]);
}

/* A current pool that has been empty counts as dead until somebody looks, though it is full again. */
static void test_full_again_at_the_end_of_a_thread(void **state)
{
	static void *blocks[8];
	unsigned dirty;
	(void)state;

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 8; i++)
			blocks[i] = memset(pa_allocate(heap, 2048), 1, 2048);
		if (round == 0)
			for (unsigned i = 0; i < 8; i++)
				release(heap, blocks[i]);
	}
	assert_true(pool_of(blocks[0])->dead_units > 0);
	keep(0);
	pa_heap_abandon(heap);
	adopt_again();
	pa_heap_check(heap);
	arena_count(&dirty);
	assert_int_equal(dirty, 0);
	for (unsigned i = 0; i < 8; i++)
		release(heap, blocks[i]);
}

static void test_heaps_of_interpreters(void **state)
{
	static const int one, two;
	(void)state;

	struct pa_heap *first = pa_heap_of_interpreter(&one), *second = pa_heap_of_interpreter(&two);
	assert_ptr_not_equal(first, second);
	assert_ptr_equal(pa_heap_of_interpreter(&one), first);
	assert_ptr_equal(pa_heap_of_interpreter(&two), second);
	assert_int_equal(first->kind, PA_HEAP_INTERPRETER);
	pa_heap_abandon(first);
	assert_ptr_not_equal(pa_heap_of_interpreter(&two), first);
	pa_heap_abandon(second);
}

/* A full pool waits for so many frees before it is allocated from again, in a thread's heap for twice as many. */
static void check_wait(struct pa_heap *owner, size_t bytes, unsigned frees)
{
	enum { BLOCKS = 1100 };
	static char *blocks[BLOCKS];
	const struct pa_pool *pool = NULL;
	unsigned count = 0, freed = 0;

	while (!pool || pool == owner->current[pool->class_index]) { /* until another is current */
		assert_in_range(count, 0, BLOCKS - 1);
		blocks[count] = pa_allocate(owner, bytes);
		pool = pool_of(blocks[0]);
		count++;
	}
	assert_int_equal(pool->state, PA_POOL_FULL);
	for (unsigned i = 0; pool->state == PA_POOL_FULL; i++) {
		assert_in_range(i, 0, count - 1);
		if (pool_of(blocks[i]) != pool)
			continue;
		release(owner, blocks[i]);
		blocks[i] = NULL;
		freed++;
	}
	assert_int_equal(freed, frees);
	for (unsigned i = 0; i < count; i++)
		if (blocks[i])
			release(owner, blocks[i]);
}

static void test_full_pools_wait(void **state)
{
	static const int interpreter;
	(void)state;

	check_wait(heap, 16, 16);
	check_wait(heap, 64, 16);
	check_wait(heap, 128, 15); /* of 127 blocks */
	check_wait(heap, 256, 7);
	check_wait(heap, 512, 4);
	struct pa_heap *other = pa_heap_of_interpreter(&interpreter);
	check_wait(other, 16, 8);
	check_wait(other, 64, 8);
	check_wait(other, 128, 7);
	check_wait(other, 256, 3);
	check_wait(other, 512, 2);
	pa_heap_abandon(other);
}

/* Heaps of threads that are not in the child: adopted, or left alone if they were half changed. */
static void fork_with_lost_owners(void)
{
	static const int interpreter;
	int status;
	struct pa_heap *own = pa_heap_acquire(PA_HEAP_THREAD), *idle = pa_heap_acquire(PA_HEAP_THREAD);
	struct pa_heap *busy = pa_heap_acquire(PA_HEAP_THREAD);
	struct pa_heap *python = pa_heap_of_interpreter(&interpreter);
	void *p = pa_allocate(idle, 100), *q = pa_allocate(busy, 100);

	pa_heap_enter(busy);
	pid_t child = fork();
	if (child == 0) {
		pa_heap_after_fork_child(own);
		if (own->state != PA_HEAP_OWNED)
			_exit(1);
		if (idle->state != PA_HEAP_ABANDONED || pa_heap_acquire(PA_HEAP_THREAD) != idle)
			_exit(2);
		if (busy->state != PA_HEAP_QUARANTINED)
			_exit(3);
		if (python->state != PA_HEAP_OWNED || pa_heap_of_interpreter(&interpreter) != python)
			_exit(4);
		pa_heap_check(idle);
		release(idle, p);
		release(own, q); /* goes to the lost heap's list, and stays there */
		if (!pa_load_relaxed(&busy->remote_pools))
			_exit(5);
		pa_heap_serve_abandoned(PA_RESERVE_NOTHING, UINT32_MAX);
		if (!pa_load_relaxed(&busy->remote_pools) || busy->state != PA_HEAP_QUARANTINED)
			_exit(6);
		for (unsigned n = 0; n < 8; n++)
			if (pa_heap_acquire(PA_HEAP_THREAD) == busy)
				_exit(7);
		p = pa_allocate(own, 5000);
		release(own, p);
		_exit(0);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		_exit(10);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 11);
}

static void test_lost_owners_after_a_fork(void **state)
{
	struct capture capture;
	(void)state;

	assert_int_equal(capture_child(fork_with_lost_owners, &capture), 0);
}

/* A program may copy what it never wrote, a key among it; that does not make a block a freed one. */
static void test_key_in_a_live_block(void **state)
{
	struct pa_block *block = pa_allocate(heap, 96);
	(void)state;

	block->key = pa_pool_key(pool_of(block));
	assert_false(pa_heap_free(heap, block));
	assert_ptr_equal(pa_heap_find(heap, block, "free"), pool_of(block));
	assert_ptr_equal(pa_reallocate(heap, block, 90, "realloc"), block);
	pa_heap_free_slow(heap, block, "free");
	assert_true(pa_pool_has_freed(pool_of(block), block));
	pa_heap_check(heap);
}

/* The stores of the fast path, torn by a fork before the watermark was looked at. */
static void free_without_settling(void *p)
{
	struct pa_pool *pool = pool_of(p);
	struct pa_block *block = p;

	block->next = pool->list;
	block->key = pa_pool_key(pool);
	pool->list = block;
	pool->slack--;
}

static void fork_before_the_watermark(void)
{
	enum { COUNT = 2000 };
	static void *blocks[COUNT];
	int status;

	struct pa_heap *own = pa_heap_acquire(PA_HEAP_THREAD), *lost = pa_heap_acquire(PA_HEAP_THREAD);
	for (unsigned i = 0; i < COUNT; i++)
		blocks[i] = pa_allocate(lost, 512);
	struct pa_pool *empty = pool_of(blocks[0]), *full = pool_of(blocks[COUNT / 2]);
	if (empty == full || empty->state != PA_POOL_FULL || full->state != PA_POOL_FULL)
		_exit(20);
	for (unsigned i = 0; i < COUNT; i++)
		if (pool_of(blocks[i]) == empty)
			free_without_settling(blocks[i]);
	for (unsigned i = 0; i < COUNT && !pa_pool_is_at_watermark(full); i++)
		if (pool_of(blocks[i]) == full)
			free_without_settling(blocks[i]);
	pid_t child = fork();
	if (child == 0) {
		pa_heap_after_fork_child(own);
		if (pa_load_relaxed(&empty->owner) != 0)
			_exit(1);
		if (full->state != PA_POOL_PARTIAL || pa_pool_is_at_watermark(full))
			_exit(2);
		if (pa_heap_acquire(PA_HEAP_THREAD) != lost)
			_exit(3);
		pa_heap_check(lost);
		for (unsigned i = COUNT - 1; i > COUNT - 100; i--)
			release(lost, blocks[i]);
		pa_heap_check(lost);
		_exit(0);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		_exit(10);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 11);
}

static void test_missed_watermarks_after_a_fork(void **state)
{
	struct capture capture;
	(void)state;

	assert_int_equal(capture_child(fork_before_the_watermark, &capture), 0);
}

enum { PARTED_COUNT = 20000, PARTED_BYTES = 96 };

/* Whether a block lies on a page that was there before the fork. */
static bool is_shared(char *const *pages, const void *p)
{
	for (unsigned i = 0; i < PARTED_COUNT; i++)
		if (((uintptr_t)pages[i] ^ (uintptr_t)p) < PA_UNIT_BYTES)
			return true;
	return false;
}

static int use_in_child(struct pa_heap *own, void **blocks, char *const *pages)
{
	struct pa_pool *old = pool_of(blocks[PARTED_COUNT / 2 - PARTED_COUNT / 2 % 3]);

	pa_heap_check(own);
	for (unsigned i = 0; i < 200; i++)
		if (is_shared(pages, pa_allocate(own, PARTED_BYTES)))
			return 1;
	/* What is freed in a shared pool makes room there, which is used again. */
	for (unsigned i = 0; i < PARTED_COUNT; i++)
		if (blocks[i] && pool_of(blocks[i]) == old && pa_pool_used(old) > 1) {
			release(own, blocks[i]);
			blocks[i] = NULL;
		}
	pa_heap_check(own);
	unsigned used = (unsigned)pa_pool_used(old);
	for (unsigned i = 0; i < 1000; i++)
		pa_allocate(own, PARTED_BYTES);
	if ((unsigned)pa_pool_used(old) <= used)
		return 2;
	/* A child that grows much uses all the room there is. */
	struct pa_pool *other = pool_of(blocks[0]);
	used = (unsigned)pa_pool_used(other);
	for (unsigned i = 0; i < 40 * PA_MIB / PARTED_BYTES; i++)
		pa_allocate(own, PARTED_BYTES);
	if ((unsigned)pa_pool_used(other) <= used)
		return 3;
	pa_heap_check(own);
	return 0;
}

/* Where the system gives no more memory, the room in shared pages is used. */
static int use_without_memory(struct pa_heap *own)
{
	struct rlimit none = { 1, 1 };

	if (setrlimit(RLIMIT_AS, &none) != 0)
		return 4;
	for (unsigned i = 0; i < PARTED_COUNT / 3; i++)
		if (!pa_allocate(own, PARTED_BYTES))
			return 5;
	pa_heap_check(own);
	return 0;
}

static void fork_with_holes(bool has_memory)
{
	static void *blocks[PARTED_COUNT];
	static char *pages[PARTED_COUNT];
	int status;

	struct pa_heap *own = pa_heap_acquire(PA_HEAP_THREAD);
	for (unsigned i = 0; i < PARTED_COUNT; i++) {
		blocks[i] = pa_allocate(own, PARTED_BYTES);
		pages[i] = (char *)pa_round_down((uintptr_t)blocks[i], PA_UNIT_BYTES);
	}
	for (unsigned i = 1; i < PARTED_COUNT; i += 3) {
		release(own, blocks[i]);
		blocks[i] = NULL;
	}
	pid_t child = fork();
	if (child == 0) {
		pa_heap_after_fork_child(own);
		_exit(has_memory ? use_in_child(own, blocks, pages) : use_without_memory(own));
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		_exit(10);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 11);
}

static void fork_with_memory(void)
{
	fork_with_holes(true);
}

static void fork_without_memory(void)
{
	fork_with_holes(false);
}

static void test_child_leaves_shared_pages_alone(void **state)
{
	struct capture capture;
	(void)state;

	assert_int_equal(capture_child(fork_with_memory, &capture), 0);
	assert_int_equal(capture_child(fork_without_memory, &capture), 0);
}

/*
 * A signal handler forks between the load and the store of a count, as machines have it that do not count
 * in one instruction; then the child goes on there.
 */
static void fork_while_counting(int change)
{
	enum { COUNT = 20 }; /* fewer than a unit has */
	static void *blocks[COUNT];
	int status;

	struct pa_heap *own = pa_heap_acquire(PA_HEAP_THREAD);
	for (unsigned i = 0; i < COUNT; i++)
		blocks[i] = pa_allocate(own, PARTED_BYTES);
	struct pa_pool *pool = pool_of(blocks[0]);
	pid_t child = fork();
	if (child == 0) {
		struct pa_block *block = change > 0 ? pool->list : blocks[0];
		if (change < 0) {
			blocks[0] = NULL;
			block->next = pool->list;
			block->key = pa_pool_key(pool);
			pool->list = block;
		}
		int slack = pool->slack;
		pa_heap_after_fork_child(own);
		pool->slack = (int16_t)(slack + change);
		if (change > 0) {
			pool->list = block->next;
			block->key = 0;
		}
		pa_heap_check(own); /* that used counts what is live, too */
		void *p = pa_allocate(own, PARTED_BYTES);
		if (!p || pool_of(p) == pool)
			_exit(1);
		pa_heap_check(own);
		for (unsigned i = 0; i < COUNT; i++)
			if (blocks[i])
				release(own, blocks[i]);
		pa_heap_check(own);
		if (change > 0)
			release(own, block);
		_exit(pa_load_relaxed(&pool->owner) == 0 ? 0 : 2);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		_exit(10);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 11);
}

static void fork_while_allocating(void)
{
	fork_while_counting(1);
}

static void fork_while_freeing(void)
{
	fork_while_counting(-1);
}

static void test_child_goes_on_within_a_count(void **state)
{
	struct capture capture;
	(void)state;

	assert_int_equal(capture_child(fork_while_allocating, &capture), 0);
	assert_int_equal(capture_child(fork_while_freeing, &capture), 0);
}

static void free_twice(void)
{
	void *keeps_the_pool = pa_allocate(heap, 48), *p = pa_allocate(heap, 48);

	(void)keeps_the_pool;
	release(heap, p);
	release(heap, p);
}

static void free_the_middle(void)
{
	release(heap, (char *)pa_allocate(heap, 48) + 16);
}

static void free_behind_the_last_block(void)
{
	/* 48 bytes: one third of a block is left over at the pool's end. */
	char *start = pa_arena_pool_start(pool_of(pa_allocate(heap, 48)));

	release(heap, start + PA_SLOT_BYTES - 16);
}

/* Before the first block of an interpreter's pool, where a block would begin if there were more room. */
static void free_before(unsigned bytes, unsigned before)
{
	struct pa_heap *python = pa_heap_acquire(PA_HEAP_INTERPRETER);
	char *start = pa_arena_pool_start(pool_of(pa_allocate(python, bytes)));

	memset(start + PA_LEAD_BYTES, 1, bytes);
	release(python, start + PA_LEAD_BYTES - before);
}

static void free_16_before_the_first(void)
{
	free_before(16, 16);
}

static void free_32_before_the_first(void)
{
	free_before(32, 32);
}

static void free_48_before_the_first(void)
{
	free_before(48, 48);
}

static void free_the_header(void)
{
	release(heap, pa_arena_of(pa_allocate(heap, 48)));
}

static void free_a_run_twice(void)
{
	void *p = pa_heap_allocate_run(heap, 100000, false);

	release(heap, p);
	release(heap, p);
}

static void free_the_middle_of_a_run(void)
{
	release(heap, (char *)pa_heap_allocate_run(heap, 100000, false) + 2 * PA_SLOT_BYTES);
}

static void free_what_is_elsewhere(void)
{
	release(heap, &heap);
}

static void free_remotely_twice(void)
{
	void *p = pa_allocate(heap, 48);

	release(&pa_no_heap, p);
	release(&pa_no_heap, p);
}

static void free_what_was_purged(void)
{
	char *p[200];

	for (unsigned i = 0; i < 200; i++)
		p[i] = pa_allocate(heap, 512);
	for (unsigned i = 1; i < 200; i++)
		release(heap, p[i]);
	pa_heap_trim(heap);
	release(heap, p[16]); /* in the pool of p[0], but in another page */
}

static void test_misuse_is_found(void **state)
{
	static const struct {
		void (*body)(void);
		const char *text;
	} cases[] = {
		{ free_twice, "freed already" },
		{ free_the_middle, "not at the start of a block" },
		{ free_behind_the_last_block, "not at the start of a block" },
		{ free_16_before_the_first, "not at the start of a block" },
		{ free_32_before_the_first, "not at the start of a block" },
		{ free_48_before_the_first, "not at the start of a block" },
		{ free_the_header, "not a pointer from this allocator" },
		{ free_a_run_twice, "freed already" },
		{ free_the_middle_of_a_run, "not at the start of a block" },
		{ free_what_is_elsewhere, "not a pointer from this allocator" },
		{ free_remotely_twice, "freed already" },
		{ free_what_was_purged, "freed already" },
	};
	struct capture capture;
	(void)state;

	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int status = capture_child(cases[i].body, &capture);
		if (!WIFSIGNALED(status) || !strstr(capture.text, cases[i].text))
			fail_msg("case %u: status %x: %s", i, (unsigned)status, capture.text);
		assert_int_equal(WTERMSIG(status), SIGABRT);
	}
}

/* Another than the owner gives back its free slots, arena by arena, while the owner goes on. */
static void *purge_again_and_again(void *argument)
{
	while (!pa_load_relaxed(&is_over))
		pa_heap_purge_slots(heap, PA_RESERVE_NOTHING, 3);
	return argument;
}

static void test_purged_by_another(void **state)
{
	pthread_t thread;
	(void)state;

	pa_store_relaxed(&is_over, false);
	assert_int_equal(pthread_create(&thread, NULL, purge_again_and_again, NULL), 0);
	live_at_random(27, 150000, true);
	pa_store_relaxed(&is_over, true);
	pthread_join(thread, NULL);
}

#define RUNS 20

/* Arenas with free and dirty slots, each held by a small run. */
static void make_dirty(char **keeps)
{
	char *p[RUNS];

	for (unsigned i = 0; i < RUNS; i++) {
		p[i] = memset(pa_heap_allocate_run(heap, 200000, false), 1, 200000);
		keeps[i] = memset(pa_heap_allocate_run(heap, 20000, false), 1, 20000);
	}
	for (unsigned i = 0; i < RUNS; i++)
		release(heap, p[i]);
	pa_placement_flush(heap);
}

static void release_all(char **keeps)
{
	pa_heap_check(heap);
	for (unsigned i = 0; i < RUNS; i++) {
		assert_int_equal(keeps[i][0], 1);
		assert_int_equal(keeps[i][19999], 1);
		release(heap, keeps[i]);
	}
}

static int64_t dirty_now(void)
{
	return pa_load_relaxed(&pa_reserve.dirty_units);
}

/* At a peak, what is kept goes for what is new: a large object, and blocks that do not fit into the holes. */
static void test_growth_takes_the_place_of_what_is_kept(void **state)
{
	enum { LARGE = 2 << 20, LARGE_UNITS = LARGE >> PA_UNIT_SHIFT, BLOCKS = 50 };
	static void *blocks[BLOCKS];
	char *keeps[RUNS];
	(void)state;
	need_pages_of_at_most(PA_SLOT_BYTES);

	make_dirty(keeps);
	int64_t dirty = dirty_now(), resident = pa_load_relaxed(&pa_reserve.resident_units);
	/* As if it allowed so much by itself, and more had never been live than now is resident. */
	pa_store_relaxed(&pa_reserve.floor_units, PA_POLICY_FLOOR_UNITS);
	pa_store_relaxed(&pa_reserve.peak_units, resident);
	pa_placement_flush(heap);
	assert_true(dirty >= RUNS * 49);
	pa_heap_make_way(heap, LARGE);
	assert_int_equal(dirty_now(), dirty); /* there is room */
	void *large = pa_heap_allocate_large(heap, LARGE, 1, NULL);
	assert_true(pa_load_relaxed(&pa_reserve.resident_units) <= resident + PA_POLICY_FLOOR_UNITS);
	assert_in_range(dirty_now(), LARGE_UNITS / 2, dirty - LARGE_UNITS + PA_POLICY_FLOOR_UNITS);

	for (unsigned i = 0; i < BLOCKS; i++)
		blocks[i] = pa_heap_allocate_run(heap, PA_MEDIUM_MAX, false);
	pa_placement_flush(heap);
	assert_true(dirty_now() <= PA_POLICY_FLOOR_UNITS);
	for (unsigned i = 0; i < BLOCKS; i++)
		release(heap, blocks[i]);
	assert_true(pa_large_free(large));
	keep(1024 * PA_MIB);
	pa_large_shrink(PA_RESERVE_NOTHING);
	release_all(keeps);
}

static void test_purge_to_a_goal(void **state)
{
	char *keeps[RUNS];
	unsigned dirty;
	(void)state;
	need_pages_of_at_most(PA_SLOT_BYTES);

	make_dirty(keeps);
	int64_t before = dirty_now();
	assert_true(before >= RUNS * 49);
	assert_int_equal(pa_heap_purge_slots(heap, PA_RESERVE_LIMIT, 100),
			 0); /* it is within the limit */
	assert_int_equal(dirty_now(), before);
	/* No more arenas than were asked for. */
	assert_int_equal(pa_heap_purge_slots(heap, PA_RESERVE_NOTHING, 2), 2);
	assert_in_range(before - dirty_now(), 2 * 49, 2 * 5 * 49);
	/* To what an idle process may keep. */
	pa_store_relaxed(&pa_reserve.idle_units, 300);
	pa_heap_purge_slots(heap, PA_RESERVE_IDLE, 100);
	assert_in_range(dirty_now(), 300 - 5 * 49, 300);
	pa_heap_purge_slots(heap, PA_RESERVE_NOTHING, 100);
	assert_int_equal(dirty_now(), 0);
	arena_count(&dirty);
	assert_int_equal(dirty, 0);
	assert_int_equal(heap->dirty_units, 0);
	release_all(keeps);
}

static bool yes(struct pa_heap *claimed)
{
	assert_ptr_equal(claimed, heap);
	assert_int_equal(pa_load_relaxed(&heap->lock), PA_HEAP_CLAIMED);
	return true;
}

static bool no(struct pa_heap *claimed)
{
	(void)claimed;
	return false;
}

/* Blocks of which one in many stays: whole units between them are dead. */
#define SCATTERED 20000u
#define SCATTER 64u

static void scatter(unsigned char **blocks)
{
	for (unsigned i = 0; i < SCATTERED; i++)
		blocks[i] = memset(pa_allocate(heap, 400), (int)(i % 251), 400);
	for (unsigned i = 0; i < SCATTERED; i++)
		if (i % SCATTER != 0)
			release(heap, blocks[i]);
	pa_placement_flush(heap);
}

/* Who makes sure that the owner is away purges what only the owner could: dead units. */
static void test_unused_heaps_are_purged(void **state)
{
	static unsigned char *blocks[SCATTERED];
	unsigned calls = 0, dirty;
	(void)state;

	scatter(blocks);
	pa_store_relaxed(&pa_reserve.idle_units, 10);
	int64_t before = dirty_now();
	assert_true(before > 1000);
	assert_int_equal(pa_heap_purge_slots(heap, PA_RESERVE_NOTHING, 100) > 0, true);
	assert_true(dirty_now() > before / 2); /* free slots are few */
	before = dirty_now();

	assert_false(pa_heap_purge_unused(heap, no, 100));
	bool was_busy = pa_heap_enter(heap);
	assert_false(pa_heap_purge_unused(heap, yes, 100));
	pa_heap_leave(heap, was_busy);
	assert_int_equal(dirty_now(), before);

	usleep(2000);
	uint64_t tick = pa_load_relaxed(&pa_reserve.ticks);
	while (pa_heap_purge_unused(heap, yes, 1)) {
		/* What it does itself is no reason to look at all of the heap again. */
		assert_int_equal(heap->expected_tick, pa_load_relaxed(&pa_reserve.ticks));
		calls++;
	}
	assert_true(pa_load_relaxed(&pa_reserve.ticks) > tick);
	assert_in_range(calls, 2, 20); /* an arena each */
	assert_in_range(dirty_now(), 0, 10);
	arena_count(&dirty);
	assert_in_range(dirty, 0, 10);
	assert_int_equal(pa_load_relaxed(&heap->lock), PA_HEAP_UNLOCKED);
	pa_heap_check(heap);
	for (unsigned i = 0; i < SCATTERED; i += SCATTER) {
		assert_int_equal(blocks[i][0], i % 251);
		assert_int_equal(blocks[i][399], i % 251);
		release(heap, blocks[i]);
	}
}

static void *wait_for_claim(void *argument)
{
	pa_heap_wait_for_claim(heap);
	pa_store_relaxed(&is_over, true);
	return argument;
}

static void test_owner_waits_for_a_claim(void **state)
{
	pthread_t thread;
	(void)state;

	pa_heap_wait_for_claim(heap); /* there is none */
	pa_store_relaxed(&is_over, false);
	pa_store_relaxed(&heap->lock, PA_HEAP_CLAIMED);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_claim, NULL), 0);
	usleep(50000);
	bool passed_too_early = pa_load_relaxed(&is_over);
	pa_heap_unlock(heap);
	pthread_join(thread, NULL);
	assert_false(passed_too_early);
}

/* What was being changed in the owner's place is not to be touched in the child. */
static void fork_within_a_claim(void)
{
	int status;
	void *p = pa_allocate(heap, 100);

	pa_store_relaxed(&heap->gil_state, &status); /* what a fast path may know it by */
	pa_store_relaxed(&heap->lock, PA_HEAP_CLAIMED);
	pid_t child = fork();
	if (child == 0) {
		pa_heap_unlock_lost();
		pa_heap_after_fork_child(NULL);
		if (heap->state != PA_HEAP_QUARANTINED || pa_load_relaxed(&heap->lock) ||
		    pa_load_relaxed(&heap->gil_state))
			_exit(1);
		struct pa_heap *other = pa_heap_acquire(PA_HEAP_THREAD);
		release(other, p); /* lost, but no harm */
		_exit(other && other != heap ? 0 : 2);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		_exit(10);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 11);
}

static void test_a_claim_lost_in_a_fork(void **state)
{
	struct capture capture;
	(void)state;

	assert_int_equal(capture_child(fork_within_a_claim, &capture), 0);
}

static void test_busy_heaps_are_passed_by(void **state)
{
	char *keeps[RUNS];
	(void)state;
	need_pages_of_at_most(PA_SLOT_BYTES);

	make_dirty(keeps);
	int64_t before = dirty_now();
	bool was_busy = pa_heap_enter(heap);
	assert_int_equal(pa_heap_purge_slots(heap, PA_RESERVE_NOTHING, 100), 0);
	pa_heap_purge_all_slots(NULL, PA_RESERVE_NOTHING, 100);
	assert_int_equal(dirty_now(), before);
	pa_heap_leave(heap, was_busy);
	pa_heap_purge_all_slots(heap, PA_RESERVE_NOTHING, 100); /* all but this one */
	assert_int_equal(dirty_now(), before);
	pa_heap_purge_all_slots(NULL, PA_RESERVE_NOTHING, 100);
	assert_int_equal(dirty_now(), 0);
	release_all(keeps);
}

static void *enter_and_leave(void *argument)
{
	bool was_busy = pa_heap_enter(heap);

	pa_store_relaxed(&is_over, true);
	pa_heap_leave(heap, was_busy);
	return argument;
}

/* The owner waits for who purges in its stead; within a change it does not wait for itself. */
static void test_heap_lock(void **state)
{
	pthread_t thread;
	(void)state;

	bool was_busy = pa_heap_enter(heap);
	assert_false(was_busy);
	bool is_nested = pa_heap_enter(heap);
	assert_true(is_nested);
	pa_heap_leave(heap, is_nested);
	assert_true(pa_load_relaxed(&heap->lock));
	pa_heap_leave(heap, was_busy);
	assert_false(pa_load_relaxed(&heap->lock));

	pa_store_relaxed(&is_over, false);
	pa_store_relaxed(&heap->lock, PA_HEAP_LOCKED_BY_OTHER);
	assert_int_equal(pthread_create(&thread, NULL, enter_and_leave, NULL), 0);
	usleep(50000);
	bool passed_too_early = pa_load_relaxed(&is_over);
	pa_heap_unlock(heap);
	pthread_join(thread, NULL);
	assert_false(passed_too_early);
	assert_true(pa_load_relaxed(&is_over));
}

/* The child of a process in which somebody was purging the heap: the queue and the counts are torn. */
static void fork_within_a_purge(bool is_owner_waiting)
{
	char *keeps[RUNS];
	int status;

	make_dirty(keeps);
	pa_store_relaxed(&heap->lock, PA_HEAP_LOCKED_BY_OTHER);
	pa_store_relaxed(&heap->is_busy, is_owner_waiting);
	heap->queue_first->queue_next = NULL;
	heap->queue_first->dirty_units = 3;
	pid_t child = fork();
	if (child == 0) {
		pa_heap_unlock_lost();
		if (pa_load_relaxed(&heap->lock))
			_exit(1);
		pa_store_relaxed(&heap->is_busy, false); /* an owner that waited goes on */
		pa_heap_check(heap);
		pa_placement_flush(heap);
		pa_heap_purge_slots(heap, PA_RESERVE_NOTHING, 100);
		pa_heap_check(heap);
		for (unsigned n = 0; n <= PA_ARENA_USABLE; n++)
			for (struct pa_arena *arena = heap->arenas[n]; arena; arena = arena->next)
				if (arena->dirty_units > 0 || arena->is_queued)
					_exit(3);
		for (unsigned i = 0; i < RUNS; i++)
			release(heap, keeps[i]);
		_exit(heap->arena_mask == 0 ? 0 : 4);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		_exit(10);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 11);
}

static void fork_beside_the_owner(void)
{
	fork_within_a_purge(false);
}

static void fork_as_the_waiting_owner(void)
{
	fork_within_a_purge(true);
}

static void test_a_purge_lost_in_a_fork(void **state)
{
	struct capture capture;
	(void)state;
	need_pages_of_at_most(PA_SLOT_BYTES);

	assert_int_equal(capture_child(fork_beside_the_owner, &capture), 0);
	assert_int_equal(capture_child(fork_as_the_waiting_owner, &capture), 0);
}

#define point(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		point(test_random_life_with_a_large_reserve),
		point(test_random_life_without_reserve),
		point(test_random_life_with_a_tight_reserve),
		point(test_every_class),
		point(test_remote_frees),
		point(test_remote_frees_are_used_again),
		point(test_frees_of_several_at_once),
		point(test_runs),
		point(test_runs_in_place),
		point(test_runs_that_grow),
		point(test_more_arenas_than_are_known),
		point(test_sweep_depths),
		point(test_sweep_of_expected_dead_units),
		point(test_reserve_is_kept_to),
		point(test_trim_gives_everything_back),
		point(test_fine_classes_have_to_be_wanted),
		point(test_growth_takes_up_units_ahead),
		point(test_growth_takes_up_resident_units_ahead),
		point(test_no_block_waits_in_vain),
		point(test_classes_by_turns_keep_their_pools),
		point(test_empty_current_pools_are_shared_out),
		point(test_refusals_are_not_asked_for),
		point(test_adoption),
		point(test_abandoned_heaps_are_served),
		point(test_free_memory_outlives_its_thread),
		point(test_pages_of_ended_threads_are_found),
		point(test_pages_that_others_freed_are_found),
		point(test_full_pools_wait_for_the_next_thread),
		point(test_full_again_at_the_end_of_a_thread),
		point(test_heaps_of_interpreters),
		point(test_full_pools_wait),
		point(test_lost_owners_after_a_fork),
		point(test_missed_watermarks_after_a_fork),
		point(test_child_leaves_shared_pages_alone),
		point(test_child_goes_on_within_a_count),
		point(test_misuse_is_found),
		point(test_purged_by_another),
		point(test_growth_takes_the_place_of_what_is_kept),
		point(test_purge_to_a_goal),
		point(test_key_in_a_live_block),
		point(test_unused_heaps_are_purged),
		point(test_owner_waits_for_a_claim),
		point(test_a_claim_lost_in_a_fork),
		point(test_busy_heaps_are_passed_by),
		point(test_heap_lock),
		point(test_a_purge_lost_in_a_fork),
	};

	return cmocka_run_group_tests_name("heap", tests, NULL, NULL);
}
