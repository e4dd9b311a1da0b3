/* SPDX-License-Identifier: MIT */
/* test_canary.c: what lies behind the bytes that were asked for; every byte of it is looked at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "canary.h"
#include "secret.h"

#define ROOM 96u

static _Alignas(16) unsigned char block[2 * ROOM];

static int begin(void **state)
{
	(void)state;
	pa_secret_begin();
	memset(block, 7, sizeof block);
	return 0;
}

static void test_sizes(void **state)
{
	(void)state;

	for (size_t bytes = 0; bytes <= ROOM - PA_CANARY_BYTES; bytes++) {
		size_t found = SIZE_MAX;
		memset(block, 7, sizeof block);
		pa_canary_set(block, ROOM, bytes);
		assert_int_equal(pa_canary_get(block, ROOM, &found), PA_CANARY_LIVE);
		assert_int_equal(found, bytes);
		for (size_t i = 0; i < bytes; i++)
			assert_int_equal(block[i], 7);
		assert_int_equal(block[ROOM], 7);
	}
}

/* Whatever one byte becomes, zero as well. */
static void test_every_byte_behind(void **state)
{
	(void)state;

	for (size_t bytes = 60; bytes <= ROOM - PA_CANARY_BYTES; bytes++) {
		pa_canary_set(block, ROOM, bytes);
		for (size_t i = bytes; i < ROOM; i++) {
			unsigned char was = block[i];
			for (unsigned value = 0; value < 256; value++) {
				size_t found;
				block[i] = (unsigned char)value;
				assert_int_equal(pa_canary_get(block, ROOM, &found),
						 value == was ? PA_CANARY_LIVE : PA_CANARY_BROKEN);
			}
			block[i] = was;
		}
	}
}

/* Behind a string, its end is no part of the canary. */
static void test_zero_is_noticed(void **state)
{
	(void)state;

	for (size_t bytes = 0; bytes <= ROOM - PA_CANARY_BYTES; bytes++) {
		pa_canary_set(block, ROOM, bytes);
		assert_int_not_equal(block[bytes], 0);
	}
}

/* A canary that was read elsewhere is of no use. */
static void test_another_place(void **state)
{
	size_t found;
	(void)state;

	pa_canary_set(block, ROOM, 50);
	memcpy(block + ROOM, block, ROOM);
	assert_int_equal(pa_canary_get(block + ROOM, ROOM, &found), PA_CANARY_BROKEN);
}

static void test_a_long_gap(void **state)
{
	static _Alignas(16) char large[1 << 20];
	size_t found;
	(void)state;

	pa_canary_set(large, sizeof large, 3);
	assert_int_equal(pa_canary_get(large, sizeof large, &found), PA_CANARY_LIVE);
	assert_int_equal(found, 3);
	large[700000]++;
	assert_int_equal(pa_canary_get(large, sizeof large, &found), PA_CANARY_BROKEN);
}

static void test_free_blocks(void **state)
{
	size_t found;
	(void)state;

	pa_canary_set(block, ROOM, 50);
	assert_false(pa_canary_is_clear(block, ROOM, 0));
	pa_canary_clear(block, ROOM);
	assert_int_equal(pa_canary_get(block, ROOM, &found), PA_CANARY_FREED);
	assert_true(pa_canary_is_clear(block, ROOM, 0));
	for (size_t i = 0; i < ROOM; i++) {
		block[i] ^= 0x40;
		assert_false(pa_canary_is_clear(block, ROOM, 0));
		assert_int_equal(pa_canary_is_clear(block, ROOM, 16), i < 16);
		block[i] ^= 0x40;
	}
	assert_int_equal(block[ROOM], 7);
}

#define point(test) cmocka_unit_test_setup(test, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		point(test_sizes),         point(test_every_byte_behind), point(test_zero_is_noticed),
		point(test_another_place), point(test_a_long_gap),        point(test_free_blocks),
	};

	return cmocka_run_group_tests_name("canary", tests, NULL, NULL);
}
