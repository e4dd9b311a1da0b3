/* SPDX-License-Identifier: MIT */
/* test_malloc.c: malloc's semantics on heaps: sizes, zeros, alignment, resizing, the threads' heaps. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "capture.h"
#include "dice.h"
#include "large.h"
#include "lock.h"
#include "machine.h"
#include "malloc.h"

static const size_t sizes[] = {
	0,      1,      15,     16,     17,     100,     511,     512,     513,
	1000,   4096,   4097,   12000,  16384,  16385,   20000,   65536,   100000,
	262143, 262144, 262145, 300000, 500000, 1048576, 1048577, 3000000,
};
#define SIZES (sizeof sizes / sizeof sizes[0])

static struct pa_heap *heap;

static int start(void **state)
{
	(void)state;
	if (!pa_malloc_init())
		return -1;
	heap = pa_heap_acquire(PA_HEAP_THREAD);
	return heap ? 0 : -1;
}

static void release(void *p)
{
	if (!pa_heap_free(heap, p))
		pa_heap_free_slow(heap, p, "free");
}

/* Bytes that differ from place to place and from block to block. */
static unsigned char pattern(size_t at, unsigned seed)
{
	return (unsigned char)(at * 7 + (at >> 8) + seed);
}

static void fill(unsigned char *p, size_t bytes, unsigned seed)
{
	for (size_t i = 0; i < bytes; i++)
		p[i] = pattern(i, seed);
}

static bool is_filled(const unsigned char *p, size_t bytes, unsigned seed)
{
	for (size_t i = 0; i < bytes; i++)
		if (p[i] != pattern(i, seed))
			return false;
	return true;
}

static void test_usable_bytes(void **state)
{
	(void)state;
	need_pages_of_at_most(PA_SLOT_BYTES);

	for (unsigned i = 0; i < SIZES; i++) {
		unsigned char *p = pa_allocate(heap, sizes[i]);
		assert_non_null(p);
		assert_int_equal((uintptr_t)p % PA_ALIGN, 0);
		size_t usable = pa_usable_bytes(p, "malloc_usable_size");
		assert_true(usable >= sizes[i]);
		assert_true(usable <= 16 || usable <= sizes[i] + sizes[i] / 8 + 4096);
		if (sizes[i] <= PA_SMALL_MAX)
			assert_true(usable <= 16 + sizes[i] + sizes[i] / 8);
		fill(p, usable, i);
		assert_true(is_filled(p, usable, i));
		assert_int_equal(pa_pagemap_has(p), sizes[i] <= PA_MEDIUM_MAX);
		release(p);
	}
	pa_heap_check(heap);
}

static void test_blocks_of_no_bytes_are_distinct(void **state)
{
	void *p = pa_allocate(heap, 0), *q = pa_allocate(heap, 0);
	(void)state;

	assert_non_null(p);
	assert_non_null(q);
	assert_ptr_not_equal(p, q);
	release(p);
	release(q);
}

/* Also where memory that was used is used again. */
static void test_zeros(void **state)
{
	(void)state;

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < SIZES; i++) {
			unsigned char *p = pa_allocate(heap, sizes[i]), *q;
			fill(p, sizes[i], 1);
			release(p);
			q = pa_allocate_zero(heap, sizes[i]);
			assert_non_null(q);
			for (size_t at = 0; at < sizes[i]; at++)
				assert_int_equal(q[at], 0);
			fill(q, sizes[i], 2);
			release(q);
		}
	}
}

static void test_alignment(void **state)
{
	(void)state;

	for (size_t align = 1; align <= 4 * PA_MIB; align *= 2) {
		for (unsigned i = 0; i < SIZES; i++) {
			unsigned char *p = pa_memalign(align, sizes[i]);
			unsigned char *q = pa_memalign(align, sizes[i]);
			assert_non_null(p);
			assert_non_null(q);
			assert_ptr_not_equal(p, q);
			assert_int_equal((uintptr_t)p % align, 0);
			assert_int_equal((uintptr_t)q % align, 0);
			assert_true(pa_usable_bytes(p, "malloc_usable_size") >= sizes[i]);
			fill(p, sizes[i], 1);
			fill(q, sizes[i], 2);
			assert_true(is_filled(p, sizes[i], 1));
			pa_free(p, "free");
			pa_free(q, "free");
		}
	}
	pa_heap_check(pa_thread_heap);
}

/* From every size to every other: what fits in both is the same. */
static void test_resizing_keeps_contents(void **state)
{
	(void)state;

	for (unsigned i = 0; i < SIZES; i++) {
		for (unsigned j = 0; j < SIZES; j++) {
			unsigned char *p = pa_allocate(heap, sizes[i]);
			fill(p, sizes[i], i);
			unsigned char *q = pa_reallocate(heap, p, sizes[j], "realloc");
			assert_non_null(q);
			assert_true(pa_usable_bytes(q, "malloc_usable_size") >= sizes[j]);
			assert_true(is_filled(q, pa_min(sizes[i], sizes[j]), i));
			fill(q, sizes[j], j);
			release(q);
		}
		pa_heap_check(heap);
	}
}

static void *resized(void *p, size_t bytes)
{
	return pa_reallocate(heap, p, bytes, "realloc");
}

/* A small block stays while three quarters of it are used. */
static void test_small_blocks_stay_while_they_fit(void **state)
{
	void *p;
	(void)state;

	p = pa_allocate(heap, 400);
	assert_ptr_equal(resized(p, 400), p);
	assert_ptr_equal(resized(p, 300), p);
	assert_ptr_equal(resized(p, 399), p);
	void *q = resized(p, 299);
	assert_ptr_not_equal(q, p);
	assert_int_equal(pa_usable_bytes(q, "malloc_usable_size"), 304);
	void *r = resized(q, 305);
	assert_ptr_not_equal(r, q);
	assert_int_equal(pa_usable_bytes(r, "malloc_usable_size"), 320);
	release(r);
	/* Of the smallest classes, what has no smaller class stays too. */
	p = pa_allocate(heap, 16);
	assert_ptr_equal(resized(p, 1), p);
	p = resized(p, 17);
	assert_ptr_equal(resized(p, 24), p);
	assert_ptr_equal(resized(p, 17), p);
	assert_ptr_not_equal(resized(p, 16), p);
}

static void test_runs_are_resized_in_place(void **state)
{
	(void)state;

	struct pa_heap *before = heap;
	heap = pa_heap_acquire(PA_HEAP_THREAD); /* nothing is in the way in its arena */
	assert_non_null(heap);
	unsigned char *p = pa_allocate(heap, 30000);
	fill(p, 30000, 5);
	assert_ptr_equal(resized(p, 200000), p);
	assert_int_equal(pa_usable_bytes(p, "malloc_usable_size"), 200704);
	assert_ptr_equal(resized(p, 20000), p);
	assert_int_equal(pa_usable_bytes(p, "malloc_usable_size"), 20480);
	assert_true(is_filled(p, 20000, 5));
	/* What fits into a small block goes there. */
	unsigned char *q = resized(p, 3000);
	assert_ptr_not_equal(q, p);
	assert_true(is_filled(q, 3000, 5));
	release(q);
	pa_heap_check(heap);
	pa_heap_abandon(heap);
	heap = before;
}

static void test_large_objects_are_resized_without_copying(void **state)
{
	(void)state;
	need_pages_of_at_most(PA_UNIT_BYTES);

	unsigned char *p = pa_allocate(heap, 3000000);
	fill(p, 3000000, 6);
	assert_ptr_equal(resized(p, 400000), p);
	assert_int_equal(pa_usable_bytes(p, "malloc_usable_size"), 401408);
	/* Down to half of what a medium object may have, it stays a mapping. */
	unsigned char *q = resized(p, PA_MEDIUM_MAX / 2 + 1);
	assert_false(pa_pagemap_has(q));
	q = resized(q, PA_MEDIUM_MAX / 2);
	assert_true(pa_pagemap_has(q));
	assert_true(is_filled(q, PA_MEDIUM_MAX / 2, 6));
	assert_int_equal(pa_large_bytes(p), 0);
	q = resized(q, 10000000);
	assert_false(pa_pagemap_has(q));
	assert_true(is_filled(q, PA_MEDIUM_MAX / 2, 6));
	release(q);
}

static void test_impossible_sizes(void **state)
{
	static const size_t impossible[] = { SIZE_MAX, PA_REQUEST_MAX, PA_REQUEST_MAX + 1,
					     SIZE_MAX - 4096, (size_t)1 << 60 };
	unsigned char *blocks[] = { pa_allocate(heap, 50), pa_allocate(heap, 50000),
				    pa_allocate(heap, 500000) };
	(void)state;

	for (unsigned i = 0; i < 3; i++)
		fill(blocks[i], 50, i);
	for (unsigned i = 0; i < sizeof impossible / sizeof impossible[0]; i++) {
		errno = 0;
		assert_null(pa_allocate(heap, impossible[i]));
		assert_int_equal(errno, ENOMEM);
		errno = 0;
		assert_null(pa_allocate_zero(heap, impossible[i]));
		assert_int_equal(errno, ENOMEM);
		for (size_t align = 8; align <= PA_MIB; align *= 16) {
			errno = 0;
			assert_null(pa_memalign(align, impossible[i]));
			assert_int_equal(errno, ENOMEM);
		}
		for (unsigned j = 0; j < 3; j++) {
			errno = 0;
			assert_null(resized(blocks[j], impossible[i]));
			assert_int_equal(errno, ENOMEM);
			assert_true(is_filled(blocks[j], 50, j));
		}
	}
	for (unsigned i = 0; i < 3; i++)
		release(blocks[i]);
	pa_heap_check(heap);
}

/* errno tells of failures alone. */
static void test_errno_is_kept(void **state)
{
	(void)state;

	for (unsigned i = 0; i < SIZES; i++) {
		errno = EXDEV;
		void *p = pa_malloc(sizes[i]);
		p = pa_realloc(p, sizes[SIZES - 1 - i] + 1, "realloc");
		void *q = pa_memalign(8192, sizes[i]);
		void *r = pa_calloc(sizes[i]);
		pa_free(p, "free");
		pa_free(q, "free");
		pa_free(r, "free");
		pa_malloc_trim();
		assert_int_equal(errno, EXDEV);
	}
}

/* Shrinking succeeds even where there is no memory to be had. */
static void shrink_without_memory(void)
{
	static void *small[100000];
	unsigned count = 0;
	unsigned char *p = pa_malloc(500), *run = pa_malloc(60000), *large = pa_malloc(3000000);

	fill(p, 500, 1);
	fill(run, 60000, 2);
	fill(large, 3000000, 3);
	setrlimit(RLIMIT_AS, &(struct rlimit){ 1, 1 });
	for (unsigned class_bytes = 16384; class_bytes > 0; class_bytes = class_bytes * 3 / 4)
		while (count < 100000 && (small[count] = pa_malloc(class_bytes)) != NULL)
			count++;
	errno = 0;
	if (pa_malloc(100000) || errno != ENOMEM)
		_exit(1);
	errno = EXDEV;
	p = pa_realloc(p, 100, "realloc");
	if (!p || !is_filled(p, 100, 1))
		_exit(2);
	run = pa_realloc(run, 3000, "realloc");
	if (!run || !is_filled(run, 3000, 2))
		_exit(3);
	large = pa_realloc(large, 100000, "realloc");
	if (!large || !is_filled(large, 100000, 3))
		_exit(4);
	if (errno != EXDEV)
		_exit(5);
	/* And what is freed can be had again, in any size. */
	while (count > 0)
		pa_free(small[--count], "free");
	pa_free(run, "free");
	if (!pa_malloc(3000))
		_exit(6);
	_exit(0);
}

static void test_shrinking_never_fails(void **state)
{
	struct capture capture;
	(void)state;
	need_a_kernel();

	assert_int_equal(capture_child(shrink_without_memory, &capture), 0);
	assert_string_equal(capture.text, "");
}

/* Blocks of others are resized as well: into the caller's heap. */
static void *resize_elsewhere(void *argument)
{
	unsigned char **blocks = argument;

	for (unsigned i = 0; i < SIZES; i++)
		blocks[i] = pa_realloc(blocks[i], sizes[i] * 2 + 100, "realloc");
	return NULL;
}

static void test_resizing_blocks_of_others(void **state)
{
	unsigned char *blocks[SIZES];
	pthread_t thread;
	(void)state;

	for (unsigned i = 0; i < SIZES; i++) {
		blocks[i] = pa_allocate(heap, sizes[i]);
		fill(blocks[i], sizes[i], i);
	}
	assert_int_equal(pthread_create(&thread, NULL, resize_elsewhere, blocks), 0);
	pthread_join(thread, NULL);
	pa_heap_trim(heap);
	pa_heap_check(heap);
	for (unsigned i = 0; i < SIZES; i++) {
		assert_true(is_filled(blocks[i], sizes[i], i));
		release(blocks[i]);
	}
}

static void *note_heap(void *argument)
{
	struct pa_heap **noted = argument;

	pa_free(pa_malloc(100), "free");
	*noted = pa_thread_heap;
	return NULL;
}

static void test_threads_have_heaps(void **state)
{
	struct pa_heap *first = NULL, *second = NULL;
	pthread_t thread;
	(void)state;

	pa_free(pa_malloc(1), "free");
	assert_ptr_not_equal(pa_thread_heap, &pa_no_heap);
	assert_int_equal(pa_thread_heap->thread, pa_thread_identity());
	assert_int_equal(pthread_create(&thread, NULL, note_heap, &first), 0);
	pthread_join(thread, NULL);
	assert_ptr_not_equal(first, pa_thread_heap);
	assert_int_equal(first->state, PA_HEAP_ABANDONED);
	assert_int_equal(first->thread, 0);
	/* The next thread takes it over. */
	assert_int_equal(pthread_create(&thread, NULL, note_heap, &second), 0);
	pthread_join(thread, NULL);
	assert_ptr_equal(second, first);
}

static pthread_key_t late_key;
static void *late_block;

/* Runs when the thread's heap may have gone already; it asks for itself again, to be sure. */
static void allocate_late(void *rounds)
{
	pa_free(late_block, "free");
	late_block = pa_malloc(200);
	if (late_block)
		memset(late_block, 1, 200);
	if ((uintptr_t)rounds > 1)
		pthread_setspecific(late_key, (void *)((uintptr_t)rounds - 1));
}

static struct pa_pool *pool_of(const void *p)
{
	return pa_arena_pool_at(p);
}

static void *end_late(void *argument)
{
	late_block = pa_malloc(50);
	pthread_setspecific(late_key, (void *)3);
	return argument;
}

static void test_requests_of_ending_threads(void **state)
{
	pthread_t thread;
	(void)state;

	assert_int_equal(pthread_key_create(&late_key, allocate_late), 0);
	assert_int_equal(pthread_create(&thread, NULL, end_late, NULL), 0);
	pthread_join(thread, NULL);
	assert_non_null(late_block);
	struct pa_heap *shared = pa_arena_of(late_block)->heap;
	assert_int_equal(shared->kind, PA_HEAP_SHARED);
	assert_int_equal(pool_of(late_block)->owner, pa_heap_tag(shared));
	pa_lock(PA_LOCK_SHARED); /* it was let go */
	pa_unlock(PA_LOCK_SHARED);
	pa_free(late_block, "free");
	pthread_key_delete(late_key);
}

#define LIVE 500u

static void *live_at_random(void *seed)
{
	struct dice dice = { (uintptr_t)seed };
	unsigned char *blocks[LIVE] = { 0 };
	size_t bytes[LIVE] = { 0 };

	for (unsigned n = 0; n < 30000; n++) {
		unsigned i = dice_below(&dice, LIVE);
		size_t want =
			dice_below(&dice, 20) ? dice_below(&dice, 700) : dice_below(&dice, 400000);
		if (blocks[i] && !is_filled(blocks[i], pa_min(bytes[i], 3000), i))
			return (void *)1;
		unsigned what = dice_below(&dice, 4);
		if (what == 0 && blocks[i]) {
			blocks[i] = pa_realloc(blocks[i], want, "realloc");
			if (!blocks[i] ||
			    !is_filled(blocks[i], pa_min(pa_min(bytes[i], want), 3000), i))
				return (void *)2;
		} else {
			if (blocks[i])
				pa_free(blocks[i], "free");
			blocks[i] = what == 1 ? pa_memalign((size_t)1 << dice_below(&dice, 13), want)
					      : pa_malloc(want);
		}
		if (!blocks[i] || pa_usable_bytes(blocks[i], "malloc_usable_size") < want)
			return (void *)3;
		bytes[i] = want;
		fill(blocks[i], pa_min(want, 3000), i);
	}
	pa_heap_check(pa_thread_heap);
	for (unsigned i = 0; i < LIVE; i++)
		if (blocks[i])
			pa_free(blocks[i], "free");
	return NULL;
}

static void test_random_lives_of_threads(void **state)
{
	pthread_t threads[3];
	(void)state;

	for (uintptr_t i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, live_at_random, (void *)(i + 30)),
				 0);
	for (unsigned i = 0; i < 3; i++) {
		void *failed;
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	pa_malloc_trim();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usable_bytes),
		cmocka_unit_test(test_blocks_of_no_bytes_are_distinct),
		cmocka_unit_test(test_zeros),
		cmocka_unit_test(test_alignment),
		cmocka_unit_test(test_resizing_keeps_contents),
		cmocka_unit_test(test_small_blocks_stay_while_they_fit),
		cmocka_unit_test(test_runs_are_resized_in_place),
		cmocka_unit_test(test_large_objects_are_resized_without_copying),
		cmocka_unit_test(test_impossible_sizes),
		cmocka_unit_test(test_errno_is_kept),
		cmocka_unit_test(test_shrinking_never_fails),
		cmocka_unit_test(test_resizing_blocks_of_others),
		cmocka_unit_test(test_threads_have_heaps),
		cmocka_unit_test(test_requests_of_ending_threads),
		cmocka_unit_test(test_random_lives_of_threads),
	};

	return cmocka_run_group_tests_name("malloc", tests, start, NULL);
}
