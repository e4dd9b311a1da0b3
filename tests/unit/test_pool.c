/* SPDX-License-Identifier: MIT */
/*
 * test_pool.c: one pool against a model that knows for each block whether it is live.  What is not
 * present is filled with keys, as it may be found, and must not be written.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dice.h"
#include "pool.h"

#define POOL_UNITS 16u
#define BLOCKS_MAX (PA_SLOT_BYTES / PA_ALIGN)
#define FEW_BLOCKS 9 /* of which every pattern is tried */

#define POOL_BYTES (POOL_UNITS * PA_UNIT_BYTES)

/* A pool may begin at any slot: its units' addresses then begin anywhere, modulo the most that a pool has. */
static _Alignas(POOL_BYTES) char room[2 * POOL_BYTES];
static char *memory = room;
static struct pa_pool pool;
static bool live[BLOCKS_MAX];
static size_t lead;
static unsigned begun;

static const struct pa_class *class_of_pool(void)
{
	return &pa_classes[pool.class_index];
}

static struct pa_block *block_at(unsigned i)
{
	return (struct pa_block *)(memory + lead + (size_t)i * class_of_pool()->block_bytes);
}

static unsigned index_of(const struct pa_block *block)
{
	return (unsigned)(((size_t)((const char *)block - memory) - lead) /
			  class_of_pool()->block_bytes);
}

static bool touches(unsigned block, unsigned unit)
{
	size_t bytes = class_of_pool()->block_bytes, first = lead + block * bytes;

	return first < (unit + 1) * PA_UNIT_BYTES && unit * PA_UNIT_BYTES < first + bytes;
}

static bool is_absent(unsigned unit)
{
	bool is = pa_pool_absent(&pool) >> unit & 1;

	assert_int_equal(pa_pool_is_absent(&pool, memory + unit * PA_UNIT_BYTES), is);
	assert_int_equal(pa_pool_is_absent(&pool, memory + (unit + 1) * PA_UNIT_BYTES - 1), is);
	return is;
}

/* Units behind the last block are absent for ever. */
static bool is_carvable(unsigned unit)
{
	return is_absent(unit) && pa_pool_units(pool.class_index) >> unit & 1;
}

static bool touches_absent(unsigned block)
{
	size_t bytes = class_of_pool()->block_bytes, first = lead + block * bytes;

	for (size_t unit = first / PA_UNIT_BYTES; unit <= (first + bytes - 1) / PA_UNIT_BYTES; unit++)
		if (is_absent((unsigned)unit))
			return true;
	return false;
}

/* Units that some block touches. */
static uint16_t all_units(void)
{
	uint16_t units = 0;

	for (unsigned unit = 0; unit < POOL_UNITS; unit++)
		for (unsigned i = 0; i < class_of_pool()->blocks; i++)
			if (touches(i, unit))
				units |= (uint16_t)(1u << unit);
	return units;
}

static void fill_with_keys(uint16_t units)
{
	uintptr_t key = pa_pool_key(&pool);

	for (; units; units &= (uint16_t)(units - 1))
		for (size_t at = 0; at < PA_UNIT_BYTES; at += sizeof key)
			memcpy(memory + pa_lowest_bit(units) * PA_UNIT_BYTES + at, &key, sizeof key);
}

static bool is_filled_with_keys(unsigned unit)
{
	uintptr_t key = pa_pool_key(&pool);

	return memcmp(memory + unit * PA_UNIT_BYTES, &key, sizeof key) == 0 &&
	       memcmp(memory + unit * PA_UNIT_BYTES, memory + unit * PA_UNIT_BYTES + sizeof key,
		      PA_UNIT_BYTES - sizeof key) == 0;
}

static void begin(unsigned class_index)
{
	memset(live, 0, sizeof live);
	memory = room + begun / 2 % 4 * PA_SLOT_BYTES;
	lead = begun++ % 2 ? pa_class_lead(class_index) : 0; /* as in either kind of heap */
	pa_pool_init(&pool, memory + lead, class_index, 7);
	fill_with_keys(pa_pool_absent(&pool));
}

static unsigned unit_of(unsigned block)
{
	return (unsigned)((lead + block * class_of_pool()->block_bytes) / PA_UNIT_BYTES);
}

/* Whether a block, or what would be one behind the last, begins within the pool. */
static bool begins(unsigned block)
{
	return lead + (size_t)block * class_of_pool()->block_bytes <
	       class_of_pool()->slots * PA_SLOT_BYTES;
}

/* P1 to P3, by the model. */
static void check(void)
{
	bool listed[BLOCKS_MAX] = { false };
	unsigned listed_count = 0, live_count = 0;

	for (const struct pa_block *b = pool.list; b; b = b->next) {
		unsigned i = index_of(b);
		assert_true(i < class_of_pool()->blocks);
		assert_ptr_equal(b, block_at(i));
		assert_false(listed[i]);
		assert_int_equal(b->key, pa_pool_key(&pool));
		listed[i] = true;
		listed_count++;
	}
	for (unsigned i = 0; i < class_of_pool()->blocks; i++) {
		live_count += live[i];
		assert_int_equal(listed[i], !live[i] && !touches_absent(i));
		/* What is free looks so, though it may not be listed; so does what is left at the end. */
		if (!live[i] && !is_absent(unit_of(i)))
			assert_int_equal(block_at(i)->key, pa_pool_key(&pool));
	}
	for (unsigned i = class_of_pool()->blocks; begins(i) && !is_absent(unit_of(i)); i++)
		assert_int_equal(block_at(i)->key, pa_pool_key(&pool));
	assert_int_equal(pa_pool_used(&pool), live_count);
	assert_int_equal(pa_pool_check(&pool), listed_count);
}

static void check_absent_are_untouched(void)
{
	for (unsigned unit = 0; unit < POOL_UNITS; unit++)
		if (is_absent(unit))
			assert_true(is_filled_with_keys(unit));
}

static void set_used(int used)
{
	pool.slack = (int16_t)(used - pool.watermark - 1);
}

static unsigned take_first(void)
{
	struct pa_block *block = pool.list;
	unsigned i = index_of(block);

	pool.list = block->next;
	pool.slack++;
	live[i] = true;
	memset(block, (int)(i & 0x7f), class_of_pool()->block_bytes);
	return i;
}

static void check_contents(unsigned i)
{
	const char *block = (const char *)block_at(i);

	assert_int_equal(block[0], i & 0x7f);
	assert_memory_equal(block, block + 1, class_of_pool()->block_bytes - 1);
}

static void put_back(unsigned i)
{
	struct pa_block *block = block_at(i);

	block->next = pool.list;
	block->key = pa_pool_key(&pool);
	pool.list = block;
	pool.slack--;
	live[i] = false;
}

/* Carve what the unit needs; at least one block more is listed then. */
static void carve(unsigned unit)
{
	uint16_t before = pa_pool_absent(&pool), units = pa_pool_carve_units(&pool, unit);
	const struct pa_block *first = pool.list;

	assert_true(units >> unit & 1);
	assert_int_equal(units & ~before, 0);
	for (unsigned u = 0; u < POOL_UNITS; u++) /* as the kernel does */
		if (units >> u & 1)
			memset(memory + u * PA_UNIT_BYTES, 0, PA_UNIT_BYTES);
	pa_pool_carve(&pool, memory, units);
	assert_int_equal(pa_pool_absent(&pool), before & ~units);
	assert_non_null(pool.list);
	assert_ptr_not_equal(pool.list, first);
}

static void carve_all(void)
{
	while (pa_pool_carvable(&pool))
		carve(pa_lowest_bit(pa_pool_carvable(&pool)));
}

static uint16_t dead_by_model(void)
{
	uint16_t dead = 0;

	for (unsigned unit = 0; unit < POOL_UNITS; unit++) {
		bool is_dead = !is_absent(unit) && (all_units() >> unit & 1);
		for (unsigned i = 0; i < class_of_pool()->blocks && is_dead; i++)
			is_dead = !(live[i] && touches(i, unit));
		dead |= (uint16_t)((unsigned)is_dead << unit);
	}
	return dead;
}

static void take_dead(void)
{
	uint16_t expected = dead_by_model(), before = pa_pool_absent(&pool);

	assert_int_equal(pa_pool_take_dead(&pool, memory), expected);
	assert_int_equal(pa_pool_absent(&pool), before | expected);
	fill_with_keys(expected);
}

static void test_new_pools(void **state)
{
	(void)state;

	for (unsigned c = 0; c < PA_CLASSES; c++) {
		begin(c);
		assert_int_equal(pa_pool_absent(&pool), pa_bit_range(0, 4u * pa_classes[c].slots));
		assert_int_equal(pa_pool_units(c), all_units());
		assert_int_equal(pa_pool_carvable(&pool), all_units());
		assert_int_equal(pa_pool_slots(&pool), pa_classes[c].slots);
		assert_int_equal(pool.class_index, c);
		assert_int_equal(pool.reciprocal, pa_classes[c].reciprocal);
		assert_int_equal(pool.owner, 7);
		assert_true(pool.watermark < 0);
		assert_null(pool.list);
		check();
	}
}

static void test_keys_differ(void **state)
{
	static struct pa_pool other;
	(void)state;

	for (unsigned c = 0; c < PA_CLASSES; c++) {
		begin(c);
		pa_pool_init(&other, memory + PA_SLOT_BYTES, c, 7);
		assert_true(pa_pool_key(&pool) != pa_pool_key(&other));
		for (unsigned d = 1; d < PA_CLASSES; d++) { /* class 0 has the blocks of class 1 */
			pa_pool_init(&other, memory + lead, d, 7);
			assert_true(d == c || c == 0 || pa_pool_key(&pool) != pa_pool_key(&other));
		}
	}
}

static void test_carve_in_order(void **state)
{
	(void)state;

	for (unsigned c = 0; c < PA_CLASSES; c++) {
		begin(c);
		while (pa_pool_carvable(&pool)) {
			carve(pa_lowest_bit(pa_pool_carvable(&pool)));
			check();
			check_absent_are_untouched();
		}
		assert_int_equal(pa_pool_check(&pool), pa_classes[c].blocks);
	}
}

/* As the heap does: the first block of the unit is enough to make it useful. */
static void test_carve_lists_few_units(void **state)
{
	(void)state;

	for (unsigned c = 0; c < PA_CLASSES; c++) {
		begin(c);
		for (unsigned unit = 0; unit < POOL_UNITS; unit++)
			if (all_units() >> unit & 1)
				assert_true(pa_count_bits(pa_pool_carve_units(&pool, unit)) <=
					    1 + (pa_classes[c].block_bytes + 15) / PA_UNIT_BYTES + 1);
	}
}

static void test_carve_in_any_order(void **state)
{
	struct dice dice = { 1 };
	(void)state;

	for (unsigned c = 0; c < PA_CLASSES; c++) {
		for (unsigned round = 0; round < 8; round++) {
			begin(c);
			while (pa_pool_carvable(&pool)) {
				unsigned unit = dice_below(&dice, POOL_UNITS);
				if (!is_carvable(unit))
					continue;
				carve(unit);
				check();
				check_absent_are_untouched();
				while (pool.list && dice_below(&dice, 3))
					take_first();
			}
		}
	}
}

static void make_pattern(uint64_t pattern)
{
	carve_all();
	while (pool.list)
		take_first();
	for (unsigned i = 0; i < class_of_pool()->blocks; i++)
		if (!(pattern >> i % 64 & 1))
			put_back(i);
}

static void carve_as_it_is(void)
{
	uint16_t units = pa_pool_carvable(&pool);

	for (; units; units = pa_pool_carvable(&pool))
		pa_pool_carve(&pool, memory, pa_pool_carve_units(&pool, pa_lowest_bit(units)));
}

/* A program may copy what it never wrote: what one pool leaves must not be a key in the next. */
static void test_remains_are_no_keys(void **state)
{
	(void)state;

	for (unsigned d = 2; d < PA_CLASSES; d++) {
		begin(1);
		carve_as_it_is();
		uintptr_t left = pa_pool_key(&pool);
		pa_pool_init(&pool, memory + lead, d, 7);
		carve_as_it_is();
		size_t keys = 0;
		for (size_t at = 0; at < PA_SLOT_BYTES; at += sizeof left)
			keys += *(uintptr_t *)(memory + at) == pa_pool_key(&pool);
		/* One for each block that begins there, and for what is before and behind them. */
		assert_in_range(keys, 1,
				PA_SLOT_BYTES / class_of_pool()->block_bytes + lead / PA_ALIGN + 1);
		assert_true(left != pa_pool_key(&pool));
	}
}

/* What has been freed is in the list, or on that of others; a key alone proves nothing. */
static void test_freed_for_certain(void **state)
{
	(void)state;

	begin(pa_class_of(1024));
	make_pattern(0x7);
	for (unsigned i = 0; i < class_of_pool()->blocks; i++)
		assert_int_equal(pa_pool_has_freed(&pool, block_at(i)), !live[i]);
	block_at(1)->next = block_at(2);
	block_at(2)->next = NULL;
	pool.remote = block_at(1);
	assert_false(pa_pool_has_freed(&pool, block_at(0)));
	assert_true(pa_pool_has_freed(&pool, block_at(1)));
	assert_true(pa_pool_has_freed(&pool, block_at(2)));
	/* What reaches into an absent unit is free and in no list. */
	begin(pa_class_of(3072));
	carve(0);
	assert_false(is_absent(0));
	assert_true(touches_absent(1));
	assert_true(pa_pool_has_freed(&pool, block_at(1)));
}

/* Every set of live blocks, for the classes that have few; then again after what was purged came back. */
static void test_dead_units_of_every_pattern(void **state)
{
	unsigned classes = 0;
	(void)state;

	for (unsigned c = 0; c < PA_CLASSES; c++) {
		if (pa_classes[c].blocks > FEW_BLOCKS)
			continue;
		classes++;
		for (uint64_t pattern = 0; pattern < UINT64_C(1) << pa_classes[c].blocks; pattern++) {
			begin(c);
			make_pattern(pattern);
			take_dead();
			check();
			for (unsigned i = 0; i < class_of_pool()->blocks; i++)
				if (live[i])
					check_contents(i);
		}
	}
	assert_true(classes >= 30);
}

static unsigned some_live(struct dice *dice)
{
	unsigned i = dice_below(dice, class_of_pool()->blocks);

	while (!live[i])
		i = (i + 1) % class_of_pool()->blocks;
	return i;
}

static void step(struct dice *dice, unsigned likely_free)
{
	unsigned what = dice_below(dice, 100);

	if (what < 4) {
		take_dead();
	} else if (what < 12) {
		unsigned unit = dice_below(dice, POOL_UNITS);
		if (is_carvable(unit))
			carve(unit);
	} else if (what < likely_free && pa_pool_used(&pool) > 0) {
		unsigned i = some_live(dice);
		check_contents(i);
		put_back(i);
	} else if (pool.list) {
		take_first();
	}
}

static void test_random_lives(void **state)
{
	struct dice dice = { 2 };
	(void)state;

	for (unsigned c = 0; c < PA_CLASSES; c++) {
		unsigned steps = pa_classes[c].blocks < 100 ? 200 : 1000;
		begin(c);
		for (unsigned n = 0; n < steps; n++) {
			step(&dice, n / 100 % 2 ? 80 : 40);
			if (n % 16 == 0) {
				check();
				check_absent_are_untouched();
			}
		}
		while (pa_pool_used(&pool) > 0)
			put_back(some_live(&dice));
		take_dead();
		assert_int_equal(pa_pool_carvable(&pool), all_units());
		assert_null(pool.list);
		check();
	}
}

/* A live block in every second unit, wherever in it: just the other units are dead. */
static void test_one_live_block_holds_its_units(void **state)
{
	struct dice dice = { 3 };
	(void)state;

	for (unsigned c = 0; c < PA_CLASSES; c++) {
		for (unsigned round = 0; round < 20; round++) {
			begin(c);
			make_pattern(0);
			unsigned block = dice_below(&dice, class_of_pool()->blocks);
			while (!live[block])
				take_first();
			for (unsigned i = 0; i < class_of_pool()->blocks; i++)
				if (live[i] && i != block)
					put_back(i);
			uint16_t held = 0;
			for (unsigned unit = 0; unit < POOL_UNITS; unit++)
				held |= (uint16_t)((unsigned)touches(block, unit) << unit);
			assert_int_equal(pa_pool_take_dead(&pool, memory), all_units() & ~held);
			check();
			check_contents(block);
		}
	}
}

/* Anything may be in a live block, also the pool's key. */
static void test_live_blocks_that_hold_the_key(void **state)
{
	struct dice dice = { 4 };
	(void)state;

	for (unsigned c = 0; c < PA_CLASSES; c++) {
		for (unsigned round = 0; round < 4; round++) {
			begin(c);
			make_pattern(dice_throw(&dice) & dice_throw(&dice));
			for (unsigned i = 0; i < class_of_pool()->blocks; i++)
				if (live[i] && (round == 0 || dice_below(&dice, 2)))
					block_at(i)->key = pa_pool_key(&pool);
			take_dead();
			check();
		}
	}
}

/* What others have freed is live until it is collected: it has the key, but is not listed. */
static void test_remote_blocks_are_live(void **state)
{
	(void)state;

	begin(pa_class_of(1024));
	make_pattern(0x8000000000000001);
	for (unsigned i = 0; i < class_of_pool()->blocks; i++) {
		if (!live[i])
			continue;
		block_at(i)->key = pa_pool_key(&pool);
		block_at(i)->next = NULL;
	}
	take_dead();
	assert_false(is_absent(0));
	check();
}

/* An estimate, but right at both ends, and never more for more live blocks. */
static void test_expected_dead_units(void **state)
{
	(void)state;

	for (unsigned c = 0; c < PA_CLASSES; c++) {
		begin(c);
		assert_int_equal(pa_pool_expect_dead(&pool), 0); /* nothing is present */
		carve_all();
		unsigned last = pa_count_bits(all_units());
		assert_int_equal(pa_pool_expect_dead(&pool), last);
		for (unsigned used = 0; used <= class_of_pool()->blocks; used++) {
			set_used((int)used);
			unsigned expected = pa_pool_expect_dead(&pool);
			assert_true(expected <= last);
			last = expected;
		}
		assert_true(last <= pa_count_bits(all_units()) / 4);
	}
}

/* So many live blocks at random places. */
static void scatter(struct dice *dice, unsigned used)
{
	unsigned left = class_of_pool()->blocks;

	for (unsigned i = 0; i < class_of_pool()->blocks; i++, left--) {
		live[i] = dice_below(dice, left) < used;
		used -= live[i];
	}
}

/* Of large blocks, the estimate is no further from the mean of many pools than two units. */
static void test_expected_dead_units_of_large_blocks(void **state)
{
	struct dice dice = { 31 };
	(void)state;

	for (unsigned c = pa_class_of(2048); c < PA_CLASSES; c += 3) {
		begin(c);
		carve_all();
		for (unsigned used = 0; used <= class_of_pool()->blocks; used++) {
			enum { TRIES = 32 };
			int sum = 0;
			for (unsigned n = 0; n < TRIES; n++) {
				scatter(&dice, used);
				sum += (int)pa_count_bits(dead_by_model());
			}
			set_used((int)used);
			int expected = TRIES * (int)pa_pool_expect_dead(&pool);
			assert_in_range(sum - expected + 2 * TRIES, 0, 4 * TRIES);
		}
	}
}

/* A pool of which every unit can be seen to be dead is never thought to have no dead ones. */
static void test_one_live_block_leaves_units_to_expect(void **state)
{
	(void)state;

	for (unsigned c = 0; c < PA_CLASSES; c++) {
		begin(c);
		carve_all();
		set_used(1);
		assert_true(pa_pool_expect_dead(&pool) > 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new_pools),
		cmocka_unit_test(test_keys_differ),
		cmocka_unit_test(test_freed_for_certain),
		cmocka_unit_test(test_remains_are_no_keys),
		cmocka_unit_test(test_carve_in_order),
		cmocka_unit_test(test_carve_lists_few_units),
		cmocka_unit_test(test_carve_in_any_order),
		cmocka_unit_test(test_dead_units_of_every_pattern),
		cmocka_unit_test(test_random_lives),
		cmocka_unit_test(test_one_live_block_holds_its_units),
		cmocka_unit_test(test_live_blocks_that_hold_the_key),
		cmocka_unit_test(test_remote_blocks_are_live),
		cmocka_unit_test(test_expected_dead_units),
		cmocka_unit_test(test_expected_dead_units_of_large_blocks),
		cmocka_unit_test(test_one_live_block_leaves_units_to_expect),
	};

	return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
