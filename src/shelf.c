/* SPDX-License-Identifier: MIT */
/*
 * shelf.c: see shelf.h.
 */
#include "shelf.h"

#include "placement.h"

#define PARTED_ARENAS 8 /* by which a child grows before it uses room in pools of before the fork */

static struct pa_pool **list_of(struct pa_heap *heap, const struct pa_pool *pool)
{
	struct pa_heap_class *class = &heap->classes[pool->class_index];

	return pool->state == PA_POOL_PARTIAL ? &class->partial[pool->bucket] : &class->carvable;
}

void pa_shelf_unlink(struct pa_heap *heap, struct pa_pool *pool)
{
	if (pool->state != PA_POOL_PARTIAL && pool->state != PA_POOL_CARVABLE)
		return;
	struct pa_pool **list = list_of(heap, pool);
	if (*list == pool)
		*list = pool->next;
	else if (pool->previous) /* the first of a list that a fork has cut off has none */
		pool->previous->next = pool->next;
	if (pool->next)
		pool->next->previous = pool->previous;
	if (pool->state == PA_POOL_PARTIAL && !*list)
		heap->classes[pool->class_index].partial_mask &= (uint8_t) ~(1u << pool->bucket);
}

void pa_shelf_link(struct pa_heap *heap, struct pa_pool *pool)
{
	struct pa_pool **list = list_of(heap, pool);

	pool->previous = NULL;
	pool->next = *list;
	if (pool->next)
		pool->next->previous = pool;
	*list = pool;
	if (pool->state == PA_POOL_PARTIAL)
		heap->classes[pool->class_index].partial_mask |= (uint8_t)(1u << pool->bucket);
}

/* Which quarter of its blocks are in use.  Three comparisons are sooner done than one division. */
static unsigned fullness(const struct pa_pool *pool)
{
	unsigned used = PA_BUCKETS * (unsigned)pa_pool_used(pool), blocks = pa_pool_class(pool)->blocks;

	_Static_assert(PA_BUCKETS == 4, "the last bucket is that of three quarters and more");
	return (unsigned)(used >= blocks) + (used >= 2 * blocks) + (used >= 3 * blocks);
}

unsigned pa_shelf_units(const struct pa_pool *pool)
{
	return pa_pool_slots(pool) * (unsigned)PA_SLOT_UNITS;
}

/* So few live blocks that some units are probably dead. */
static unsigned sparse_used(const struct pa_pool *pool)
{
	return 2 * pa_shelf_units(pool);
}

static bool is_sparse(const struct pa_pool *pool)
{
	return (unsigned)pa_pool_used(pool) <= sparse_used(pool);
}

/* Resident units of a pool that hold nothing: touched and absent. */
static unsigned idle_units(const struct pa_pool *pool)
{
	const struct pa_arena *arena = pa_arena_of(pool);
	unsigned first = pa_arena_first_unit(pa_arena_slot(pool));

	return pa_count_bits(pa_units_get(arena->touched, first, pa_shelf_units(pool)) &
			     pa_pool_absent(pool));
}

/*
 * The number of live blocks at which the pool is to be looked at again: at the next quarter below;
 * and where dead units are likely, at a few more steps down to none.
 */
PA_INLINE int next_watermark(const struct pa_pool *pool, unsigned bucket)
{
	unsigned used = (unsigned)pa_pool_used(pool);
	unsigned quarter = (bucket * pa_pool_class(pool)->blocks + PA_BUCKETS - 1) / PA_BUCKETS;
	unsigned next = quarter > 0 ? quarter - 1 : 0;

	next = (unsigned)pa_max(next, is_sparse(pool) ? used / 4 : sparse_used(pool));
	return (int)pa_min(next, used - 1);
}

void pa_heap_place_pool(struct pa_heap *heap, struct pa_pool *pool)
{
	enum pa_pool_state state = pool->list               ? PA_POOL_PARTIAL
				   : pa_pool_carvable(pool) ? PA_POOL_CARVABLE
							    : PA_POOL_FULL;
	unsigned bucket = fullness(pool);

	if (pool->state != state || pool->bucket != bucket || heap->is_parted) {
		if (pool->state != PA_POOL_FULL)
			pa_shelf_unlink(heap, pool);
		pool->state = (uint8_t)state;
		pool->bucket = (uint8_t)bucket;
		if (state != PA_POOL_FULL)
			pa_shelf_link(heap, pool);
		else
			pa_heap_set_dead_units(heap, pool, 0);
	}
	pa_pool_set_watermark(pool, next_watermark(pool, bucket));
}

void pa_shelf_expect_dead(struct pa_heap *heap, struct pa_pool *pool)
{
	unsigned dead = is_sparse(pool) ? pa_pool_expect_dead(pool) : 0;

	if (pool->absent)
		dead += idle_units(pool);
	if (dead != pool->dead_units)
		pa_heap_set_dead_units(heap, pool, dead);
}

void pa_shelf_expect_dead_anew(struct pa_heap *heap)
{
	struct pa_arena *arena;
	struct pa_pool *pool;

	for (arena = pa_heap_first_arena(heap); arena; arena = pa_heap_next_arena(heap, arena))
		for (pool = pa_arena_first_pool(arena); pool; pool = pa_arena_next_pool(pool))
			if (pool->state == PA_POOL_PARTIAL || pool->state == PA_POOL_CARVABLE)
				pa_shelf_expect_dead(heap, pool);
}

static void find_dead(struct pa_heap *heap, struct pa_pool *pool)
{
	struct pa_arena *arena = pa_arena_of(pool);

	if (pool->list && pa_pool_take_dead(pool, pa_arena_slot_start(arena, pa_arena_slot(pool))))
		pa_heap_place_pool(heap, pool);
	pa_heap_set_dead_units(heap, pool, pool->state == PA_POOL_FULL ? 0 : idle_units(pool));
}

unsigned pa_shelf_find_dead(struct pa_heap *heap)
{
	struct pa_arena *arena;
	struct pa_pool *pool;
	unsigned arenas = 0;

	for (arena = pa_heap_first_arena(heap); arena; arena = pa_heap_next_arena(heap, arena)) {
		arenas++;
		for (pool = pa_arena_first_pool(arena); pool; pool = pa_arena_next_pool(pool))
			if (pool->state != PA_POOL_RUN)
				find_dead(heap, pool);
	}
	return arenas;
}

/* Leave a partial pool in no list; it is not reached before something in it is freed. */
static void cut_off(struct pa_heap *heap, struct pa_pool *pool)
{
	pa_heap_set_dead_units(heap, pool, 0);
	pool->state = PA_POOL_PARTIAL;
	pool->bucket = (uint8_t)fullness(pool);
	pool->previous = pool->next = NULL;
	pa_pool_set_watermark(pool, next_watermark(pool, pool->bucket));
}

void pa_heap_end_parting(struct pa_heap *heap)
{
	struct pa_pool *pool, *next;

	for (pool = heap->parting; pool; pool = next) {
		next = pool->next;
		if (!pool->list) {
			pa_heap_place_pool(heap, pool);
		} else if (pa_pool_used(pool) > 0 || pa_pool_is_at_watermark(pool)) {
			cut_off(heap, pool);
		} else { /* it had no watermark, so nobody is about to settle it */
			pool->state = PA_POOL_FULL; /* in no list */
			pa_heap_free_pool(heap, pool);
		}
	}
	heap->parting = NULL;
}

void pa_heap_part(struct pa_heap *heap)
{
	bool was_busy = pa_heap_hold(heap);

	for (unsigned i = 0; i < PA_CLASSES; i++) {
		struct pa_heap_class *class = &heap->classes[i];
		struct pa_pool *pool = heap->current[i];
		if (class->partial_mask) { /* only what differs is written: the page is shared */
			for (unsigned bucket = 0; bucket < PA_BUCKETS; bucket++)
				class->partial[bucket] = NULL;
			class->partial_mask = 0;
		}
		if (pool->list && pa_pool_used(pool) > 0) {
			heap->current[i] = &pa_no_pool;
			pool->next = heap->parting;
			heap->parting = pool;
		}
	}
	heap->is_parted = true;
	heap->arenas_more = 0;
	pa_heap_leave(heap, was_busy);
}

void pa_shelf_join(struct pa_heap *heap, bool is_needed)
{
	struct pa_arena *arena;
	struct pa_pool *pool;

	if (!is_needed && (!heap->is_parted || heap->arenas_more < PARTED_ARENAS))
		return;
	heap->is_parted = false;
	for (unsigned i = 0; i < PA_CLASSES; i++) {
		heap->classes[i].partial_mask = 0;
		for (unsigned bucket = 0; bucket < PA_BUCKETS; bucket++)
			heap->classes[i].partial[bucket] = NULL;
	}
	for (arena = pa_heap_first_arena(heap); arena; arena = pa_heap_next_arena(heap, arena))
		for (pool = pa_arena_first_pool(arena); pool; pool = pa_arena_next_pool(pool)) {
			if (pool->state != PA_POOL_PARTIAL &&
			    !(is_needed && pool->state == PA_POOL_FULL && pool->list))
				continue;
			pool->state = PA_POOL_FULL; /* it is in no list now */
			pa_heap_place_pool(heap, pool);
		}
}

void pa_shelf_check(struct pa_heap *heap, struct pa_pool *pool)
{
	bool is_in_list = false;

	(void)heap;
	if (pool->state == PA_POOL_PARTIAL || pool->state == PA_POOL_CARVABLE) {
		for (struct pa_pool *p = *list_of(heap, pool); p; p = p->next)
			is_in_list |= p == pool;
		PA_ASSERT(is_in_list || (heap->is_parted && pool->state == PA_POOL_PARTIAL),
			  "H2: a pool is in the list that its state names");
	} else if (pool->state == PA_POOL_CURRENT) {
		is_in_list |= heap->current[pool->class_index] == pool;
		for (struct pa_pool *p = heap->parting; p; p = p->next)
			is_in_list |= p == pool;
		PA_ASSERT(is_in_list, "H2: the current pool is current");
	}
	PA_ASSERT(pool->state != PA_POOL_PARTIAL || pool->list, "a partial pool has listed blocks");
	PA_ASSERT(pool->state != PA_POOL_FULL || pool->dead_units == 0,
		  "a full pool has no dead units");
	PA_ASSERT(pa_load_relaxed(&pool->owner) == pa_heap_tag(heap), "the heap's pools have its id");
}
