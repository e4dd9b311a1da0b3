/* SPDX-License-Identifier: MIT */
/*
 * registry.c: all heaps, those that wait for an owner, and what a fork does to them.  Guarded by
 * PA_LOCK_LIFE.  Called when threads begin and end, by malloc.c, python.c and life.c, and wherever memory is
 * given back.
 */
#include "heap.h"
#include "lock.h"
#include "manager.h"
#include "placement.h"
#include "shelf.h"

#define SERVED_ARENAS 4 /* that are swept at most when an abandoned heap is served */
#define SEARCH_FREES 64 /* an arena, after which its dead units are worth a search */

/* [lock: life] */
static struct {
	struct pa_heap *first, *last; /* all, in order of id */
	struct pa_heap *abandoned;
	uint64_t stamp;                    /* of the heap that was put there last */
	_Atomic(uint32_t) dirty_abandoned; /* how many of them have something to give back */
	uint32_t count;
	uintptr_t lowest, highest; /* address of any */
	uint64_t adoptions;
} registry = { .lowest = UINTPTR_MAX };

/* What was asked for before is no matter of the new owner's. */
static void set_served(struct pa_heap *heap)
{
	pa_store_relaxed(&heap->trim_served, pa_load_relaxed(&pa_reserve.trim_request));
}

/* Put a heap among those that wait for an owner. */
static void link_locked(struct pa_heap **link, struct pa_heap *heap, enum pa_heap_rest rest)
{
	heap->state = PA_HEAP_ABANDONED;
	heap->stamp = ++registry.stamp;
	heap->rest = (uint8_t)rest;
	heap->next_abandoned = *link;
	*link = heap;
	if (rest == PA_HEAP_REST_DIRTY)
		pa_add_relaxed(&registry.dirty_abandoned, 1);
}

static struct pa_heap *unlink_locked(struct pa_heap **link)
{
	struct pa_heap *heap = *link;

	*link = heap->next_abandoned;
	heap->next_abandoned = NULL;
	heap->state = PA_HEAP_OWNED;
	if (heap->rest == PA_HEAP_REST_DIRTY)
		pa_sub_relaxed(&registry.dirty_abandoned, 1);
	return heap;
}

/* The one that was abandoned last: its records are the likeliest to be in cache. */
static struct pa_heap *adopt_locked(enum pa_heap_kind kind)
{
	struct pa_heap **link = &registry.abandoned;

	while (*link && (*link)->kind != kind)
		link = &(*link)->next_abandoned;
	struct pa_heap *heap = *link;
	if (heap) {
		unlink_locked(link);
		set_served(heap);
		registry.adoptions++;
	}
	return heap;
}

/*
 * A heap's tag is its own, and no small number: 0 is that of free slots, and what an arena has in the
 * place of a pool's owner is the high half of an address.
 */
static bool has_good_tag(const struct pa_heap *heap)
{
	uint32_t tag = pa_heap_tag(heap);
	const struct pa_heap *other = registry.first;

	registry.lowest = pa_min(registry.lowest, (uintptr_t)heap);
	registry.highest = pa_max(registry.highest, (uintptr_t)heap);
	if (registry.highest - registry.lowest <= UINT32_MAX)
		other = NULL; /* the usual case: halves of addresses that are so near to each other differ */
	while (other && pa_heap_tag(other) != tag)
		other = other->next;
	return !other && tag != pa_heap_tag(&pa_no_heap) &&
	       tag >= UINT32_C(1) << (PA_ADDRESS_BITS - 32);
}

static struct pa_heap *create_locked(enum pa_heap_kind kind)
{
	if (registry.count == UINT32_MAX - 1)
		return NULL;
	struct pa_heap *heap = pa_manager_record(sizeof *heap);
	while (heap && !has_good_tag(heap))
		heap = pa_manager_record(sizeof *heap); /* the other is never used */
	if (!heap)
		return NULL;
	for (unsigned i = 0; i < PA_CLASSES; i++)
		heap->current[i] = &pa_no_pool;
	for (unsigned i = 0; i < PA_KNOWN_ARENAS; i++)
		heap->known[i] = PA_NO_ARENA;
	heap->id = ++registry.count;
	heap->kind = (uint8_t)kind;
	heap->state = PA_HEAP_OWNED;
	heap->helped_tick = UINT64_MAX; /* never */
	set_served(heap);
	if (registry.last)
		registry.last->next = heap;
	else
		registry.first = heap;
	registry.last = heap;
	return heap;
}

struct pa_heap *pa_heap_acquire(enum pa_heap_kind kind)
{
	pa_lock(PA_LOCK_LIFE);
	struct pa_heap *heap = adopt_locked(kind);
	if (!heap)
		heap = create_locked(kind);
	pa_unlock(PA_LOCK_LIFE);
	return heap;
}

struct pa_heap *pa_heap_of_interpreter(const void *interpreter)
{
	pa_lock(PA_LOCK_LIFE);
	struct pa_heap *heap = registry.first;
	while (heap && !(heap->state == PA_HEAP_OWNED && heap->kind == PA_HEAP_INTERPRETER &&
			 heap->interpreter == interpreter))
		heap = heap->next;
	if (!heap)
		heap = create_locked(PA_HEAP_INTERPRETER);
	if (heap)
		heap->interpreter = interpreter;
	pa_unlock(PA_LOCK_LIFE);
	return heap;
}

/* Into the lists, where their dead units are looked for. */
static void retire_currents(struct pa_heap *heap)
{
	for (unsigned i = 0; i < PA_CLASSES; i++) {
		struct pa_pool *pool = heap->current[i];
		if (pool == &pa_no_pool)
			continue;
		heap->current[i] = &pa_no_pool;
		if (pa_pool_used(pool) == 0) {
			pa_heap_free_current(heap, pool);
		} else if (!pool->list) {
			pa_heap_retire_current(heap, pool);
		} else {
			pool->state = PA_POOL_FULL; /* in no list */
			pa_heap_place_pool(heap, pool);
		}
	}
}

/*
 * Nobody allocates from the heap for now: no pool is current, and pages in which nothing is live are looked for.
 * Returns what there is to give back.
 */
static enum pa_heap_rest retire(struct pa_heap *heap)
{
	bool was_busy = pa_heap_enter(heap);

	if (pa_load_relaxed(&heap->remote_pools))
		pa_heap_collect_remote(heap);
	retire_currents(heap);
	unsigned arenas = pa_shelf_find_dead(heap);
	heap->searched_frees = heap->remote_frees;
	heap->search_again_frees = heap->remote_frees + SEARCH_FREES * (uint64_t)arenas;
	pa_placement_flush(heap);
	bool is_dirty = heap->queue_first != NULL;
	pa_heap_leave(heap, was_busy);
	return is_dirty ? PA_HEAP_REST_DIRTY : PA_HEAP_REST_UNKNOWN;
}

static void put_abandoned_locked(struct pa_heap *heap, enum pa_heap_rest rest)
{
	pa_store_relaxed(&heap->thread, 0);
	heap->interpreter = NULL;
	heap->large_seen = (struct pa_large_seen){ 0 }; /* a fork may have torn it */
	link_locked(&registry.abandoned, heap, rest);
}

void pa_heap_abandon(struct pa_heap *heap)
{
	enum pa_heap_rest rest = retire(heap);

	pa_lock(PA_LOCK_LIFE);
	/* Else a signal handler has forked, and the child has seen to it. */
	if (heap->state == PA_HEAP_OWNED)
		put_abandoned_locked(heap, rest);
	pa_unlock(PA_LOCK_LIFE);
	if (pa_reserve_is_exceeded() && pa_heap_shrink_caches(PA_RESERVE_LIMIT) == 0)
		pa_heap_serve_abandoned(PA_RESERVE_LIMIT, PA_SERVED_AT_ONCE);
}

bool pa_heap_has_dirty_abandoned(void)
{
	return pa_load_relaxed(&registry.dirty_abandoned) > 0;
}

/*
 * Of those that have something to collect or to give back, and were not put there after the stamp, the one that waits
 * for longest, be it for an owner or to be served again.
 */
static struct pa_heap *take_abandoned_locked(enum pa_reserve_goal goal, uint64_t stamp)
{
	bool is_above = pa_reserve_is_above(goal);
	unsigned rest = goal == PA_RESERVE_NOTHING ? PA_HEAP_REST_UNKNOWN : PA_HEAP_REST_DIRTY;
	struct pa_heap **found = NULL;

	for (struct pa_heap **link = &registry.abandoned; *link; link = &(*link)->next_abandoned) {
		bool has_any =
			pa_load_relaxed(&(*link)->remote_pools) || (is_above && (*link)->rest >= rest);
		if (has_any && (*link)->stamp <= stamp) {
			found = link;
			stamp = (*link)->stamp;
		}
	}
	return found ? unlink_locked(found) : NULL;
}

/* Behind all others: it is the last to be adopted. */
static void put_served_locked(struct pa_heap *heap, enum pa_heap_rest rest)
{
	struct pa_heap **link = &registry.abandoned;

	if (heap->state != PA_HEAP_OWNED) /* as in pa_heap_abandon */
		return;
	while (*link)
		link = &(*link)->next_abandoned;
	link_locked(link, heap, rest);
}

/*
 * What others have freed may leave dead units anywhere: they are looked for when it is time to give back, but not
 * for each few blocks where it is only the limit that is exceeded.
 */
static bool is_worth_a_search(const struct pa_heap *heap, enum pa_reserve_goal goal)
{
	return heap->remote_frees != heap->searched_frees && pa_reserve_is_above(goal) &&
	       (goal == PA_RESERVE_IDLE || heap->remote_frees >= heap->search_again_frees);
}

static enum pa_heap_rest give_back(struct pa_heap *heap, enum pa_reserve_goal goal)
{
	bool was_busy = pa_heap_enter(heap);

	if (pa_load_relaxed(&heap->remote_pools))
		pa_heap_collect_remote(heap);
	if (goal == PA_RESERVE_NOTHING)
		pa_heap_trim(heap);
	else if (is_worth_a_search(heap, goal))
		retire(heap);
	for (unsigned n = 0; n < SERVED_ARENAS && heap->queue_first; n++) {
		if (!pa_reserve_is_above(goal) || pa_reserve_is_refused())
			break;
		pa_heap_sweep_arena(heap, heap->queue_first, PA_SWEEP_POOLS, goal);
		pa_placement_flush(heap);
	}
	bool is_dirty = heap->queue_first != NULL || heap->remote_frees != heap->searched_frees;
	pa_heap_leave(heap, was_busy);
	if (goal == PA_RESERVE_NOTHING)
		return PA_HEAP_REST_NOTHING;
	return is_dirty ? PA_HEAP_REST_DIRTY : PA_HEAP_REST_UNKNOWN;
}

bool pa_heap_serve_abandoned(enum pa_reserve_goal goal, unsigned at_most)
{
	pa_lock(PA_LOCK_LIFE);
	uint64_t stamp = registry.stamp; /* so none is served twice */
	pa_unlock(PA_LOCK_LIFE);

	for (; at_most > 0; at_most--) {
		pa_lock(PA_LOCK_LIFE);
		struct pa_heap *heap = take_abandoned_locked(goal, stamp);
		pa_unlock(PA_LOCK_LIFE);
		if (!heap)
			return false;
		enum pa_heap_rest rest = give_back(heap, goal);
		pa_lock(PA_LOCK_LIFE);
		put_served_locked(heap, rest);
		pa_unlock(PA_LOCK_LIFE);
	}
	return true;
}

void pa_heap_purge_all_slots(const struct pa_heap *but, enum pa_reserve_goal goal, unsigned at_most)
{
	pa_lock(PA_LOCK_LIFE);
	struct pa_heap *heap = registry.first;
	pa_unlock(PA_LOCK_LIFE);
	/* Heaps stay for ever, and each is linked to the list before it is used. */
	for (; heap && at_most > 0; heap = heap->next)
		if (heap != but && heap->state != PA_HEAP_QUARANTINED)
			at_most -= pa_heap_purge_slots(heap, goal, at_most);
}

static void quarantine(struct pa_heap *heap)
{
	heap->state = PA_HEAP_QUARANTINED;
	heap->interpreter = NULL;
	pa_store_relaxed(&heap->gil_state, NULL);
	pa_store_relaxed(&heap->thread, 0);
	pa_reserve_add((struct pa_reserve_change){
		.dirty = -heap->dirty_units }); /* nobody will ever give that back */
}

void pa_heap_unlock_lost(void)
{
	for (struct pa_heap *heap = registry.first; heap; heap = heap->next) {
		uint8_t lock = pa_load_relaxed(&heap->lock);
		if (lock == PA_HEAP_LOCKED_BY_OTHER)
			pa_placement_rebuild_queue(heap);
		else if (lock == PA_HEAP_CLAIMED)
			quarantine(heap);
		else
			continue;
		pa_heap_unlock(heap);
	}
}

struct pa_heap *pa_heap_first_locked(void)
{
	return registry.first;
}

uint64_t pa_heap_adoptions_locked(void)
{
	return registry.adoptions;
}

void pa_heap_places(const void **first, const void **adoptions)
{
	*first = &registry.first;
	*adoptions = &registry.adoptions;
}

/* A watermark that was passed, but not handled, when the fork took its picture. */
static void settle_missed(struct pa_heap *heap)
{
	bool was_busy = pa_heap_enter(heap); /* which keeps settling from sweeping other arenas */

	for (struct pa_arena *arena = pa_heap_first_arena(heap), *next; arena; arena = next) {
		next = pa_heap_next_arena(heap, arena);
		uint64_t missed = 0;
		for (struct pa_pool *pool = pa_arena_first_pool(arena); pool;
		     pool = pa_arena_next_pool(pool))
			if (pa_pool_is_at_watermark(pool))
				missed |= UINT64_C(1) << pa_arena_slot(pool);
		/* The last one may take the arena with it: the record is not looked at after. */
		for (; missed; missed &= missed - 1)
			pa_heap_settle(heap, &arena->pools[pa_lowest_bit(missed)]);
	}
	pa_heap_leave(heap, was_busy);
}

void pa_heap_after_fork_child(struct pa_heap *own)
{
	registry.abandoned = NULL; /* made anew: it may have been about to change */
	pa_store_relaxed(&registry.dirty_abandoned, 0);
	for (struct pa_heap *heap = registry.first; heap; heap = heap->next) {
		registry.last = heap; /* likewise */
		if (heap->state == PA_HEAP_QUARANTINED)
			continue;
		if (heap != own && pa_load_relaxed(&heap->is_busy)) {
			quarantine(heap);
		} else if (heap == own || heap->kind == PA_HEAP_INTERPRETER) {
			pa_heap_part(heap); /* whoever holds its GIL owns an interpreter's */
		} else if (heap->kind == PA_HEAP_THREAD) {
			if (heap->state == PA_HEAP_OWNED)
				settle_missed(heap);
			heap->searched_frees = UINT64_MAX; /* it was not searched */
			heap->search_again_frees = 0;
			/* Nobody else is there to lock out. */
			put_abandoned_locked(heap, PA_HEAP_REST_DIRTY);
		}
	}
}
