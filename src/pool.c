/* SPDX-License-Identifier: MIT */
/*
 * pool.c: blocks and units of one pool.  Owns nothing; the caller owns the pool.
 */
#include "pool.h"

#include "canary.h"

#define BLOCKS_MAX (PA_SLOT_BYTES / PA_ALIGN)
#define WORD_BITS 64

static uint16_t unit_range(size_t first_byte, size_t last_byte)
{
	unsigned first = (unsigned)(first_byte >> PA_UNIT_SHIFT);
	unsigned last = (unsigned)(last_byte >> PA_UNIT_SHIFT);

	return (uint16_t)pa_bit_range(first, last - first + 1);
}

static size_t lead_of(const struct pa_pool *pool)
{
	return pool->start % PA_SLOT_BYTES;
}

/* How far behind the first slot's start a block is. */
static size_t place_of_block(const struct pa_pool *pool, const struct pa_class *class, unsigned block)
{
	return lead_of(pool) + (size_t)block * class->block_bytes;
}

/* The units that a block touches. */
static uint16_t block_units(const struct pa_pool *pool, const struct pa_class *class, unsigned block)
{
	size_t first = place_of_block(pool, class, block);

	return unit_range(first, first + class->block_bytes - 1);
}

static unsigned first_block_of_unit(const struct pa_pool *pool, const struct pa_class *class,
				    unsigned unit)
{
	size_t at = (size_t)unit << PA_UNIT_SHIFT, lead = lead_of(pool);

	return at <= lead ? 0 : pa_class_block_index(class->reciprocal, (uint32_t)(at - lead));
}

static unsigned last_block_of_unit(const struct pa_pool *pool, const struct pa_class *class,
				   unsigned unit)
{
	size_t at = (size_t)(unit + 1) << PA_UNIT_SHIFT;
	unsigned last = pa_class_block_index(class->reciprocal, (uint32_t)(at - 1 - lead_of(pool)));

	return last < class->blocks ? last : class->blocks - 1u;
}

uint16_t pa_pool_units(unsigned class_index)
{
	const struct pa_class *class = &pa_classes[class_index];

	return unit_range(0, (size_t) class->blocks * class->block_bytes - 1);
}

uint16_t pa_pool_carvable(const struct pa_pool *pool)
{
	return pa_pool_absent(pool) & pa_pool_units(pool->class_index);
}

/* Its own record's place: records lie in the first page of an arena. */
static uint16_t place_of(const struct pa_pool *pool)
{
	return (uint16_t)((uintptr_t)pool & (PA_UNIT_BYTES - 1));
}

void pa_pool_init(struct pa_pool *pool, const char *start, unsigned class_index, uint32_t owner)
{
	const struct pa_class *class = &pa_classes[class_index];

	*pool = (struct pa_pool){
		.slack = -PA_NO_WATERMARK - 1,
		.watermark = PA_NO_WATERMARK,
		.reciprocal = class->reciprocal,
		.start = (uint32_t)(uintptr_t)start,
		.first = place_of(pool),
		.class_index = (uint8_t)class_index,
		.state = PA_POOL_FREE,
	};
	pa_pool_set_absent(pool, (uint16_t)pa_bit_range(0, class->slots * (unsigned)PA_SLOT_UNITS));
	pa_store_relaxed(&pool->owner, owner);
}

void pa_pool_init_run(struct pa_pool *pool, const char *start, unsigned units, uint32_t owner)
{
	*pool = (struct pa_pool){
		.reciprocal = pa_classes[PA_CLASS_RUN].reciprocal,
		.start = (uint32_t)(uintptr_t)start,
		.first = place_of(pool),
		.class_index = PA_CLASS_RUN,
		.state = PA_POOL_RUN,
		.run_units = (uint8_t)units,
	};
	pa_store_relaxed(&pool->owner, owner);
}

uint16_t pa_pool_carve_units(const struct pa_pool *pool, unsigned unit)
{
	const struct pa_class *class = pa_pool_class(pool);

	return block_units(pool, class, first_block_of_unit(pool, class, unit)) &
	       pa_pool_carvable(pool);
}

/*
 * Where blocks would begin before the first and behind the last begins what looks like a free one: nobody
 * frees it.  A unit that has no part of a block is absent for ever, which tells as much.
 */
static void mark_waste(const struct pa_pool *pool, const struct pa_class *class, char *start,
		       unsigned first, unsigned last)
{
	size_t lead = first == 0 ? lead_of(pool) : 0, end = class->slots * PA_SLOT_BYTES;
	uint16_t absent = pa_pool_absent(pool);

	for (size_t at = 0; at < lead; at += PA_ALIGN)
		((struct pa_block *)(start + at))->key = pa_pool_key(pool);
	if (last + 1u < class->blocks)
		return;
	for (size_t at = place_of_block(pool, class, class->blocks); at < end; at += class->block_bytes)
		if (!(absent >> (at >> PA_UNIT_SHIFT) & 1))
			((struct pa_block *)(start + at))->key = pa_pool_key(pool);
}

/*
 * In a hardened process: the blocks that have just been listed, and no others are, follow each other at random,
 * and hold nothing.
 */
static PA_COLD void shuffle(struct pa_pool *pool, const struct pa_class *class)
{
	char *blocks[BLOCKS_MAX];
	uint64_t random = pa_secret_random();
	unsigned count = 0;

	for (struct pa_block *block = pool->list; block; block = block->next)
		blocks[count++] = (char *)block;
	pool->list = NULL;
	for (; count > 0; count--) {
		unsigned i = pa_secret_below(random, count);
		struct pa_block *block = (struct pa_block *)blocks[i];
		blocks[i] = blocks[count - 1];
		random = pa_secret_mix(random, count);
		pa_canary_clear(block, class->block_bytes);
		pa_block_set_next(block, pool->list);
		block->key = pa_pool_key(pool);
		pool->list = block;
	}
}

void pa_pool_carve(struct pa_pool *pool, char *start, uint16_t units)
{
	const struct pa_class *class = pa_pool_class(pool);
	unsigned first = first_block_of_unit(pool, class, pa_lowest_bit(units));
	unsigned last = last_block_of_unit(pool, class, pa_highest_bit(units));
	uint16_t absent = pa_pool_absent(pool);

	PA_ASSERT((absent & units) == units, "only absent units are carved");
	absent &= (uint16_t)~units;
	pa_pool_set_absent(pool, absent);
	/* The blocks at both ends may reach into units that stay absent; those between do not. */
	if (block_units(pool, class, first) & absent)
		first++;
	if (last >= first && (block_units(pool, class, last) & absent)) {
		/* One that begins here and is not listed is free none the less, and should look so. */
		size_t place = place_of_block(pool, class, last);
		if (!(absent >> (place >> PA_UNIT_SHIFT) & 1))
			((struct pa_block *)(start + place))->key = pa_pool_key(pool);
		if (last == 0)
			return;
		last--;
	}
	if (first > last)
		return;

	uintptr_t key = pa_pool_key(pool);
	mark_waste(pool, class, start, first, last);
	char *p = start + place_of_block(pool, class, last);
	struct pa_block *next = pool->list;
	for (unsigned n = last - first + 1; n > 0; n--, p -= class->block_bytes) {
		struct pa_block *block = (struct pa_block *)p;
		block->next = next;
		block->key = key;
		next = block;
	}
	pool->list = next;
	if (pa_is_hardened())
		shuffle(pool, class);
}

static void set_bit(uint64_t *bits, unsigned i)
{
	bits[i / WORD_BITS] |= UINT64_C(1) << i % WORD_BITS;
}

static bool has_bit(const uint64_t *bits, unsigned i)
{
	return bits[i / WORD_BITS] >> i % WORD_BITS & 1;
}

static bool has_all_bits(const uint64_t *bits, unsigned first, unsigned last)
{
	while (first <= last) {
		unsigned shift = first % WORD_BITS;
		unsigned count = (unsigned)pa_min(WORD_BITS - shift, last - first + 1);
		uint64_t want = pa_bit_range(shift, count);
		if ((bits[first / WORD_BITS] & want) != want)
			return false;
		first += count;
	}
	return true;
}

static bool is_dead(const struct pa_pool *pool, const struct pa_class *class, const uint64_t *listed,
		    unsigned unit)
{
	unsigned first = first_block_of_unit(pool, class, unit);
	unsigned last = last_block_of_unit(pool, class, unit);
	uint16_t absent = pa_pool_absent(pool);

	/* By P1 and P3, a block that touches an absent unit is free. */
	if (!has_bit(listed, first) && (block_units(pool, class, first) & absent))
		first++;
	if (last >= first && !has_bit(listed, last) && (block_units(pool, class, last) & absent))
		last--;
	return has_all_bits(listed, first, last);
}

static unsigned index_of(const struct pa_pool *pool, const struct pa_class *class, const void *block)
{
	return pa_class_block_index(class->reciprocal, pa_pool_offset(pool, block));
}

/*
 * The listed blocks as bits.  To follow the list would be one cache miss after another; a look at all
 * keys, in order of address, is soon done.  A live block that happens to hold the key is found out by
 * the count, and then the list is followed after all.
 */
static void find_listed(const struct pa_pool *pool, const struct pa_class *class, const char *start,
			uint64_t *listed)
{
	uintptr_t key = pa_pool_key(pool);
	unsigned found = 0, present = 0;
	uint16_t absent = pa_pool_absent(pool);

	for (unsigned i = 0; i < class->blocks; i++) {
		if (block_units(pool, class, i) & absent)
			continue;
		const struct pa_block *block = (const void *)(start + place_of_block(pool, class, i));
		present++;
		if (block->key == key) {
			set_bit(listed, i);
			found++;
		}
	}
	if (found + (unsigned)pa_pool_used(pool) == present)
		return;
	memset(listed, 0, BLOCKS_MAX / 8);
	for (const struct pa_block *b = pool->list; b; b = pa_block_next(b))
		set_bit(listed, index_of(pool, class, b));
}

/* Make the list anew, in order of address, of the listed blocks that touch no absent unit. */
static void list_again(struct pa_pool *pool, const struct pa_class *class, char *start,
		       const uint64_t *listed)
{
	struct pa_block *last = NULL;
	uint16_t absent = pa_pool_absent(pool);

	pool->list = NULL;
	for (unsigned word = 0; word < BLOCKS_MAX / WORD_BITS; word++) {
		for (uint64_t bits = listed[word]; bits; bits &= bits - 1) {
			unsigned i = word * WORD_BITS + pa_lowest_bit(bits);
			if (block_units(pool, class, i) & absent)
				continue;
			struct pa_block *block =
				(struct pa_block *)(start + place_of_block(pool, class, i));
			if (last)
				pa_block_set_next(last, block);
			else
				pool->list = block;
			last = block;
		}
	}
	if (last)
		pa_block_set_next(last, NULL);
}

uint16_t pa_pool_take_dead(struct pa_pool *pool, char *start)
{
	const struct pa_class *class = pa_pool_class(pool);
	uint16_t absent = pa_pool_absent(pool);
	uint16_t present = pa_pool_units(pool->class_index) & (uint16_t)~absent;
	uint16_t dead = 0;

	if (pa_pool_used(pool) == 0) {
		pool->list = NULL;
		pa_pool_set_absent(pool, absent | present);
		return present;
	}

	uint64_t listed[BLOCKS_MAX / WORD_BITS] = { 0 };
	find_listed(pool, class, start, listed);
	for (uint16_t rest = present; rest; rest &= (uint16_t)(rest - 1)) {
		unsigned unit = pa_lowest_bit(rest);
		if (is_dead(pool, class, listed, unit))
			dead |= (uint16_t)(1u << unit);
	}
	if (dead) {
		pa_pool_set_absent(pool, absent | dead);
		list_again(pool, class, start, listed);
	}
	return dead;
}

/*
 * Blocks of a unit and more: a unit lies in one of them, or in two where one ends and the next begins, and is
 * dead where they are free, as free out of so many blocks are.
 */
static unsigned expect_dead_of_large(unsigned bytes, unsigned present, unsigned free, unsigned blocks)
{
	unsigned in_two = bytes % PA_UNIT_BYTES == 0 ? 0 : (unsigned)PA_UNIT_BYTES; /* of each block */
	unsigned cases = bytes * blocks * blocks;
	unsigned dead = present * free * ((bytes - in_two) * blocks + in_two * free);

	return (2 * dead + cases) / (2 * cases);
}

/*
 * Smaller ones: with n thrown at r units at random, r * (1 - 1/r)^n units are dead.  The parabola through r at
 * n = 0 and 0 at n = 2 r is close enough and needs no table.  One of more than half a unit lies in two, mostly.
 */
static unsigned expect_dead_of_small(unsigned bytes, unsigned present, unsigned used)
{
	unsigned unit = (unsigned)PA_UNIT_BYTES;
	unsigned held = bytes <= unit / 2 ? used : used + used * bytes / unit;
	unsigned rest = 2 * present - (unsigned)pa_min(held, 2 * present);

	return rest * rest / (4 * present);
}

unsigned pa_pool_expect_dead(const struct pa_pool *pool)
{
	const struct pa_class *class = pa_pool_class(pool);
	uint16_t all = pa_pool_units(pool->class_index), absent = pa_pool_absent(pool);
	unsigned present = pa_count_bits(all & (uint16_t)~absent);
	unsigned used = (unsigned)pa_pool_used(pool);

	if (present == 0)
		return 0;
	if (class->block_bytes < PA_UNIT_BYTES)
		return expect_dead_of_small(class->block_bytes, present, used);
	unsigned units = present + pa_count_bits(all & absent);
	unsigned blocks = (unsigned)pa_max(class->blocks * present / units, 1);
	return expect_dead_of_large(class->block_bytes, present,
				    blocks - (unsigned)pa_min(blocks, used), blocks);
}

bool pa_pool_has_sound_link(const struct pa_pool *pool, const struct pa_block *block)
{
	const struct pa_block *next = pa_block_next(block);
	uint32_t offset = pa_pool_offset(pool, next);

	/* It may be in any MiB that looks like the pool's by the low half of its addresses. */
	return !next || ((uintptr_t)next >> PA_ARENA_SHIFT == (uintptr_t)block >> PA_ARENA_SHIFT &&
			 pa_class_is_block_start(pool->reciprocal, offset) &&
			 index_of(pool, pa_pool_class(pool), next) < pa_pool_class(pool)->blocks);
}

static bool is_in_list(const struct pa_block *list, const struct pa_block *block)
{
	while (list && list != block)
		list = pa_block_next(list);
	return list != NULL;
}

bool pa_pool_has_freed(const struct pa_pool *pool, const struct pa_block *block)
{
	const struct pa_class *class = pa_pool_class(pool);

	/* By P1 and P3, what touches an absent unit is free and in no list. */
	if (pool->class_index < PA_CLASS_RUN &&
	    (block_units(pool, class, index_of(pool, class, block)) & pa_pool_absent(pool)))
		return true;
	/* Others may put more on the remote list meanwhile, in front of what is there. */
	return is_in_list(pool->list, block) ||
	       is_in_list(pa_load_acquire(&pool->remote), block); /* pairs with free_remote */
}

unsigned pa_pool_check(const struct pa_pool *pool)
{
	const struct pa_class *class = pa_pool_class(pool);
	uint64_t listed[BLOCKS_MAX / WORD_BITS] = { 0 };
	unsigned count = 0, unlisted = 0;
	uint16_t absent = pa_pool_absent(pool);

	for (const struct pa_block *b = pool->list; b; b = pa_block_next(b)) {
		uint32_t offset = pa_pool_offset(pool, b);
		unsigned block = index_of(pool, class, b);
		PA_ASSERT(pa_class_is_block_start(pool->reciprocal, offset),
			  "listed blocks begin where blocks begin");
		PA_ASSERT(block < class->blocks, "listed blocks lie in their pool");
		PA_ASSERT(!has_bit(listed, block), "a block is listed once");
		PA_ASSERT(!(block_units(pool, class, block) & absent), "P1: listed blocks are present");
		set_bit(listed, block);
		count++;
		(void)offset;
	}
	for (unsigned block = 0; block < class->blocks; block++)
		unlisted += (block_units(pool, class, block) & absent) != 0;
	PA_ASSERT((unsigned)pa_pool_used(pool) + count + unlisted == class->blocks,
		  "P1, P2: every block is live, listed or touches an absent unit");
	return count;
}
