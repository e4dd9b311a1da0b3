/* SPDX-License-Identifier: MIT */
/* test_quarantine.c: blocks that wait, against a count of each.  Addresses are made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dice.h"
#include "quarantine.h"
#include "secret.h"

#define BLOCKS 20000u

static struct pa_quarantine quarantine;
static bool is_in[BLOCKS];

static int begin(void **state)
{
	(void)state;
	pa_secret_begin();
	quarantine = (struct pa_quarantine){ .first = UINT32_MAX - 50, .last = UINT32_MAX - 50 };
	memset(is_in, 0, sizeof is_in);
	return 0;
}

static void put(unsigned i, size_t bytes)
{
	assert_false(is_in[i]);
	is_in[i] = true;
	pa_quarantine_put(&quarantine,
			  (struct pa_quarantined){ (char *)(uintptr_t)(0x1000 + 16 * i), bytes });
}

/* The number of a block that has left; -1 if none has. */
static int take(bool is_all)
{
	struct pa_quarantined taken = pa_quarantine_take(&quarantine, is_all);

	if (!taken.block)
		return -1;
	int i = (int)((uintptr_t)taken.block - 0x1000) / 16;
	assert_true(is_in[i]);
	is_in[i] = false;
	return i;
}

static size_t bytes_in(void)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < PA_QUARANTINE_PLACES; i++)
		bytes += quarantine.places[i].block ? quarantine.places[i].bytes : 0;
	for (unsigned i = quarantine.first; i != quarantine.last; i++)
		bytes += quarantine.queue[i % PA_QUARANTINE_QUEUE].bytes;
	return bytes;
}

static void test_none_is_lost(void **state)
{
	struct dice dice = { 1 };
	unsigned taken = 0;
	(void)state;

	for (unsigned i = 0; i < BLOCKS; i++) {
		put(i, 16 + dice_below(&dice, 300));
		while (take(false) >= 0)
			taken++;
		assert_true(i + 1 - taken < PA_QUARANTINE_PLACES + PA_QUARANTINE_QUEUE);
		if (i % 1000 == 0)
			assert_int_equal(quarantine.bytes, bytes_in());
	}
	assert_true(taken > BLOCKS / 2);
	while (take(true) >= 0)
		taken++;
	assert_int_equal(taken, BLOCKS);
	assert_int_equal(quarantine.bytes, 0);
}

/* Small ones wait for hundreds of others, and do not leave in the order in which they came. */
static void test_they_wait(void **state)
{
	unsigned in_order = 0, taken = 0;
	int last = -1;
	(void)state;

	for (unsigned i = 0; i < BLOCKS; i++) {
		put(i, 64);
		for (int left = take(false); left >= 0; left = take(false)) {
			assert_true(i - (unsigned)left >= PA_QUARANTINE_QUEUE - PA_QUARANTINE_PLACES);
			in_order += left == last + 1;
			last = left;
			taken++;
		}
	}
	assert_true(in_order < taken / 16);
}

static void test_large_ones_do_not_fill_it(void **state)
{
	(void)state;

	for (unsigned i = 0; i < 1000; i++) {
		put(i, PA_QUARANTINE_BYTES / 5);
		while (take(false) >= 0)
			;
		assert_true(quarantine.bytes <= PA_QUARANTINE_BYTES);
	}
	assert_true(quarantine.bytes >= PA_QUARANTINE_BYTES / 2);
	assert_int_equal(quarantine.bytes, bytes_in());
}

#define point(test) cmocka_unit_test_setup(test, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		point(test_none_is_lost),
		point(test_they_wait),
		point(test_large_ones_do_not_fill_it),
	};

	return cmocka_run_group_tests_name("quarantine", tests, NULL, NULL);
}
