/* SPDX-License-Identifier: MIT */
/* test_secret.c: the numbers that a hardened process keeps for itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "secret.h"

static void test_links_are_plain_at_first(void **state)
{
	int block;
	(void)state;

	assert_false(pa_is_hardened());
	assert_int_equal(pa_secret_of_link(&block), 0);
}

static void test_begin(void **state)
{
	(void)state;

	pa_secret_begin();
	assert_true(pa_is_hardened());
	struct pa_secret first = pa_secret;
	assert_true(first.words[0] != first.words[1]);
	pa_secret_begin(); /* once is enough */
	assert_memory_equal(&first, &pa_secret, sizeof first);
}

/* Of two places the pads differ, and the pad of one does not tell that of the next. */
static void test_links(void **state)
{
	uintptr_t last = 0, last_change = 0;
	(void)state;

	for (uintptr_t at = 0x7f0000000000; at < 0x7f0000010000; at += 16) {
		uintptr_t pad = pa_secret_of_link((void *)at);
		assert_true(pad != 0 && pad != last && (pad ^ last) != last_change);
		assert_int_equal(pad, pa_secret_of_link((void *)at));
		last_change = pad ^ last;
		last = pad;
	}
}

static void test_random_numbers(void **state)
{
	enum { SIDES = 7, THROWS = 70000 };
	unsigned counts[SIDES] = { 0 };
	(void)state;

	for (unsigned i = 0; i < THROWS; i++)
		counts[pa_secret_below(pa_secret_random(), SIDES)]++;
	for (unsigned i = 0; i < SIDES; i++)
		assert_in_range(counts[i], THROWS / SIDES - 600, THROWS / SIDES + 600);
	assert_int_equal(pa_secret_below(UINT64_MAX, SIDES), SIDES - 1);
	assert_int_equal(pa_secret_below(UINT64_MAX, 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_links_are_plain_at_first),
		cmocka_unit_test(test_begin),
		cmocka_unit_test(test_links),
		cmocka_unit_test(test_random_numbers),
	};

	return cmocka_run_group_tests_name("secret", tests, NULL, NULL);
}
