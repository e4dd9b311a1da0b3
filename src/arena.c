/* SPDX-License-Identifier: MIT */
/*
 * arena.c: slots and units of one arena.  Owns nothing; the heap that owns the arena calls.
 */
#include "arena.h"

#include <string.h>

#define WORD_BITS 64u

static uint16_t place_of_record(unsigned slot)
{
	return (uint16_t)offsetof(struct pa_arena, pools[slot]);
}

static void free_record(struct pa_arena *arena, unsigned slot)
{
	struct pa_pool *pool = &arena->pools[slot];

	pa_store_relaxed(&pool->owner, 0);
	pool->reciprocal = 0; /* no address is the start of a block: see pa_heap_own_pool */
	pool->first = place_of_record(slot);
	pool->state = PA_POOL_FREE;
}

void pa_arena_init(struct pa_arena *arena, struct pa_heap *heap)
{
	uint32_t registry_index = arena->registry_index;

	memset(arena, 0, offsetof(struct pa_arena, pools));
	arena->heap = heap;
	arena->free_slots = PA_ARENA_ALL_FREE;
	arena->registry_index = registry_index;
	pa_units_set(arena->touched, 0, pa_bit_range(0, PA_SLOT_UNITS)); /* the header stays */
	for (unsigned slot = PA_ARENA_FIRST; slot <= PA_ARENA_LAST; slot++)
		free_record(arena, slot);
}

uint64_t pa_units_get(const uint64_t *bitmap, unsigned first, unsigned count)
{
	unsigned word = first / WORD_BITS, shift = first % WORD_BITS;
	uint64_t bits = bitmap[word] >> shift;

	if (shift + count > WORD_BITS)
		bits |= bitmap[word + 1] << (WORD_BITS - shift);
	return bits & pa_bit_range(0, count);
}

void pa_units_set(uint64_t *bitmap, unsigned first, uint64_t bits)
{
	unsigned word = first / WORD_BITS, shift = first % WORD_BITS;

	bitmap[word] |= bits << shift;
	if (shift && bits >> (WORD_BITS - shift))
		bitmap[word + 1] |= bits >> (WORD_BITS - shift);
}

void pa_units_clear(uint64_t *bitmap, unsigned first, uint64_t bits)
{
	unsigned word = first / WORD_BITS, shift = first % WORD_BITS;

	bitmap[word] &= ~(bits << shift);
	if (shift && bits >> (WORD_BITS - shift))
		bitmap[word + 1] &= ~(bits >> (WORD_BITS - shift));
}

/* One bit for each group of four, pressed together: the bit of a group is that of its slot. */
static uint64_t any_of_four(uint64_t w)
{
	_Static_assert(PA_SLOT_UNITS == 4, "a slot has four units");
	w |= w >> 1;
	w |= w >> 2;
	w &= UINT64_C(0x1111111111111111);
	w = (w | w >> 3) & UINT64_C(0x0303030303030303);
	w = (w | w >> 6) & UINT64_C(0x000f000f000f000f);
	w = (w | w >> 12) & UINT64_C(0x000000ff000000ff);
	return (w | w >> 24) & UINT64_C(0xffff);
}

uint64_t pa_arena_touched_slots(const struct pa_arena *arena)
{
	uint64_t slots = 0;

	for (unsigned i = 0; i < PA_UNIT_WORDS; i++)
		slots |= any_of_four(arena->touched[i]) << (i * 16);
	return slots;
}

/* The bits at which a run of count set bits begins. */
static uint64_t run_starts(uint64_t bits, unsigned count)
{
	for (unsigned known = 1; known < count;) { /* bits now begin runs of known */
		unsigned step = (unsigned)pa_min(known, count - known);
		bits &= bits >> step;
		known += step;
	}
	return bits;
}

/* The bits at which a run of count free slots begins, of those with touched units if there are any. */
static uint64_t best_starts(const struct pa_arena *arena, unsigned count)
{
	uint64_t starts = run_starts(arena->free_slots, count), dirty = 0;

	if (starts && arena->dirty_units > 0)
		dirty = starts & pa_arena_touched_slots(arena);
	return dirty ? dirty : starts;
}

unsigned pa_arena_find(const struct pa_arena *arena, unsigned count)
{
	uint64_t starts = best_starts(arena, count);

	return starts ? pa_lowest_bit(starts) : 0;
}

unsigned pa_arena_find_last(const struct pa_arena *arena, unsigned count)
{
	uint64_t starts = best_starts(arena, count);

	return starts ? pa_highest_bit(starts) : 0;
}

static unsigned touched_units(const struct pa_arena *arena, unsigned slot, unsigned count)
{
	unsigned first = pa_arena_first_unit(slot), units = count * (unsigned)PA_SLOT_UNITS;
	unsigned touched = 0;

	for (unsigned i = 0; i < units; i += WORD_BITS)
		touched += pa_count_bits(pa_units_get(arena->touched, first + i,
						      (unsigned)pa_min(units - i, WORD_BITS)));
	return touched;
}

void pa_arena_take(struct pa_arena *arena, unsigned first, unsigned count)
{
	uint64_t slots = pa_bit_range(first, count);

	PA_ASSERT((arena->free_slots & slots) == slots, "A1: only free slots are taken");
	arena->free_slots &= ~slots;
	arena->dirty_units = (uint8_t)(arena->dirty_units - touched_units(arena, first, count));
}

void pa_arena_give(struct pa_arena *arena, unsigned first, unsigned count)
{
	uint64_t slots = pa_bit_range(first, count);

	PA_ASSERT(!(arena->free_slots & slots), "A1: a slot becomes free once");
	for (unsigned slot = first; slot < first + count; slot++)
		free_record(arena, slot);
	arena->free_slots |= slots;
	arena->dirty_units = (uint8_t)(arena->dirty_units + touched_units(arena, first, count));
}

void pa_arena_extend(struct pa_arena *arena, unsigned first, unsigned from, unsigned to)
{
	for (unsigned slot = first + from; slot < first + to; slot++)
		arena->pools[slot].first = place_of_record(first);
}

struct pa_touched pa_arena_touch(struct pa_arena *arena, unsigned first, unsigned count)
{
	struct pa_touched touched = { 0 };

	while (count > 0) {
		unsigned n = (unsigned)pa_min(count, WORD_BITS);
		uint64_t all = pa_bit_range(0, n);
		uint64_t purged = pa_units_get(arena->purged, first, n);
		touched.fresh += pa_count_bits(all & ~pa_units_get(arena->touched, first, n));
		touched.refaults += pa_count_bits(purged);
		pa_units_clear(arena->purged, first, purged);
		pa_units_set(arena->touched, first, all);
		first += n;
		count -= n;
	}
	return touched;
}

unsigned pa_arena_count_dirty(const struct pa_arena *arena)
{
	unsigned dirty = 0;

	for (uint64_t slots = arena->free_slots; slots; slots &= slots - 1)
		dirty += touched_units(arena, pa_lowest_bit(slots), 1);
	return dirty;
}

void pa_arena_check(struct pa_arena *arena)
{
	unsigned dead = 0;

	PA_ASSERT((arena->free_slots & ~PA_ARENA_ALL_FREE) == 0, "only usable slots are free");
	PA_ASSERT(arena->no_reciprocal == 0, "A1: no block begins in the header");
	for (unsigned i = 0; i < PA_UNIT_WORDS; i++)
		PA_ASSERT(!(arena->touched[i] & arena->purged[i]), "A2: no unit is in both");
	for (unsigned slot = PA_ARENA_FIRST; slot <= PA_ARENA_LAST;) {
		struct pa_pool *pool = &arena->pools[slot];
		if (arena->free_slots >> slot & 1) {
			PA_ASSERT(pa_load_relaxed(&pool->owner) == 0, "A1: a free slot has no owner");
			PA_ASSERT(pool->reciprocal == 0, "A1: no block begins in a free slot");
			slot++;
			continue;
		}
		PA_ASSERT(pa_pool_slots(pool) > 0 && pool->first == place_of_record(slot),
			  "a pool begins where another ended");
		if (pool->state != PA_POOL_RUN) {
			uint16_t present =
				pa_pool_units(pool->class_index) & (uint16_t)~pa_pool_absent(pool);
			uint64_t touched = pa_units_get(arena->touched, pa_arena_first_unit(slot),
							pa_pool_slots(pool) * (unsigned)PA_SLOT_UNITS);
			PA_ASSERT((present & ~touched) == 0, "present units are touched");
			(void)present, (void)touched;
			pa_pool_check(pool);
		}
		dead += pool->dead_units;
		slot += pa_pool_slots(pool);
	}
	PA_ASSERT(pa_arena_count_dirty(arena) == arena->dirty_units,
		  "A3: dirty_units counts the touched units of free slots");
	PA_ASSERT(dead == arena->dead_units, "dead_units is the sum over the pools");
}
