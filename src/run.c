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
static void run_touch(struct pa_arena *arena, struct pa_pool *pool, unsigned from, unsigned to)
{
	unsigned first = pa_arena_first_unit(pa_arena_slot(pool));
	unsigned refaults = pa_arena_touch(arena, first + from, to - from);

	if (refaults)
		pa_reserve_refault(refaults, arena->purged_at_ms);
	pool->run_units = (uint16_t)to;
}

static void run_records(struct pa_arena *arena, unsigned first, unsigned from, unsigned to,
			uint32_t owner)
{
	for (unsigned i = from; i < to; i++) {
		arena->pools[first + i].back = (uint8_t)i;
		pa_store_relaxed(&arena->pools[first + i].owner, owner);
	}
}

void *pa_heap_allocate_run(struct pa_heap *heap, size_t bytes)
{
	bool was_busy = pa_heap_enter(heap);
	unsigned slots = slots_of(pa_max(bytes, 1)), first;
	char *start = NULL;

	if (pa_load_relaxed(&heap->remote_pools))
		pa_heap_collect_remote(heap);
	struct pa_arena *arena = pa_placement_find(heap, slots, &first);
	if (arena) {
		pa_placement_take(heap, arena, first, slots);
		struct pa_pool *pool = &arena->pools[first];
		*pool = (struct pa_pool){
			.used = 1,
			.reciprocal = pa_classes[PA_CLASS_RUN].reciprocal,
			.class_index = PA_CLASS_RUN,
			.slots = (uint8_t)slots,
			.state = PA_POOL_RUN,
			.serial = heap->serial++,
		};
		run_records(arena, first, 0, slots, heap->id);
		run_touch(arena, pool, 0, units_of(pa_max(bytes, 1)));
		start = pa_arena_pool_start(pool);
		((struct pa_block *)start)->key = 0;
	}
	pa_heap_leave(heap, was_busy);
	return start;
}

bool pa_heap_resize_run(struct pa_heap *heap, struct pa_pool *pool, size_t bytes)
{
	struct pa_arena *arena = pa_arena_of(pool);
	unsigned first = pa_arena_slot(pool);
	unsigned slots = slots_of(bytes), units = units_of(bytes), had = pool->slots;

	if (slots > had) {
		uint64_t more = pa_bit_range(first + had, slots - had);
		if (first + slots - 1 > PA_ARENA_LAST || (arena->free_slots & more) != more)
			return false;
	}
	bool was_busy = pa_heap_enter(heap);
	if (slots > had) {
		pa_placement_take(heap, arena, first + had, slots - had);
		run_records(arena, first, had, slots, heap->id);
		pool->slots = (uint8_t)slots;
	} else if (slots < had) {
		pool->slots = (uint8_t)slots;
		pa_placement_release(heap, arena, first + slots, had - slots);
	}
	if (units > pool->run_units)
		run_touch(arena, pool, pool->run_units, units);
	else
		pool->run_units = (uint16_t)units;
	if (pa_reserve_is_exceeded())
		pa_heap_relieve(heap);
	pa_heap_leave(heap, was_busy);
	return true;
}
