/* SPDX-License-Identifier: MIT */
/* test_sizeclass.c: the table of classes, and its arithmetic for every size and every offset. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sizeclass.h"

static void test_table(void **state)
{
	(void)state;

	assert_int_equal(pa_classes[0].block_bytes, 16);
	assert_int_equal(pa_classes[1].block_bytes, 16);
	for (unsigned c = 2; c < PA_CLASSES; c++) {
		assert_true(pa_classes[c].block_bytes > pa_classes[c - 1].block_bytes);
		unsigned gap = pa_classes[c].block_bytes - pa_classes[c - 1].block_bytes;
		assert_true(gap == 16 || gap * 32 <= pa_classes[c - 1].block_bytes);
	}
	assert_int_equal(pa_classes[PA_TINY_CLASSES - 1].block_bytes, PA_TINY_MAX);
	assert_int_equal(pa_classes[PA_CLASSES - 1].block_bytes, PA_SMALL_MAX);
	assert_int_equal(PA_SMALL_MAX, 16384);
}

static void test_pools(void **state)
{
	(void)state;

	for (unsigned c = 0; c < PA_CLASSES; c++) {
		const struct pa_class *class = &pa_classes[c];
		size_t bytes = class->slots * PA_SLOT_BYTES;
		assert_int_equal(class->block_bytes % PA_ALIGN, 0);
		assert_in_range(class->slots, 1, 4);
		assert_int_equal(class->blocks, (bytes - pa_class_lead(c)) / class->block_bytes);
		assert_true(class->blocks >= (class->block_bytes <= 1024 ? 32 : 8) ||
			    class->slots == 4);
		assert_true(class->blocks >= 4);
		assert_true(bytes % class->block_bytes * 64 <= bytes || class->slots == 4);
	}
}

/* The smallest class of at least so many bytes, by search. */
static unsigned search(size_t bytes, size_t align)
{
	unsigned c = bytes == 0 ? 0 : 1;

	while (pa_classes[c].block_bytes < bytes || pa_classes[c].block_bytes % align != 0)
		c++;
	return c;
}

static void test_class_of_every_size(void **state)
{
	(void)state;

	for (size_t bytes = 0; bytes <= PA_SMALL_MAX; bytes++) {
		assert_int_equal(pa_class_of(bytes), search(bytes, 1));
		if (bytes <= PA_LINEAR_MAX)
			assert_int_equal(pa_class_of_linear(bytes), search(bytes, 1));
		if (bytes > PA_TINY_MAX)
			assert_int_equal(pa_class_of_small(bytes), search(bytes, 1));
	}
}

static void test_coarse_classes(void **state)
{
	(void)state;

	for (unsigned c = PA_TINY_CLASSES; c < PA_CLASSES; c++) {
		unsigned coarse = pa_class_coarse(c);
		assert_in_range(coarse, c, c + 3);
		assert_true(coarse < PA_CLASSES);
		assert_int_equal(pa_class_coarse(coarse), coarse);
		assert_true(pa_classes[coarse].block_bytes - pa_classes[c].block_bytes <=
			    pa_classes[c].block_bytes / 8);
	}
	/* One in four, no more. */
	unsigned coarse_count = 0;
	for (unsigned c = PA_TINY_CLASSES; c < PA_CLASSES; c++)
		coarse_count += pa_class_coarse(c) == c;
	assert_int_equal(coarse_count, (PA_CLASSES - PA_TINY_CLASSES) / 4);
}

static void test_reciprocals_are_exact(void **state)
{
	(void)state;

	for (unsigned c = 0; c < PA_CLASSES; c++) {
		const struct pa_class *class = &pa_classes[c];
		uint32_t end = class->slots * (uint32_t)PA_SLOT_BYTES;
		uint32_t block = 0, in_block = 0, wrong = 0;
		for (uint32_t offset = 0; offset < end; offset++) {
			wrong += pa_class_block_index(class->reciprocal, offset) != block;
			wrong += pa_class_is_block_start(class->reciprocal, offset) != (in_block == 0);
			if (++in_block == class->block_bytes) {
				in_block = 0;
				block++;
			}
		}
		assert_int_equal(wrong, 0);
	}
}

static void test_runs_have_one_block(void **state)
{
	uint32_t reciprocal = pa_classes[PA_CLASS_RUN].reciprocal, wrong = 0;
	(void)state;

	assert_true(pa_class_is_block_start(reciprocal, 0));
	for (uint32_t offset = 1; offset < PA_ARENA_BYTES; offset++)
		wrong += pa_class_is_block_start(reciprocal, offset);
	assert_int_equal(wrong, 0);
}

static void test_aligned_classes(void **state)
{
	(void)state;

	for (size_t align = PA_ALIGN; align <= PA_SLOT_BYTES; align *= 2) {
		unsigned expected = search(1, align);
		for (size_t bytes = 0; pa_round_up(bytes, align) <= PA_SMALL_MAX; bytes++) {
			if (bytes > pa_classes[expected].block_bytes)
				expected = search(bytes, align);
			if (pa_class_of_aligned(bytes, align) != expected)
				fail_msg("%zu bytes on %zu are of class %u, not %u", bytes, align,
					 pa_class_of_aligned(bytes, align), expected);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_pools),
		cmocka_unit_test(test_class_of_every_size),
		cmocka_unit_test(test_coarse_classes),
		cmocka_unit_test(test_reciprocals_are_exact),
		cmocka_unit_test(test_runs_have_one_block),
		cmocka_unit_test(test_aligned_classes),
	};

	return cmocka_run_group_tests_name("sizeclass", tests, NULL, NULL);
}
