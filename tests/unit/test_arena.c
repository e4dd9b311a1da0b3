/* SPDX-License-Identifier: MIT */
/* test_arena.c: slots and units of one arena against a model of one byte each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "arena.h"
#include "dice.h"

#define UNITS ((unsigned)PA_ARENA_UNITS)
#define SLOTS ((unsigned)PA_ARENA_SLOTS)
#define HEAP ((struct pa_heap *)64)

static struct pa_arena *arena;
static bool is_free[PA_ARENA_SLOTS], touched[PA_ARENA_UNITS], purged[PA_ARENA_UNITS];

static int map_arena(void **state)
{
	char *p = mmap(NULL, 2 * PA_ARENA_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	(void)state;

	if (p == MAP_FAILED)
		return -1;
	arena = (struct pa_arena *)pa_round_up((uintptr_t)p, PA_ARENA_BYTES);
	return 0;
}

static int begin(void **state)
{
	(void)state;
	memset(arena, 0x5a, offsetof(struct pa_arena, pools));
	memset(arena->pools, 0, sizeof arena->pools[0] * (PA_ARENA_LAST + 1));
	arena->registry_index = 77;
	pa_arena_init(arena, HEAP);
	memset(touched, 0, sizeof touched);
	memset(purged, 0, sizeof purged);
	for (unsigned slot = 0; slot < SLOTS; slot++)
		is_free[slot] = slot >= PA_ARENA_FIRST && slot <= PA_ARENA_LAST;
	memset(touched, 1, PA_SLOT_UNITS);
	return 0;
}

static bool is_touched_slot(unsigned slot)
{
	return touched[4 * slot] || touched[4 * slot + 1] || touched[4 * slot + 2] ||
	       touched[4 * slot + 3];
}

static bool has_bit(const uint64_t *bits, unsigned i)
{
	return bits[i / 64] >> i % 64 & 1;
}

static void check(void)
{
	unsigned dirty = 0, free_count = 0;

	for (unsigned slot = 0; slot < SLOTS; slot++) {
		assert_int_equal(arena->free_slots >> slot & 1, is_free[slot]);
		assert_int_equal(pa_arena_touched_slots(arena) >> slot & 1, is_touched_slot(slot));
		free_count += is_free[slot];
	}
	for (unsigned unit = 0; unit < UNITS; unit++) {
		assert_int_equal(has_bit(arena->touched, unit), touched[unit]);
		assert_int_equal(has_bit(arena->purged, unit), purged[unit]);
		dirty += is_free[unit / PA_SLOT_UNITS] && touched[unit];
	}
	assert_int_equal(arena->dirty_units, dirty);
	assert_int_equal(pa_arena_free_count(arena), free_count);
	pa_arena_check(arena);
}

static unsigned find_by_model(unsigned count)
{
	unsigned found = 0;

	for (unsigned slot = PA_ARENA_LAST + 1 - count; slot >= PA_ARENA_FIRST; slot--) {
		bool is_run = true, was_dirty = found && is_touched_slot(found);
		for (unsigned i = 0; i < count; i++)
			is_run &= is_free[slot + i];
		if (is_run && (!was_dirty || is_touched_slot(slot)))
			found = slot;
	}
	return found;
}

/* As the heap does: the record of a run, of which the arena's check sees that it fits. */
static void take(unsigned first, unsigned count)
{
	pa_arena_take(arena, first, count);
	char *start = pa_arena_slot_start(arena, first);
	pa_pool_init_run(&arena->pools[first], start, count * (unsigned)PA_SLOT_UNITS, 3);
	pa_arena_extend(arena, first, 1, count);
	for (unsigned i = 0; i < count; i++) {
		assert_ptr_equal(pa_arena_pool_at(start + i * PA_SLOT_BYTES + 1), &arena->pools[first]);
		is_free[first + i] = false;
	}
}

static void give(unsigned first, unsigned count)
{
	pa_arena_give(arena, first, count);
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(arena->pools[first + i].owner, 0);
		assert_ptr_equal(pa_arena_pool_at(pa_arena_slot_start(arena, first + i)),
				 &arena->pools[first + i]);
		assert_int_equal(arena->pools[first + i].state, PA_POOL_FREE);
		is_free[first + i] = true;
	}
}

static void touch(unsigned first, unsigned count)
{
	struct pa_touched seen = { 0 };

	for (unsigned unit = first; unit < first + count; unit++) {
		seen.fresh += !touched[unit];
		seen.refaults += purged[unit];
		purged[unit] = false;
		touched[unit] = true;
	}
	struct pa_touched told = pa_arena_touch(arena, first, count);
	assert_int_equal(told.fresh, seen.fresh);
	assert_int_equal(told.refaults, seen.refaults);
}

/* What a sweep does to the bitmaps. */
static void purge_slot(unsigned slot)
{
	unsigned first = pa_arena_first_unit(slot);
	uint64_t given = pa_units_get(arena->touched, first, PA_SLOT_UNITS);

	pa_units_clear(arena->touched, first, given);
	pa_units_set(arena->purged, first, given);
	if (is_free[slot])
		arena->dirty_units = (uint8_t)(arena->dirty_units - pa_count_bits(given));
	for (unsigned unit = first; unit < first + PA_SLOT_UNITS; unit++) {
		purged[unit] |= touched[unit];
		touched[unit] = false;
	}
}

static void test_new_arena(void **state)
{
	(void)state;

	check();
	assert_ptr_equal(arena->heap, HEAP);
	assert_int_equal(arena->registry_index, 77);
	assert_false(arena->is_queued);
	assert_int_equal(arena->dead_units, 0);
	assert_int_equal(pa_arena_free_count(arena), PA_ARENA_USABLE);
	assert_null(arena->next);
}

static void test_places(void **state)
{
	(void)state;

	for (unsigned slot = PA_ARENA_FIRST; slot <= PA_ARENA_LAST; slot++) {
		struct pa_pool *pool = &arena->pools[slot];
		assert_ptr_equal(pa_arena_of(pool), arena);
		assert_int_equal(pa_arena_slot(pool), slot);
		assert_ptr_equal(pa_arena_pool_start(pool), (char *)arena + slot * PA_SLOT_BYTES);
		assert_ptr_equal(pa_arena_of(pa_arena_pool_start(pool) + PA_SLOT_BYTES - 1), arena);
		assert_int_equal(pa_arena_first_unit(slot), slot * 4);
	}
}

static void test_runs_of_every_length(void **state)
{
	(void)state;

	for (unsigned count = 1; count <= PA_ARENA_USABLE; count++) {
		unsigned taken = 0, first;
		while ((first = pa_arena_find(arena, count)) != 0) {
			assert_int_equal(first, PA_ARENA_FIRST + taken * count);
			take(first, count);
			taken++;
		}
		assert_int_equal(taken, PA_ARENA_USABLE / count);
		check();
		for (unsigned i = taken; i > 0; i--)
			give(PA_ARENA_FIRST + (i - 1) * count, count);
		check();
	}
	assert_int_equal(pa_arena_find(arena, PA_ARENA_USABLE + 1), 0);
}

/* One hole of each length at each place. */
static void test_every_hole(void **state)
{
	(void)state;

	for (unsigned first = PA_ARENA_FIRST; first <= PA_ARENA_LAST; first++) {
		for (unsigned length = 1; first + length - 1 <= PA_ARENA_LAST; length++) {
			arena->free_slots = pa_bit_range(first, length);
			assert_int_equal(pa_arena_find(arena, length), first);
			assert_int_equal(pa_arena_find(arena, 1), first);
			assert_int_equal(pa_arena_find(arena, length + 1), 0);
		}
	}
	arena->free_slots = 0;
	assert_int_equal(pa_arena_find(arena, 1), 0);
}

/* Resident slots are used first, though others come before them. */
static void test_dirty_slots_are_preferred(void **state)
{
	(void)state;

	take(40, 1);
	touch(4 * 40 + 3, 1);
	give(40, 1);
	assert_int_equal(arena->dirty_units, 1);
	assert_int_equal(pa_arena_find(arena, 1), 40);
	assert_int_equal(pa_arena_find(arena, 5), 40);
	assert_int_equal(pa_arena_find_last(arena, 1), 40);
	assert_int_equal(pa_arena_find(arena, 30), 1); /* there is no room for so many from 40 on */
	assert_int_equal(pa_arena_find_last(arena, 30), PA_ARENA_LAST - 29);
	assert_int_equal(pa_arena_find_last(arena, PA_ARENA_USABLE + 1), 0);
	purge_slot(40);
	assert_int_equal(pa_arena_find(arena, 1), 1);
	check();
}

static void test_touch_across_words(void **state)
{
	(void)state;

	take(1, PA_ARENA_USABLE);
	for (unsigned first = 4; first < 248; first += 13) {
		for (unsigned count = 1; first + count <= 248; count += 17) {
			for (unsigned slot = 1; slot <= PA_ARENA_LAST; slot += 2)
				purge_slot(slot);
			touch(first, count);
			check();
		}
	}
	give(1, PA_ARENA_USABLE);
	check();
}

static void test_random_life(void **state)
{
	struct dice dice = { 6 };
	unsigned firsts[SLOTS], counts[SLOTS], taken = 0;
	(void)state;

	for (unsigned n = 0; n < 20000; n++) {
		unsigned what = dice_below(&dice, 10), tall = n / 500 % 2 ? 4 : 6;
		if (what < tall) {
			unsigned count = 1 + dice_below(&dice, dice_below(&dice, 4) ? 4 : 16);
			unsigned first = pa_arena_find(arena, count);
			assert_int_equal(first, find_by_model(count));
			if (!first)
				continue;
			take(first, count);
			touch(4 * first, 1 + dice_below(&dice, 4 * count));
			firsts[taken] = first;
			counts[taken++] = count;
		} else if (what < 9 && taken > 0) {
			unsigned i = dice_below(&dice, taken);
			give(firsts[i], counts[i]);
			firsts[i] = firsts[--taken];
			counts[i] = counts[taken];
		} else if (what == 9) {
			unsigned slot = PA_ARENA_FIRST + dice_below(&dice, PA_ARENA_USABLE);
			if (is_free[slot])
				purge_slot(slot);
		}
		if (n % 8 == 0)
			check();
	}
}

/* The bitmap operations for each place and each count, and nothing beside it. */
static void test_bitmaps(void **state)
{
	struct dice dice = { 7 };
	(void)state;

	for (unsigned first = 0; first < UNITS; first++) {
		for (unsigned count = 1; count <= 64 && first + count <= UNITS; count++) {
			uint64_t map[PA_UNIT_WORDS], set[PA_UNIT_WORDS], clear[PA_UNIT_WORDS];
			uint64_t bits = dice_throw(&dice) & pa_bit_range(0, count), got = 0;
			for (unsigned i = 0; i < PA_UNIT_WORDS; i++)
				clear[i] = set[i] = map[i] = dice_throw(&dice);
			pa_units_set(set, first, bits);
			pa_units_clear(clear, first, bits);
			unsigned wrong = 0;
			for (unsigned unit = 0; unit < UNITS; unit++) {
				bool is_in = unit >= first && unit < first + count;
				bool bit = is_in && (bits >> (unit - first) & 1);
				if (is_in)
					got |= (uint64_t)has_bit(map, unit) << (unit - first);
				wrong += has_bit(set, unit) != (has_bit(map, unit) || bit);
				wrong += has_bit(clear, unit) != (has_bit(map, unit) && !bit);
			}
			assert_int_equal(wrong, 0);
			assert_true(pa_units_get(map, first, count) == got);
		}
	}
}

#define point(test) cmocka_unit_test_setup(test, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		point(test_new_arena),
		point(test_places),
		point(test_runs_of_every_length),
		point(test_every_hole),
		point(test_dirty_slots_are_preferred),
		point(test_touch_across_words),
		point(test_random_life),
		point(test_bitmaps),
	};

	return cmocka_run_group_tests_name("arena", tests, map_arena, NULL);
}
