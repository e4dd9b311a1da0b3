/* SPDX-License-Identifier: MIT */
/*
 * test_freed.c: the list of freed mappings against a model that has a flag for each page.  Addresses are
 * made up: nothing is ever mapped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dice.h"
#include "freed.h"

#define PAGE 4096u
#define PAGES 4096u

static struct pa_freed freed;
static bool is_free[PAGES];

static char *page_at(unsigned page)
{
	return (char *)((uintptr_t)0x10000000 + (uintptr_t)page * PAGE);
}

static int begin(void **state)
{
	(void)state;
	freed = (struct pa_freed){ .clock = UINT32_MAX - 50 }; /* it goes round */
	for (unsigned i = 0; i < PAGES; i++)
		is_free[i] = false;
	return 0;
}

static void set(struct pa_mapping mapping, bool value)
{
	unsigned first = (unsigned)((size_t)(mapping.start - page_at(0)) / PAGE);

	assert_int_equal(mapping.bytes % PAGE, 0);
	for (unsigned i = 0; i < mapping.bytes / PAGE; i++) {
		assert_int_equal(is_free[first + i], !value);
		is_free[first + i] = value;
	}
}

static void put(unsigned page, unsigned pages)
{
	struct pa_mapping mapping = { page_at(page), (size_t)pages * PAGE };
	struct pa_mapping evicted = pa_freed_put(&freed, mapping);

	set(mapping, true);
	if (evicted.start)
		set(evicted, false);
}

static unsigned free_pages(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < PAGES; i++)
		count += is_free[i];
	return count;
}

/* In order, apart from each other, and just what the model has. */
static void check(void)
{
	assert_true(freed.count <= PA_FREED_MAX);
	assert_int_equal(freed.bytes, (size_t)free_pages() * PAGE);
	size_t bytes = 0;
	for (unsigned i = 0; i < freed.count; i++) {
		struct pa_mapping mapping = freed.entries[i].mapping;
		assert_true(mapping.bytes > 0);
		if (i > 0)
			assert_true(freed.entries[i - 1].mapping.start +
					    freed.entries[i - 1].mapping.bytes <
				    mapping.start);
		for (size_t at = 0; at < mapping.bytes; at += PAGE)
			assert_true(is_free[(size_t)(mapping.start + at - page_at(0)) / PAGE]);
		bytes += mapping.bytes;
	}
	assert_int_equal(freed.bytes, bytes);
}

static void is_none(struct pa_mapping mapping)
{
	assert_null(mapping.start);
	assert_int_equal(mapping.bytes, 0);
}

static void is_at(struct pa_mapping mapping, unsigned page, unsigned pages)
{
	assert_ptr_equal(mapping.start, page_at(page));
	assert_int_equal(mapping.bytes, (size_t)pages * PAGE);
	set(mapping, false);
	check();
}

static void test_nothing_is_there(void **state)
{
	(void)state;

	is_none(pa_freed_take(&freed, PAGE));
	is_none(pa_freed_take_at(&freed, page_at(0), PAGE));
	is_none(pa_freed_take_largest(&freed, PAGE));
	is_none(pa_freed_take_oldest(&freed, SIZE_MAX));
}

static void test_neighbours_are_joined(void **state)
{
	(void)state;

	put(10, 5);
	put(20, 5);
	put(5, 5);  /* joins what follows */
	put(25, 5); /* what comes before */
	assert_int_equal(freed.count, 2);
	check();
	put(15, 5); /* both */
	assert_int_equal(freed.count, 1);
	check();
	is_at(pa_freed_take(&freed, 25 * PAGE), 5, 25);
	assert_int_equal(freed.count, 0);
}

static void test_the_best_fit(void **state)
{
	(void)state;

	put(0, 8);
	put(10, 3);
	put(20, 5);
	is_none(pa_freed_take(&freed, 9 * PAGE));
	is_at(pa_freed_take(&freed, 4 * PAGE), 20, 4);
	is_at(pa_freed_take(&freed, 1 * PAGE), 24, 1);
	is_at(pa_freed_take(&freed, 3 * PAGE), 10, 3);
	is_none(pa_freed_take_largest(&freed, 9 * PAGE));
	is_at(pa_freed_take_largest(&freed, 8 * PAGE), 0, 8);
}

static void test_at_an_address(void **state)
{
	(void)state;

	put(10, 4);
	is_none(pa_freed_take_at(&freed, page_at(11), PAGE));
	is_none(pa_freed_take_at(&freed, page_at(10), 5 * PAGE));
	is_at(pa_freed_take_at(&freed, page_at(10), 3 * PAGE), 10, 3);
	is_at(pa_freed_take_at(&freed, page_at(13), PAGE), 13, 1);
}

/* What grew by a neighbour is as young as the neighbour. */
static void test_the_oldest_goes_from_its_end(void **state)
{
	(void)state;

	put(0, 4);
	put(10, 4);
	put(20, 4);
	put(4, 2);
	is_at(pa_freed_take_oldest(&freed, 3 * PAGE), 11, 3);
	is_at(pa_freed_take_oldest(&freed, 3 * PAGE), 10, 1);
	is_at(pa_freed_take_oldest(&freed, SIZE_MAX), 20, 4);
	is_at(pa_freed_take_oldest(&freed, SIZE_MAX), 0, 6);
}

static void test_full(void **state)
{
	(void)state;

	for (unsigned i = 0; i < PA_FREED_MAX; i++)
		put(3 * (PA_FREED_MAX - i), 1);
	check();
	put(3 * PA_FREED_MAX + 1, 1); /* no room is needed for what joins */
	assert_int_equal(free_pages(), PA_FREED_MAX + 1);
	check();
	put(3 * PA_FREED_MAX + 10, 1);
	assert_int_equal(freed.count, PA_FREED_MAX);
	assert_int_equal(free_pages(), PA_FREED_MAX + 1);
	assert_false(is_free[3 * (PA_FREED_MAX - 1)]); /* the first has been joined since */
	check();
}

static void test_random_lives(void **state)
{
	struct dice dice = { 7 };
	(void)state;

	for (unsigned n = 0; n < 40000; n++) {
		unsigned page = dice_below(&dice, PAGES - 16), pages = 1 + dice_below(&dice, 15);
		struct pa_mapping taken = { 0 };
		switch (dice_below(&dice, 5)) {
		case 0:
			taken = pa_freed_take(&freed, pages * PAGE);
			break;
		case 1:
			taken = pa_freed_take_oldest(&freed, pages * PAGE);
			break;
		case 2:
			taken = pa_freed_take_at(&freed, page_at(page), pages * PAGE);
			break;
		default:
			while (pages > 0 && is_free[page])
				page++, pages--;
			for (unsigned i = 0; i < pages; i++)
				if (is_free[page + i])
					pages = i;
			if (pages > 0)
				put(page, pages);
		}
		if (taken.start)
			set(taken, false);
		check();
	}
}

#define point(test) cmocka_unit_test_setup(test, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		point(test_nothing_is_there),
		point(test_neighbours_are_joined),
		point(test_the_best_fit),
		point(test_at_an_address),
		point(test_the_oldest_goes_from_its_end),
		point(test_full),
		point(test_random_lives),
	};

	return cmocka_run_group_tests_name("freed", tests, NULL, NULL);
}
