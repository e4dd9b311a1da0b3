/* SPDX-License-Identifier: MIT */
/*
 * relieve.c: when a heap gives back, how much and of which arenas: what is above the reserve, before a large object
 * is touched as well; at a claim of the idle thread; and all at a trim.  The sweep does it.  The heap's owner
 * calls; what others call says so in heap.h.
 */
#include "heap.h"

#include "large.h"
#include "manager.h"
#include "placement.h"
#include "reserve.h"
#include "shelf.h"

#define TURNS_MAX 16             /* that dead units of an arena wait for more */
#define OWN_UNITS 32             /* dirty, that each heap may have, however much others have */
#define RELIEVE_ARENAS 4         /* arenas that one call sweeps at most */
#define WAY_BYTES (256 * PA_KIB) /* of fresh memory, for which it is done once more */

/*
 * Give back from one arena.  Free slots go at once.  Dead units have to wait while they still grow in
 * number: where frees go on, their pools will often be empty soon, which saves walking their lists.  But not at
 * a peak, which they would raise meanwhile.
 */
static void relieve_arena(struct pa_heap *heap, struct pa_arena *arena)
{
	if (arena->dirty_units > 0) {
		pa_heap_sweep_arena(heap, arena, PA_SWEEP_SLOTS, PA_RESERVE_LIMIT);
	} else if (arena->dead_units > arena->turn_dead_units && arena->turns < TURNS_MAX &&
		   !pa_reserve_is_bound_by_peak()) {
		arena->turns = (arena->turns + 1u) & 0x7f;
		arena->turn_dead_units = arena->dead_units;
		pa_placement_dequeue(heap, arena);
		pa_placement_enqueue(heap, arena);
	} else {
		arena->turns = 0;
		arena->turn_dead_units = 0;
		/* With it, the arena may go. */
		pa_heap_sweep_arena(heap, arena, PA_SWEEP_POOLS, PA_RESERVE_LIMIT);
	}
}

/* Whether it is time again to give back for others, too. */
static bool is_helpful(struct pa_heap *heap)
{
	uint64_t tick = pa_load_relaxed(&pa_reserve.ticks);
	bool is_new = tick != heap->helped_tick;

	heap->helped_tick = tick;
	return is_new;
}

uint64_t pa_heap_shrink_caches(enum pa_reserve_goal goal)
{
	return pa_manager_shrink(goal) + pa_large_shrink(goal);
}

/* False if the heap has nothing to give back, nor have the caches. */
static bool relieve(struct pa_heap *heap)
{
	if (pa_heap_shrink_caches(PA_RESERVE_LIMIT) > 0)
		return true; /* if that was not enough, the next one goes on */
	if (pa_reserve_is_refused())
		return false;
	bool helps = is_helpful(heap);
	if (helps && pa_heap_has_dirty_abandoned())
		pa_heap_serve_abandoned(PA_RESERVE_LIMIT, 1); /* what nobody uses goes first */
	if (heap->dirty_units <= OWN_UNITS) {
		if (helps)
			pa_heap_purge_all_slots(heap, PA_RESERVE_LIMIT, RELIEVE_ARENAS);
		return false;
	}
	unsigned n = 0;
	for (; n < RELIEVE_ARENAS && heap->queue_first && pa_reserve_is_exceeded(); n++) {
		relieve_arena(heap, heap->queue_first);
		pa_placement_flush(heap);
	}
	return n > 0;
}

void pa_heap_relieve(struct pa_heap *heap)
{
	/* With nothing of its own, it is not time again for what others have, nor for looking. */
	if (heap->dirty_units > OWN_UNITS || heap->helped_tick != pa_load_relaxed(&pa_reserve.ticks))
		relieve(heap);
}

/*
 * In steps, between which a fork finds the heap as it should be.  What other heaps have goes as well: a thread of CPython's
 * has little, and the interpreter's heap most.
 */
void pa_heap_make_way(struct pa_heap *heap, size_t bytes)
{
	unsigned steps = (unsigned)pa_min(bytes / WAY_BYTES + 1, UINT16_MAX);
	bool is_there = true;

	for (unsigned n = 0; n < steps && is_there && PA_UNLIKELY(pa_reserve_is_exceeded()); n++) {
		bool was_busy = pa_heap_enter(heap);
		is_there = !was_busy && relieve(heap);
		pa_heap_leave(heap, was_busy);
		if (was_busy)
			return;
	}
	if (PA_UNLIKELY(pa_reserve_is_exceeded()) && !pa_reserve_is_refused())
		pa_heap_purge_all_slots(heap, PA_RESERVE_LIMIT, steps * RELIEVE_ARENAS);
}

void *pa_heap_allocate_large(struct pa_heap *heap, size_t bytes, size_t align, bool *is_zero)
{
	struct pa_large_new made = pa_large_allocate(bytes, align);

	if (!made.start)
		return NULL;
	if (made.bytes > made.had)
		pa_heap_make_way(heap, made.bytes - made.had);
	pa_large_populate(&made, is_zero != NULL);
	if (is_zero)
		*is_zero = made.had == 0;
	return made.start;
}

/* Purge the free slots of the first arena of the queue, or pass it by; false if there is none. */
static bool purge_first(struct pa_heap *heap, enum pa_reserve_goal goal)
{
	struct pa_arena *arena = heap->queue_first;

	if (!arena)
		return false;
	if (arena->dirty_units > 0) {
		pa_heap_sweep_arena(heap, arena, PA_SWEEP_SLOTS, goal);
		pa_placement_flush(heap);
	} else {
		pa_placement_dequeue(heap, arena);
		pa_placement_enqueue(heap, arena);
	}
	return true;
}

unsigned pa_heap_purge_slots(struct pa_heap *heap, enum pa_reserve_goal goal, unsigned at_most)
{
	/* No more than there are: those that have dead units alone go round and round in the queue. */
	uint64_t arenas = pa_load_relaxed(&pa_reserve.mapped_units) / PA_ARENA_UNITS + 1;
	unsigned n = 0;
	bool is_there = true;

	at_most = (unsigned)pa_min(at_most, arenas);
	while (is_there && n < at_most && pa_reserve_is_above(goal)) {
		if (!pa_heap_try_lock(heap, PA_HEAP_LOCKED_BY_OTHER))
			break;
		is_there = purge_first(heap, goal);
		pa_heap_unlock(heap);
		n++;
	}
	return n;
}

/* Of a claimed heap; false if there is nothing more to purge. */
static bool purge_claimed(struct pa_heap *heap, unsigned at_most)
{
	bool is_there = true;

	if (pa_load_relaxed(&pa_reserve.ticks) != heap->expected_tick)
		pa_shelf_expect_dead_anew(heap);
	for (; is_there && at_most > 0; at_most--) {
		is_there = heap->queue_first && pa_reserve_is_above(PA_RESERVE_IDLE);
		if (is_there)
			pa_heap_sweep_arena(heap, heap->queue_first, PA_SWEEP_POOLS, PA_RESERVE_IDLE);
	}
	pa_placement_flush(heap);
	heap->expected_tick = pa_load_relaxed(&pa_reserve.ticks); /* sweeping ticks as well */
	return is_there;
}

bool pa_heap_purge_unused(struct pa_heap *heap, bool (*is_unused)(struct pa_heap *heap),
			  unsigned at_most)
{
	if (!pa_heap_try_lock(heap, PA_HEAP_CLAIMED))
		return false;
	bool is_there = is_unused(heap) && purge_claimed(heap, at_most);
	pa_heap_unlock(heap);
	return is_there;
}

size_t pa_heap_trim(struct pa_heap *heap)
{
	bool was_busy = pa_heap_enter(heap);
	size_t units = 0;

	if (pa_load_relaxed(&heap->remote_pools))
		pa_heap_collect_remote(heap);
	/* Arenas of every fullness, for those that are not queued hold dead units of current pools. */
	for (struct pa_arena *arena = pa_heap_first_arena(heap), *next; arena; arena = next) {
		next = pa_heap_next_arena(heap, arena);
		units += pa_heap_sweep_arena(heap, arena, PA_SWEEP_ALL, PA_RESERVE_NOTHING);
	}
	pa_placement_flush(heap);
	pa_heap_leave(heap, was_busy);
	return units << PA_UNIT_SHIFT;
}
