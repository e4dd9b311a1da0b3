/* SPDX-License-Identifier: MIT */
/*
 * placement.c: see placement.h.
 */
#include "placement.h"

#include "manager.h"
#include "reserve.h"

#define ACCOUNT_BATCH 16 /* units more or less before the reserve is told */
#define FIT_TRIES 4      /* arenas of one fullness that are searched for a run of slots */

static void arena_unlink(struct pa_heap *heap, struct pa_arena *arena)
{
	unsigned n = pa_arena_free_count(arena);

	if (arena->previous)
		arena->previous->next = arena->next;
	else
		heap->arenas[n] = arena->next;
	if (arena->next)
		arena->next->previous = arena->previous;
	if (!heap->arenas[n])
		heap->arena_mask &= ~(UINT64_C(1) << n);
}

static void arena_link(struct pa_heap *heap, struct pa_arena *arena)
{
	unsigned n = pa_arena_free_count(arena);

	arena->previous = NULL;
	arena->next = heap->arenas[n];
	if (arena->next)
		arena->next->previous = arena;
	heap->arenas[n] = arena;
	heap->arena_mask |= UINT64_C(1) << n;
}

/* Another arena may have its place by now. */
static void forget(struct pa_heap *heap, struct pa_arena *arena)
{
	const struct pa_arena **known = pa_heap_known(heap, arena);

	if (*known == arena)
		*known = PA_NO_ARENA;
}

void pa_placement_dequeue(struct pa_heap *heap, struct pa_arena *arena)
{
	if (!arena->is_queued)
		return;
	if (arena->queue_previous)
		arena->queue_previous->queue_next = arena->queue_next;
	else
		heap->queue_first = arena->queue_next;
	if (arena->queue_next)
		arena->queue_next->queue_previous = arena->queue_previous;
	else
		heap->queue_last = arena->queue_previous;
	arena->is_queued = false;
}

void pa_placement_enqueue(struct pa_heap *heap, struct pa_arena *arena)
{
	if (arena->is_queued)
		return;
	arena->queue_previous = heap->queue_last;
	arena->queue_next = NULL;
	if (heap->queue_last)
		heap->queue_last->queue_next = arena;
	else
		heap->queue_first = arena;
	heap->queue_last = arena;
	arena->is_queued = true;
}

void pa_placement_flush(struct pa_heap *heap)
{
	pa_reserve_add((struct pa_reserve_change){ .resident = heap->resident_change,
						   .dirty = heap->dirty_change });
	heap->resident_change = 0;
	heap->dirty_change = 0;
}

static bool is_worth_telling(int64_t change)
{
	return change >= ACCOUNT_BATCH || change <= -ACCOUNT_BATCH;
}

void pa_placement_touch(struct pa_heap *heap, struct pa_arena *arena, unsigned first, unsigned count)
{
	struct pa_touched touched = pa_arena_touch(arena, first, count);

	if (touched.refaults > 0)
		pa_reserve_refault(touched.refaults, arena->purged_mark);
	heap->resident_change += touched.fresh;
	if (is_worth_telling(heap->resident_change)) {
		pa_placement_flush(heap);
		pa_reserve_tick();
	}
}

void pa_placement_account(struct pa_heap *heap, struct pa_arena *arena, int change)
{
	if (arena->dirty_units + arena->dead_units > 0) {
		pa_placement_enqueue(heap, arena);
	} else {
		pa_placement_dequeue(heap, arena);
	}
	heap->dirty_units += change;
	heap->dirty_change += change;
	if (is_worth_telling(heap->dirty_change)) {
		pa_placement_flush(heap);
		pa_reserve_tick();
	}
}

void pa_placement_take(struct pa_heap *heap, struct pa_arena *arena, unsigned first, unsigned count)
{
	int before = arena->dirty_units;

	arena_unlink(heap, arena);
	pa_arena_take(arena, first, count);
	arena_link(heap, arena);
	pa_placement_account(heap, arena, arena->dirty_units - before);
}

void pa_placement_release(struct pa_heap *heap, struct pa_arena *arena, unsigned first, unsigned count)
{
	int before = arena->dirty_units;

	arena_unlink(heap, arena);
	pa_arena_give(arena, first, count);
	if (arena->free_slots != PA_ARENA_ALL_FREE) {
		arena_link(heap, arena);
		pa_placement_account(heap, arena, arena->dirty_units - before);
		return;
	}
	pa_placement_dequeue(heap, arena);
	forget(heap, arena);
	heap->arenas_more--;
	heap->dirty_units -= before;
	heap->dirty_change += arena->dirty_units - before;
	pa_placement_flush(heap);
	pa_reserve_tick();
	pa_manager_give(arena);
}

struct pa_arena *pa_placement_find_own(struct pa_heap *heap, unsigned count, unsigned *first)
{
	for (uint64_t mask = heap->arena_mask >> count << count; mask; mask &= mask - 1) {
		struct pa_arena *arena = heap->arenas[pa_lowest_bit(mask)];
		for (unsigned n = 0; arena && n < FIT_TRIES; n++, arena = arena->next) {
			*first = pa_arena_find(arena, count);
			if (*first)
				return arena;
		}
	}
	*first = 0;
	return NULL;
}

struct pa_arena *pa_placement_find(struct pa_heap *heap, unsigned count, unsigned *first)
{
	struct pa_arena *arena = pa_placement_find_own(heap, count, first);

	if (arena)
		return arena;
	pa_heap_serve_abandoned(PA_RESERVE_LIMIT, PA_SERVED_AT_ONCE);
	arena = pa_manager_take(heap);
	if (!arena)
		return NULL;
	arena_link(heap, arena);
	*pa_heap_known(heap, arena) = arena;
	heap->arenas_more++;
	heap->dirty_units += arena->dirty_units; /* which the reserve knows of */
	pa_placement_account(heap, arena, 0);
	*first = pa_arena_find(arena, count);
	return arena;
}

void pa_placement_rebuild_queue(struct pa_heap *heap)
{
	heap->queue_first = heap->queue_last = NULL;
	for (struct pa_arena *arena = pa_heap_first_arena(heap); arena;
	     arena = pa_heap_next_arena(heap, arena)) {
		int before = arena->dirty_units;
		arena->is_queued = false;
		arena->dirty_units = (uint8_t)pa_arena_count_dirty(arena);
		pa_placement_account(heap, arena, arena->dirty_units - before);
	}
}
