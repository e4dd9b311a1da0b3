/* SPDX-License-Identifier: MIT */
/*
 * run.c: medium objects: runs of slots, each with one block.  The heap's owner calls; see heap.h.
 */
#include "heap.h"
#include "placement.h"

static unsigned slots_of(size_t bytes)
{
	return (unsigned)((bytes + PA_SLOT_BYTES - 1) >> PA_SLOT_SHIFT);
}

static unsigned units_of(size_t bytes)
{
	return (unsigned)((bytes + PA_UNIT_BYTES - 1) >> PA_UNIT_SHIFT);
}

/* Units from a run's unit from on are its own now. */
static void run_touch(struct pa_heap *heap, struct pa_pool *pool, unsigned from, unsigned to)
{
	unsigned first = pa_arena_first_unit(pa_arena_slot(pool));

	pa_placement_touch(heap, pa_arena_of(pool), first + from, to - from);
}

/*
 * What is likely to grow is put where it can: in front of as many free slots again, if the heap has them, those
 * that are resident preferred.  And into the last such place, for what comes next takes the first.
 */
static struct pa_arena *find_room_to_grow(struct pa_heap *heap, unsigned slots, unsigned *first)
{
	unsigned wanted = (unsigned)pa_min(2 * slots, PA_MEDIUM_MAX >> PA_SLOT_SHIFT);
	struct pa_arena *arena = pa_placement_find_own(heap, wanted, first);

	if (!arena)
		arena = pa_placement_find(heap, slots, first);
	unsigned last = arena ? pa_arena_find_last(arena, wanted) : 0;
	if (last)
		*first = last;
	return arena;
}

void *pa_heap_allocate_run(struct pa_heap *heap, size_t bytes, bool is_growing)
{
	bool was_busy = pa_heap_enter(heap);
	unsigned slots = slots_of(pa_max(bytes, 1)), first;
	char *start = NULL;

	if (pa_load_relaxed(&heap->remote_pools))
		pa_heap_collect_remote(heap);
	struct pa_arena *arena = is_growing ? find_room_to_grow(heap, slots, &first)
					    : pa_placement_find(heap, slots, &first);
	if (arena) {
		pa_placement_take(heap, arena, first, slots);
		struct pa_pool *pool = &arena->pools[first];
		unsigned units = units_of(pa_max(bytes, 1));
		start = pa_arena_slot_start(arena, first);
		pa_pool_init_run(pool, start, units, pa_heap_tag(heap));
		pa_arena_extend(arena, first, 1, slots);
		run_touch(heap, pool, 0, units);
		((struct pa_block *)start)->key = 0;
	}
	if (!was_busy && pa_reserve_is_exceeded())
		pa_heap_relieve(heap);
	pa_heap_leave(heap, was_busy);
	return start;
}

bool pa_heap_resize_run(struct pa_heap *heap, struct pa_pool *pool, size_t bytes)
{
	struct pa_arena *arena = pa_arena_of(pool);
	unsigned first = pa_arena_slot(pool);
	unsigned slots = slots_of(bytes), units = units_of(bytes), had = pa_pool_slots(pool);

	if (slots > had) {
		uint64_t more = pa_bit_range(first + had, slots - had);
		if (first + slots - 1 > PA_ARENA_LAST || (arena->free_slots & more) != more)
			return false;
	}
	bool was_busy = pa_heap_enter(heap);
	if (slots > had) {
		pa_placement_take(heap, arena, first + had, slots - had);
		pa_arena_extend(arena, first, had, slots);
	} else if (slots < had) {
		pa_placement_release(heap, arena, first + slots, had - slots);
	}
	if (units > pool->run_units)
		run_touch(heap, pool, pool->run_units, units);
	pool->run_units = (uint8_t)units;
	if (pa_reserve_is_exceeded())
		pa_heap_relieve(heap);
	pa_heap_leave(heap, was_busy);
	return true;
}
