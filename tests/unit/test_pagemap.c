/* SPDX-License-Identifier: MIT */
/* test_pagemap.c: which addresses are in arenas, wild ones included. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pagemap.h"

#define MAPPED_BYTES ((uintptr_t)1 << PA_ADDRESS_BITS)

static const uintptr_t arenas[] = {
	0,
	PA_ARENA_BYTES,
	63 * PA_ARENA_BYTES,
	64 * PA_ARENA_BYTES,
	12345 * PA_ARENA_BYTES,
	MAPPED_BYTES / 2,
	MAPPED_BYTES - PA_ARENA_BYTES,
};
#define ARENAS (sizeof arenas / sizeof arenas[0])

static bool has(uintptr_t address)
{
	return pa_pagemap_has((const void *)address);
}

static void test_each_arena_alone(void **state)
{
	(void)state;

	for (size_t i = 0; i < ARENAS; i++) {
		uintptr_t arena = arenas[i];
		assert_false(has(arena));
		assert_true(pa_pagemap_set((const void *)arena));
		assert_true(has(arena));
		assert_true(has(arena + 1));
		assert_true(has(arena + PA_ARENA_BYTES / 2));
		assert_true(has(arena + PA_ARENA_BYTES - 1));
		assert_false(has(arena - 1)); /* of 0: the highest address */
		assert_false(has(arena + PA_ARENA_BYTES));
		assert_false(has(arena + 64 * PA_ARENA_BYTES));
		assert_false(has(arena + MAPPED_BYTES));
		pa_pagemap_clear((const void *)arena);
		assert_false(has(arena));
	}
}

static void test_neighbours_are_independent(void **state)
{
	uintptr_t first = 4000 * PA_ARENA_BYTES;
	(void)state;

	for (unsigned i = 0; i < 200; i++)
		assert_true(pa_pagemap_set((const void *)(first + i * PA_ARENA_BYTES)));
	for (unsigned i = 0; i < 200; i += 3)
		pa_pagemap_clear((const void *)(first + i * PA_ARENA_BYTES));
	assert_false(has(first - 1));
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(has(first + i * PA_ARENA_BYTES + i), i % 3 != 0);
	assert_false(has(first + 200 * PA_ARENA_BYTES));
	for (unsigned i = 0; i < 200; i++)
		pa_pagemap_clear((const void *)(first + i * PA_ARENA_BYTES));
	for (unsigned i = 0; i < 200; i++)
		assert_false(has(first + i * PA_ARENA_BYTES));
}

static void test_wild_addresses(void **state)
{
	static int in_data;
	int on_stack;
	(void)state;

	/* All of the first and last arena that can be are there: nothing beyond may look like them. */
	assert_true(pa_pagemap_set((const void *)0));
	assert_true(pa_pagemap_set((const void *)(MAPPED_BYTES - PA_ARENA_BYTES)));
	for (unsigned bit = PA_ADDRESS_BITS; bit < 64; bit++) {
		assert_false(has(UINT64_C(1) << bit));
		assert_false(has(UINT64_C(1) << bit | (MAPPED_BYTES - 1)));
		assert_false(has(~(UINT64_C(1) << bit)));
		assert_false(has(~UINT64_C(0) << bit));
	}
	assert_false(has(UINTPTR_MAX));
	pa_pagemap_clear((const void *)0);
	pa_pagemap_clear((const void *)(MAPPED_BYTES - PA_ARENA_BYTES));
	for (unsigned bit = 0; bit < 64; bit++)
		assert_false(has(UINT64_C(1) << bit));
	assert_false(pa_pagemap_has(NULL));
	assert_false(pa_pagemap_has(&in_data));
	assert_false(pa_pagemap_has(&on_stack));
}

static void test_addresses_beyond_are_refused(void **state)
{
	(void)state;

	assert_false(pa_pagemap_set((const void *)MAPPED_BYTES));
	assert_false(pa_pagemap_set((const void *)(UINTPTR_MAX - PA_ARENA_BYTES + 1)));
	assert_false(has(MAPPED_BYTES));
	assert_false(has(0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_arena_alone),
		cmocka_unit_test(test_neighbours_are_independent),
		cmocka_unit_test(test_wild_addresses),
		cmocka_unit_test(test_addresses_beyond_are_refused),
	};

	return cmocka_run_group_tests_name("pagemap", tests, NULL, NULL);
}
