/* SPDX-License-Identifier: MIT */
/* test_harden.c: malloc's semantics in a hardened process, on one heap; the ends of misuse are in tests/death. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "canary.h"
#include "dice.h"
#include "harden.h"
#include "large.h"
#include "lock.h"
#include "malloc.h"
#include "quarantine.h"

static const size_t sizes[] = {
	0,    1,    15,    16,    17,    24,     25,     100,    504,    505,    1000,
	4088, 4096, 16376, 16377, 20000, 100000, 262136, 262137, 262144, 300000, 3000000,
};
#define SIZES (sizeof sizes / sizeof sizes[0])

static struct pa_heap *heap;

static int start(void **state)
{
	(void)state;
	pa_malloc_init();
	pa_malloc_harden();
	heap = pa_heap_acquire(PA_HEAP_THREAD);
	return heap ? 0 : -1;
}

static void release(void *p, size_t bytes)
{
	pa_harden_free(heap, p, bytes, "free");
}

static bool is_all(const unsigned char *p, size_t bytes, unsigned char value)
{
	for (size_t i = 0; i < bytes; i++)
		if (p[i] != value)
			return false;
	return true;
}

static void test_sizes_are_exact(void **state)
{
	(void)state;

	for (unsigned i = 0; i < SIZES; i++) {
		unsigned char *p = pa_harden_allocate(heap, 1, sizes[i], false);
		assert_non_null(p);
		assert_int_equal((uintptr_t)p % PA_ALIGN, 0);
		assert_int_equal(pa_harden_usable_bytes(heap, p, "malloc_usable_size"), sizes[i]);
		memset(p, 1, sizes[i]);
		release(p, sizes[i]);
	}
	pa_heap_check(heap);
}

static void test_alignment(void **state)
{
	(void)state;

	for (size_t align = 1; align <= 4 * PA_MIB; align *= 2) {
		for (unsigned i = 0; i < SIZES; i++) {
			unsigned char *p = pa_harden_allocate(heap, align, sizes[i], false);
			assert_non_null(p);
			assert_int_equal((uintptr_t)p % align, 0);
			assert_int_equal(pa_harden_usable_bytes(heap, p, "malloc_usable_size"),
					 sizes[i]);
			memset(p, 1, sizes[i]);
			release(p, sizes[i]);
		}
	}
	pa_heap_check(heap);
}

/* Nothing of what was in a block is left, neither for who has freed it nor for who gets it next. */
static void test_zeros(void **state)
{
	(void)state;

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < SIZES; i++) {
			unsigned char *p = pa_harden_allocate(heap, 1, sizes[i], round & 1);
			assert_true(is_all(p, sizes[i], 0) || sizes[i] > PA_SMALL_MAX - 8);
			assert_true(is_all(p, sizes[i], 0) || !(round & 1));
			memset(p, 1, sizes[i]);
			release(p, PA_HARDEN_ANY_SIZE);
			if (sizes[i] <= PA_SMALL_MAX - 8)
				assert_true(is_all(p, sizes[i], 0));
		}
	}
}

static void test_impossible_sizes(void **state)
{
	(void)state;

	errno = 0;
	assert_null(pa_harden_allocate(heap, 1, SIZE_MAX, false));
	assert_int_equal(errno, ENOMEM);
	assert_null(pa_harden_allocate(heap, 1, PA_REQUEST_MAX, true));
	assert_null(pa_harden_allocate(heap, (size_t)1 << 62, 100, false));
	char *p = pa_harden_allocate(heap, 1, 100, false);
	strcpy(p, "still here");
	assert_null(pa_harden_reallocate(heap, p, PA_REQUEST_MAX, "realloc"));
	assert_string_equal(p, "still here");
	release(p, 100);
}

static void test_reallocation(void **state)
{
	struct dice dice = { 4 };
	size_t had = 10;
	unsigned char *p = pa_harden_allocate(heap, 1, had, false);
	(void)state;

	memset(p, 9, had);
	for (unsigned i = 0; i < 3000; i++) {
		size_t bytes = sizes[dice_below(&dice, SIZES)] + dice_below(&dice, 40);
		p = pa_harden_reallocate(heap, p, bytes, "realloc");
		assert_non_null(p);
		assert_true(is_all(p, bytes < had ? bytes : had, 9));
		assert_int_equal(pa_harden_usable_bytes(heap, p, "malloc_usable_size"), bytes);
		memset(p, 9, bytes);
		had = bytes;
	}
	release(p, had);
	pa_heap_check(heap);
}

/*
 * A block that was freed is not the next that is handed out, nor the hundredth, where no larger ones wait
 * (those of earlier tests) and make up the bytes that may.
 */
static void test_blocks_wait(void **state)
{
	(void)state;

	pa_harden_flush(heap);
	char *freed = pa_harden_allocate(heap, 1, 40, false);
	release(freed, 40);
	for (unsigned i = 0; i < 100; i++) {
		char *p = pa_harden_allocate(heap, 1, 40, false);
		assert_ptr_not_equal(p, freed);
		release(p, 40);
	}
	assert_true(heap->quarantine->bytes > 0);
	assert_true(pa_harden_flush(heap));
	assert_false(pa_harden_flush(heap));
	assert_int_equal(heap->quarantine->bytes, 0);
	pa_heap_check(heap);
}

/* The last to come is not the one that goes, however much waits: what is listed is not zero. */
static void test_the_last_one_waits(void **state)
{
	enum { COUNT = 300, BYTES = 12000 };
	static unsigned char *blocks[COUNT];
	(void)state;

	for (unsigned i = 0; i < COUNT; i++)
		blocks[i] = pa_harden_allocate(heap, 1, BYTES, false);
	for (unsigned i = 0; i < COUNT; i++) {
		release(blocks[i], BYTES);
		assert_true(is_all(blocks[i], BYTES, 0));
	}
	assert_true(pa_harden_flush(heap));
}

static void test_another_heaps_blocks(void **state)
{
	enum { COUNT = 3000 };
	static char *blocks[COUNT];
	struct pa_heap *other = pa_heap_acquire(PA_HEAP_THREAD);
	(void)state;

	for (unsigned i = 0; i < COUNT; i++)
		blocks[i] = pa_harden_allocate(other, 1, 40 + i % 3 * 2000, false);
	for (unsigned i = 0; i < COUNT; i++)
		pa_harden_free(i % 2 ? heap : NULL, blocks[i], 40 + i % 3 * 2000, "free");
	pa_harden_flush(heap);
	pa_heap_trim(other);
	assert_int_equal(other->remote_frees, COUNT);
	pa_heap_check(other);
	pa_heap_abandon(other);
}

static void test_trim_gives_all_back(void **state)
{
	enum { COUNT = 20000 };
	static char *blocks[COUNT];
	(void)state;

	pa_reserve_set(&(struct pa_keep_option){ PA_KEEP_BYTES, 256 * PA_MIB });
	for (unsigned i = 0; i < COUNT; i++)
		blocks[i] = pa_harden_allocate(heap, 1, i % 600, false);
	for (unsigned i = 0; i < COUNT; i++)
		if (i % 100)
			release(blocks[i], i % 600);
	pa_harden_flush(heap);
	assert_true(pa_heap_trim(heap) > COUNT * 150);
	pa_reserve_set(&(struct pa_keep_option){ PA_KEEP_AUTO, 0 });
	pa_heap_check(heap);
	for (unsigned i = 0; i < COUNT; i++) /* pools of which parts have gone are cut again */
		blocks[i] = i % 100 ? pa_harden_allocate(heap, 1, i % 600, false) : blocks[i];
	pa_heap_check(heap);
	for (unsigned i = 0; i < COUNT; i++)
		release(blocks[i], i % 600);
	pa_heap_check(heap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes_are_exact),
		cmocka_unit_test(test_alignment),
		cmocka_unit_test(test_zeros),
		cmocka_unit_test(test_impossible_sizes),
		cmocka_unit_test(test_reallocation),
		cmocka_unit_test(test_blocks_wait),
		cmocka_unit_test(test_the_last_one_waits),
		cmocka_unit_test(test_another_heaps_blocks),
		cmocka_unit_test(test_trim_gives_all_back),
	};

	return cmocka_run_group_tests_name("harden", tests, start, NULL);
}
