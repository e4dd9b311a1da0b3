/* SPDX-License-Identifier: MIT */
/*
 * sweep.c: give back the free slots of one arena and the dead units of its pools, in address order,
 * joined to maximal runs.  The heap's owner calls, through relieve.c and registry.c.
 */
#include "heap.h"
#include "os.h"
#include "placement.h"
#include "reserve.h"

struct unit_set {
	uint64_t words[PA_UNIT_WORDS];
};

static bool has_unit(const struct unit_set *set, unsigned unit)
{
	return set->words[unit / 64] >> unit % 64 & 1;
}

/* The touched units of all free slots. */
static void add_free_slots(const struct pa_arena *arena, struct unit_set *give)
{
	uint64_t all = pa_bit_range(0, PA_SLOT_UNITS);

	for (uint64_t slots = arena->free_slots; slots; slots &= slots - 1)
		pa_units_set(give->words, pa_arena_first_unit(pa_lowest_bit(slots)), all);
	for (unsigned i = 0; i < PA_UNIT_WORDS; i++)
		give->words[i] &= arena->touched[i];
}

/*
 * The dead units of one pool; what is free in them leaves the pool's list.  A current pool that is
 * empty altogether is let go; false if the arena has gone with it.
 */
static bool add_pool(struct pa_heap *heap, struct pa_pool *pool, bool is_all, struct unit_set *give)
{
	struct pa_arena *arena = pa_arena_of(pool);
	unsigned slot = pa_arena_slot(pool), first = pa_arena_first_unit(slot);

	if (pool->state == PA_POOL_CURRENT && pa_pool_used(pool) == 0) {
		bool is_last = (arena->free_slots | pa_bit_range(slot, pa_pool_slots(pool))) ==
			       PA_ARENA_ALL_FREE;
		pa_heap_free_current(heap, pool);
		return !is_last;
	}
	bool is_worth_it = is_all ? pool->list != NULL : pool->dead_units > 0;
	uint16_t dead = is_worth_it ? pa_pool_take_dead(pool, pa_arena_slot_start(arena, slot)) : 0;
	dead |= (uint16_t)(pa_units_get(arena->touched, first,
					pa_pool_slots(pool) * (unsigned)PA_SLOT_UNITS) &
			   pa_pool_absent(pool));
	pa_units_set(give->words, first, dead);
	pa_heap_set_dead_units(heap, pool, 0);
	if (dead && pool->state != PA_POOL_CURRENT)
		pa_heap_place_pool(heap, pool);
	return true;
}

/*
 * Find the next run from unit on: units to give, joined across units that are not resident anyway,
 * in whole pages of the kernel.  Returns the unit behind it; *first == that when there is none left.
 */
static unsigned next_run(const struct pa_arena *arena, const struct unit_set *give, unsigned unit,
			 unsigned *first)
{
	unsigned page = (unsigned)(pa_os_page_bytes() >> PA_UNIT_SHIFT), last = 0;

	if (page == 0)
		page = 1;
	*first = PA_ARENA_UNITS;
	for (; unit < PA_ARENA_UNITS; unit += page) {
		bool is_idle = true, is_wanted = false;
		for (unsigned u = unit; u < unit + page; u++) {
			bool is_given = has_unit(give, u);
			is_wanted |= is_given;
			is_idle &= is_given || !(arena->touched[u / 64] >> u % 64 & 1);
		}
		if (!is_idle && *first != PA_ARENA_UNITS)
			break;
		if (is_idle && is_wanted) {
			if (*first == PA_ARENA_UNITS)
				*first = unit;
			last = unit + page;
		}
	}
	return *first == PA_ARENA_UNITS ? PA_ARENA_UNITS : last;
}

static unsigned purge(struct pa_arena *arena, const struct unit_set *give, bool is_for_peak)
{
	struct pa_run runs[PA_ARENA_UNITS / 2];
	unsigned count = 0, units = 0, first, end;
	uint64_t calls = 0;

	for (unsigned unit = 0; unit < PA_ARENA_UNITS; unit = end) {
		end = next_run(arena, give, unit, &first);
		if (first == end)
			break;
		runs[count].start = (char *)arena + ((size_t)first << PA_UNIT_SHIFT);
		runs[count].bytes = (size_t)(end - first) << PA_UNIT_SHIFT;
		count++;
	}
	if (count == 0)
		return 0;
	arena->purged_mark = pa_reserve_mark();
	uint64_t began_ns = pa_os_clock_ns();
	bool is_refused = pa_os_purge(runs, count, &calls) == 0;
	uint64_t took_ns = pa_os_clock_ns() - began_ns;
	pa_store_relaxed(&pa_reserve.refused_ns, is_refused ? began_ns : 0);
	if (is_refused)
		return 0; /* locked in memory, say: all of it stays dirty */
	for (unsigned i = 0; i < count; i++) {
		unsigned unit = (unsigned)(((char *)runs[i].start - (char *)arena) >> PA_UNIT_SHIFT);
		for (unsigned left = (unsigned)(runs[i].bytes >> PA_UNIT_SHIFT); left > 0;) {
			unsigned n = (unsigned)pa_min(left, 64);
			uint64_t given = pa_units_get(arena->touched, unit, n);
			units += pa_count_bits(given);
			pa_units_clear(arena->touched, unit, given);
			pa_units_set(arena->purged, unit, given);
			unit += n;
			left -= n;
		}
	}
	pa_reserve_measured(&pa_reserve.purge_ns, units, took_ns);
	pa_reserve_purged(units, calls, is_for_peak);
	return units;
}

/* The dead units of all pools; false if the arena has gone with the last of them. */
static bool add_pools(struct pa_heap *heap, struct pa_arena *arena, bool is_all, struct unit_set *give)
{
	for (struct pa_pool *pool = pa_arena_first_pool(arena), *next; pool; pool = next) {
		next = pa_arena_next_pool(pool);
		bool can_hold_dead =
			pool->state != PA_POOL_RUN && (is_all || pool->state != PA_POOL_FULL);
		if (can_hold_dead && !add_pool(heap, pool, is_all, give))
			return false;
	}
	return true;
}

unsigned pa_heap_sweep_arena(struct pa_heap *heap, struct pa_arena *arena, enum pa_sweep_depth depth,
			     enum pa_reserve_goal goal)
{
	struct unit_set give = { { 0 } };
	int dead = depth == PA_SWEEP_SLOTS ? 0 : arena->dead_units;
	bool is_for_peak = pa_reserve_is_for_peak(goal);

	heap->resident_change -= dead; /* no more dead and not yet gone, it would look live */
	if (depth != PA_SWEEP_SLOTS && !add_pools(heap, arena, depth == PA_SWEEP_ALL, &give)) {
		heap->resident_change += dead;
		return 0;
	}
	add_free_slots(arena, &give);

	int before = arena->dirty_units;
	unsigned units = purge(arena, &give, is_for_peak);
	arena->dirty_units = (uint8_t)pa_arena_count_dirty(arena);
	heap->sweeps++;
	heap->resident_change += dead - (int)units;
	pa_placement_account(heap, arena, arena->dirty_units - before);
	pa_placement_dequeue(heap, arena);
	if (arena->dead_units > 0)
		pa_placement_enqueue(heap, arena);
	return units;
}
