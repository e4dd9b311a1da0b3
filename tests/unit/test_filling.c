/* SPDX-License-Identifier: MIT */
/*
 * test_filling.c: which objects are watched, and what follows from it.  Addresses are made up.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "filling.h"

static struct pa_filling filling;
static unsigned made;

static int begin(void **state)
{
	(void)state;
	filling = (struct pa_filling){ 0 };
	made = 0;
	return 0;
}

/* Make an object; what is expected of it. */
static bool expect(void)
{
	made++;
	return pa_filling_expect(&filling,
				 (struct pa_mapping){ (char *)((uintptr_t)made << 20), 1 << 20 });
}

static const char *newest(void)
{
	return (const char *)((uintptr_t)made << 20);
}

/* The newest ends. */
static void end(bool is_filled)
{
	assert_true(pa_filling_end(&filling, newest()));
	pa_filling_note(&filling, is_filled);
}

static void find_evidence(void)
{
	for (unsigned i = 0; i < PA_FILLING_EVIDENCE; i++) {
		assert_false(expect());
		end(true);
	}
}

static void test_nothing_is_expected_at_first(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 10 * PA_FILLING_INTERVAL; i++)
		assert_false(expect());
}

static void test_two_in_a_row_are_evidence(void **state)
{
	(void)state;
	assert_false(expect());
	end(true);
	assert_false(expect());
	end(false);
	assert_false(expect());
	end(true);
	assert_false(expect());
	end(true);
	assert_true(expect());
}

static void test_one_of_sixteen_is_watched(void **state)
{
	(void)state;
	find_evidence();
	for (unsigned i = 0; i < 5; i++) {
		for (unsigned k = 1; k < PA_FILLING_INTERVAL; k++) {
			assert_true(expect());
			assert_false(pa_filling_end(&filling, newest()));
		}
		assert_false(expect());
		end(true);
	}
}

static void test_one_that_was_not_filled_ends_it(void **state)
{
	(void)state;
	find_evidence();
	while (expect()) {
	}
	end(false);
	assert_false(expect());
	end(true);
	assert_false(expect());
	end(true);
	assert_true(expect());
}

static void test_a_look_at_one_that_lives(void **state)
{
	const char *watched;

	(void)state;
	for (unsigned i = 0; i < PA_FILLING_EVIDENCE; i++) {
		assert_false(expect());
		watched = newest();
		pa_filling_look(&filling, watched, false); /* not yet: it stays watched */
		assert_ptr_equal(filling.watched.start, watched);
		pa_filling_look(&filling, watched, true);
		assert_null(filling.watched.start);
	}
	assert_true(expect());
}

static void test_one_that_is_not_filled_in_time(void **state)
{
	(void)state;
	find_evidence();
	while (expect()) {
	}
	const char *watched = newest();
	for (unsigned i = 1; i < PA_FILLING_INTERVAL; i++) {
		assert_true(expect()); /* what was known is good until then */
		pa_filling_look(&filling, watched, false);
		assert_ptr_equal(filling.watched.start, watched);
	}
	assert_true(expect());
	pa_filling_look(&filling, watched, false);
	assert_null(filling.watched.start);
	assert_false(expect());
	assert_ptr_equal(filling.watched.start, newest());
}

static void test_a_look_at_one_that_has_ended(void **state)
{
	(void)state;
	assert_false(expect());
	const char *ended = newest();
	end(true);
	assert_false(expect());
	pa_filling_look(&filling, ended, true);
	pa_filling_look(&filling, NULL, true);
	assert_ptr_equal(filling.watched.start, newest());
	assert_int_equal(filling.filled, 1);
	assert_false(pa_filling_end(&filling, ended));
	assert_false(pa_filling_end(&(struct pa_filling){ 0 }, NULL));
}

#define point(test) cmocka_unit_test_setup(test, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		point(test_nothing_is_expected_at_first), point(test_two_in_a_row_are_evidence),
		point(test_one_of_sixteen_is_watched),    point(test_one_that_was_not_filled_ends_it),
		point(test_a_look_at_one_that_lives),     point(test_one_that_is_not_filled_in_time),
		point(test_a_look_at_one_that_has_ended),
	};

	return cmocka_run_group_tests_name("filling", tests, NULL, NULL);
}
