/* SPDX-License-Identifier: MIT */
/*
 * heap.c: the slow paths of one heap: pools found, carved, listed and let go; runs; remote frees.
 * Each entry point marks the heap busy while its lists are changed, see pa_heap_enter.
 */
#include "heap.h"

#include "large.h"
#include "lock.h"
#include "option.h"
#include "os.h"
#include "placement.h"
#include "request.h"
#include "reserve.h"
#include "shelf.h"

#define GROWTH_SHARE 48 /* of its growth, that a class takes up at once */
#define WAKE_SHARE 16   /* of its blocks, free, for which a full pool is come back to */
#define WAKE_MAX 8      /* but no more blocks than that */
#define WAKE_TIMES 2    /* as many of both in a heap that is not an interpreter's */
#define LOSSES_MAX 16   /* after which a class keeps its empty pool */
#define MEASURED 16     /* one of so many times that units become resident is measured */

struct pa_pool pa_no_pool = { .watermark = PA_NO_WATERMARK };

struct pa_heap pa_no_heap = {
	.current = { [0 ... PA_CLASSES - 1] = &pa_no_pool },
	.known = { [0 ... PA_KNOWN_ARENAS - 1] = PA_NO_ARENA },
	.state = PA_HEAP_OWNED,
};

void pa_heap_set_dead_units(struct pa_heap *heap, struct pa_pool *pool, unsigned dead)
{
	struct pa_arena *arena = pa_arena_of(pool);
	int change = (int)dead - pool->dead_units;

	if (change == 0)
		return;
	pool->dead_units = (uint8_t)dead;
	arena->dead_units = (uint8_t)(arena->dead_units + change);
	pa_placement_account(heap, arena, change);
}

void pa_heap_free_pool(struct pa_heap *heap, struct pa_pool *pool)
{
	struct pa_arena *arena = pa_arena_of(pool);

	pa_shelf_unlink(heap, pool);
	pa_heap_set_dead_units(heap, pool, 0);
	pa_placement_release(heap, arena, pa_arena_slot(pool), pa_pool_slots(pool));
}

void pa_heap_free_current(struct pa_heap *heap, struct pa_pool *pool)
{
	heap->current[pool->class_index] = &pa_no_pool;
	pool->state = PA_POOL_FULL; /* in no list */
	pa_heap_free_pool(heap, pool);
}

/*
 * The current pool has become empty.  It stays, for the next request is likely; but its pages are
 * dirty, and another class that needs some may have them.
 */
static void note_empty_current(struct pa_heap *heap, struct pa_pool *pool)
{
	heap->empty_current[pool->class_index / 64] |= UINT64_C(1) << pool->class_index % 64;
	pa_pool_set_watermark(pool, PA_NO_WATERMARK);
	pa_shelf_expect_dead(heap, pool);
}

/*
 * Look at a current pool that has been empty (H3).  If it still is, let go of it, unless its class has lost
 * some before and came back: classes that are used by turns would go on to rob each other.  False if
 * it stays as it is.
 */
static bool steal(struct pa_heap *heap, struct pa_pool *pool)
{
	struct pa_heap_class *class = &heap->classes[pool->class_index];

	if (pool == &pa_no_pool)
		return true;
	if (pa_pool_used(pool) > 0) {
		pa_pool_set_watermark(pool, 0);
		pa_heap_set_dead_units(heap, pool, 0);
		return true;
	}
	if (class->losses == LOSSES_MAX)
		return false;
	class->losses++;
	pa_heap_free_current(heap, pool);
	return true;
}

/* Before a pool is made in fresh pages. */
static void steal_empty(struct pa_heap *heap)
{
	for (unsigned i = 0; i < sizeof heap->empty_current / sizeof heap->empty_current[0]; i++)
		for (uint64_t bits = heap->empty_current[i]; bits; bits &= bits - 1)
			if (steal(heap, heap->current[i * 64 + pa_lowest_bit(bits)]))
				heap->empty_current[i] &= ~(bits & -bits);
}

/* At the end of a slow path, when nothing is half changed. */
PA_INLINE void after_change(struct pa_heap *heap)
{
	if (heap->kind == PA_HEAP_INTERPRETER)
		pa_reserve_watch();
	pa_request_look(heap);
}

void pa_heap_settle(struct pa_heap *heap, struct pa_pool *pool)
{
	bool was_busy = pa_heap_enter(heap);

	PA_ASSERT(pa_pool_used(pool) >= 0, "P2: no more blocks are freed than were live");
	if (pool->state == PA_POOL_CURRENT) {
		note_empty_current(heap, pool);
	} else if (pa_pool_used(pool) == 0) {
		pa_heap_free_pool(heap, pool);
	} else {
		pa_heap_place_pool(heap, pool);
		pa_shelf_expect_dead(heap, pool);
	}
	if (!was_busy && pa_reserve_is_exceeded())
		pa_heap_relieve(heap);
	pa_heap_leave(heap, was_busy);
	if (!was_busy)
		after_change(heap);
}

/*
 * Until there are so many that the pool is worth allocating from again: it is not worth coming back to for
 * a block or two.  (One that has absent units is come back to when a pool would have to be made.)
 */
static void wait_for_frees(struct pa_heap *heap, struct pa_pool *pool)
{
	unsigned times = heap->kind == PA_HEAP_INTERPRETER ? 1 : WAKE_TIMES;
	size_t blocks = pa_min(times * pa_pool_class(pool)->blocks / WAKE_SHARE, times * WAKE_MAX);
	int wake = pa_pool_used(pool) - (int)pa_max(blocks, 1);

	pa_pool_set_watermark(pool, wake > 0 ? wake : 0);
}

void pa_heap_retire_current(struct pa_heap *heap, struct pa_pool *pool)
{
	pa_heap_set_dead_units(heap, pool, 0);
	pool->state = PA_POOL_FULL;
	if (pa_pool_carvable(pool)) {
		pool->state = PA_POOL_CARVABLE;
		pa_shelf_link(heap, pool);
	}
	wait_for_frees(heap, pool);
}

static void make_current(struct pa_heap *heap, struct pa_pool *pool)
{
	const struct pa_arena **known = pa_heap_known(heap, pool);

	if (*known == PA_NO_ARENA) /* another, which had the place, has gone */
		*known = pa_arena_of(pool);
	pa_shelf_unlink(heap, pool);
	pool->state = PA_POOL_CURRENT;
	pa_pool_set_watermark(pool, 0);
	heap->current[pool->class_index] = pool;
	pa_heap_set_dead_units(heap, pool, 0);
}

/*
 * The usual refill: the current pool has nothing more to give, the next has blocks, and no unit of either
 * counts as dead.  What both of them need, and no more; false where there is more to do.
 */
static bool succeed(struct pa_heap *heap, struct pa_pool *old, struct pa_pool *pool)
{
	struct pa_heap_class *class = &heap->classes[pool->class_index];

	if (old == &pa_no_pool || (old->dead_units | pool->dead_units) != 0 ||
	    (old->absent && pa_pool_carvable(old)) || *pa_heap_known(heap, pool) == PA_NO_ARENA)
		return false;
	old->state = PA_POOL_FULL;
	wait_for_frees(heap, old);
	pa_shelf_take_fullest(class, pool);
	pool->state = PA_POOL_CURRENT;
	pa_pool_set_watermark(pool, 0);
	heap->current[pool->class_index] = pool;
	return true;
}

static struct pa_pool *make_pool(struct pa_heap *heap, unsigned class_index)
{
	unsigned slots = pa_classes[class_index].slots, first;

	steal_empty(heap);
	pa_shelf_join(heap, false);
	struct pa_arena *arena = pa_placement_find(heap, slots, &first);

	if (!arena)
		return NULL;
	pa_placement_take(heap, arena, first, slots);
	struct pa_pool *pool = &arena->pools[first];
	char *start = pa_arena_slot_start(arena, first);
	if (heap->kind == PA_HEAP_INTERPRETER)
		start += pa_class_lead(class_index);
	pa_pool_init(pool, start, class_index, pa_heap_tag(heap));
	pa_arena_extend(arena, first, 1, slots);
	return pool;
}

/* With all that are absent next to them: the more blocks there are, the less can be told of their order. */
static PA_COLD uint16_t neighbours(uint16_t units, uint16_t absent)
{
	uint16_t more = units;

	do {
		units = more;
		more |= (uint16_t)((units << 1 | units >> 1) & absent);
	} while (more != units);
	return units;
}

/*
 * The units to take up so that the pool has one more block, resident ones first.  Where the class has
 * been growing, those above of the same kind as well: a share of its growth, so no more than that is taken
 * in vain.
 */
static uint16_t units_to_carve(const struct pa_heap_class *class, const struct pa_pool *pool,
			       uint16_t resident)
{
	uint16_t absent = pa_pool_carvable(pool);
	unsigned first = pa_lowest_bit(resident ? resident : absent);
	uint16_t units = pa_pool_carve_units(pool, first);
	unsigned end = first + class->growth / GROWTH_SHARE;
	uint16_t alike = resident ? resident : absent;

	for (unsigned unit = pa_highest_bit(units) + 1; unit < end && alike >> unit & 1; unit++)
		units |= (uint16_t)(1u << unit);
	return pa_is_hardened() ? neighbours(units, absent) : units;
}

/* List the blocks of units, which are touched by that; populate several that are not resident. */
static void take_up(struct pa_pool *pool, uint16_t units, bool is_resident)
{
	unsigned lowest = pa_lowest_bit(units), count = pa_highest_bit(units) + 1 - lowest;

	if (count > 1 && !is_resident)
		pa_os_populate(pa_arena_pool_start(pool) + ((size_t)lowest << PA_UNIT_SHIFT),
			       (size_t)count << PA_UNIT_SHIFT);
	pa_pool_carve(pool, pa_arena_pool_start(pool), units);
}

static PA_COLD void take_up_measured(struct pa_pool *pool, uint16_t units)
{
	uint64_t began_ns = pa_os_clock_ns();

	take_up(pool, units, false);
	pa_reserve_measured(&pa_reserve.touch_ns, pa_count_bits(units), pa_os_clock_ns() - began_ns);
}

/* Choose absent units, take them up, and tell those that ask: arena, reserve and class. */
static void carve(struct pa_heap *heap, struct pa_pool *pool)
{
	struct pa_arena *arena = pa_arena_of(pool);
	struct pa_heap_class *class = &heap->classes[pool->class_index];
	unsigned first = pa_arena_first_unit(pa_arena_slot(pool));
	uint16_t resident = (uint16_t)(pa_units_get(arena->touched, first, pa_shelf_units(pool)) &
				       pa_pool_carvable(pool));
	uint16_t units = units_to_carve(class, pool, resident);
	unsigned lowest = pa_lowest_bit(units), count = pa_highest_bit(units) + 1 - lowest;

	pa_placement_touch(heap, arena, first + lowest, count);
	class->growth = (uint8_t)pa_min(class->growth + count, UINT8_MAX);
	bool is_measured = !resident && pa_os_page_bytes() <= PA_UNIT_BYTES &&
			   pa_options()->thp != PA_THP_ALWAYS; /* else it may be there */
	if (is_measured && heap->touches++ % MEASURED == 0)
		take_up_measured(pool, units);
	else
		take_up(pool, units, resident != 0);
}

/*
 * Give back what others freed: each pool in remote_pools is taken once, with all of its blocks.
 * Blocks of a run carry no list.
 */
void pa_heap_collect_remote(struct pa_heap *heap)
{
	struct pa_pool *pool =
		pa_exchange_acquire(&heap->remote_pools, NULL); /* pairs with free_remote */

	while (pool) {
		struct pa_pool *next = pool->remote_next;
		/* Both ways: from here on somebody else may put the pool into the list again. */
		struct pa_block *block = pa_exchange_both(&pool->remote, NULL);
		while (block) {
			struct pa_block *next_block = pa_block_next(block);
			pa_block_set_next(block, pool->list);
			pool->list = block;
			pool->slack--;
			heap->remote_frees++;
			block = next_block;
		}
		if (pa_pool_is_at_watermark(pool))
			pa_heap_settle(heap, pool);
		pool = next;
	}
}

/* Find the current pool's successor; NULL when there is no memory. */
static struct pa_pool *refill(struct pa_heap *heap, unsigned class_index)
{
	struct pa_heap_class *class = &heap->classes[class_index];
	struct pa_pool *old = heap->current[class_index];
	struct pa_pool *pool = pa_shelf_fullest(class);

	PA_ASSERT(pa_pool_used(old) > 0 || pa_pool_carvable(old) || old == &pa_no_pool,
		  "an empty pool has blocks to give");
	if (!pool && old != &pa_no_pool && pa_pool_carvable(old)) {
		carve(heap, old);
		return old;
	}
	if (pool) {
		class->growth -= class->growth / GROWTH_SHARE;
		if (succeed(heap, old, pool))
			return pool;
	} else if (class->carvable) {
		pool = class->carvable;
	} else {
		pool = make_pool(heap, class_index);
		if (!pool) {
			pa_shelf_join(heap, true);
			pool = pa_shelf_fullest(class);
		}
		if (!pool)
			return NULL;
	}
	if (old != &pa_no_pool)
		pa_heap_retire_current(heap, old);
	make_current(heap, pool);
	if (!pool->list)
		carve(heap, pool);
	return pool;
}

/* The class itself, once it has had its requests; else the coarse one in its place. */
static unsigned class_to_serve(struct pa_heap *heap, unsigned class_index)
{
	struct pa_heap_class *class = &heap->classes[class_index];
	unsigned coarse = pa_class_coarse(class_index);

	if (coarse == class_index || class->requests == PA_FINE_REQUESTS)
		return class_index;
	class->requests++;
	return coarse;
}

void *pa_heap_allocate_slow(struct pa_heap *heap, unsigned class_index)
{
	bool was_busy = pa_heap_enter(heap);
	struct pa_pool *pool;

	if (pa_load_relaxed(&heap->remote_pools))
		pa_heap_collect_remote(heap);
	class_index = class_to_serve(heap, class_index);
	pool = heap->current[class_index];
	if (!pool->list)
		pool = refill(heap, class_index);
	void *block = !pool              ? NULL
		      : pa_is_hardened() ? pa_heap_pop_encoded(heap, class_index)
					 : pa_heap_pop(heap, class_index);
	if (!was_busy && pa_reserve_is_exceeded())
		pa_heap_relieve(heap);
	pa_heap_leave(heap, was_busy);
	if (!was_busy)
		after_change(heap);
	return block;
}

/* --- frees that are not the owner's --- */

/*
 * A block that has the key has been freed.  The owner makes sure, for it can: a program that copies what
 * it never wrote may have put the key there.
 */
static bool is_freed(const struct pa_heap *heap, const struct pa_pool *pool,
		     const struct pa_block *block)
{
	return block->key == pa_pool_key(pool) &&
	       (pa_load_relaxed(&pool->owner) != pa_heap_tag(heap) || pa_pool_has_freed(pool, block));
}

struct pa_pool *pa_heap_find(const struct pa_heap *heap, const void *p, const char *function)
{
	if (!pa_pagemap_has(p))
		return NULL;
	struct pa_pool *pool = pa_arena_pool_at(p);
	uint32_t offset = pa_pool_offset(pool, p);
	if ((void *)pool == pa_arena_of(p))
		pa_fatal(PA_FATAL_FOREIGN, function, p); /* in no slot that is used */
	if (pa_load_relaxed(&pool->owner) == 0)
		pa_fatal(PA_FATAL_FREED, function, p);
	if (!pa_class_is_block_start(pool->reciprocal, offset) ||
	    (pool->class_index < PA_CLASS_RUN &&
	     pa_class_block_index(pool->reciprocal, offset) >= pa_pool_class(pool)->blocks))
		pa_fatal(PA_FATAL_INSIDE, function, p);
	if (pa_pool_is_absent(pool, p) || is_freed(heap, pool, p))
		pa_fatal(PA_FATAL_FREED, function, p);
	return pool;
}

static void free_remote(struct pa_pool *pool, struct pa_block *block)
{
	block->key = pa_pool_key(pool);
	struct pa_block *first = pa_load_relaxed(&pool->remote);
	do
		pa_block_set_next(block, first);
	while (!pa_cas_weak_both(&pool->remote, &first, block)); /* pairs with pa_heap_collect_remote */
	if (first)
		return;

	struct pa_heap *heap = pa_arena_of(pool)->heap;
	struct pa_pool *head = pa_load_relaxed(&heap->remote_pools);
	do
		pool->remote_next = head;
	while (!pa_cas_weak_release(&heap->remote_pools, &head,
				    pool)); /* pairs with pa_heap_collect_remote */
}

void pa_heap_put_encoded(struct pa_heap *heap, struct pa_pool *pool, struct pa_block *block)
{
	if (!heap || pa_load_relaxed(&pool->owner) != pa_heap_tag(heap)) {
		free_remote(pool, block);
		return;
	}
	uintptr_t key = pa_pool_key(pool);
	pa_block_set_next(block, pool->list);
	block->key = key;
	pool->list = block;
	if (--pool->slack < 0)
		pa_heap_settle(heap, pool);
}

void pa_heap_free_slow(struct pa_heap *heap, void *p, const char *function)
{
	struct pa_pool *pool = pa_heap_find(heap, p, function);

	/* One of the heap's own has the key, and yet is live; or nobody has tried the fast way. */
	if (pool && pa_load_relaxed(&pool->owner) == pa_heap_tag(heap))
		pa_heap_put(heap, pool, p);
	else if (pool)
		free_remote(pool, p);
	else if (!pa_large_free(p))
		pa_fatal(PA_FATAL_FOREIGN, function, p);
}

/* --- locking and checking --- */

void pa_heap_lock_slow(struct pa_heap *heap)
{
	do
		pa_lock_wait_a_little();
	while (!pa_heap_try_lock(heap, PA_HEAP_LOCKED_BY_OWNER));
}

void pa_heap_wait_for_claim(const struct pa_heap *heap)
{
	while (pa_load_acquire(&heap->lock) == PA_HEAP_CLAIMED) /* pairs with pa_heap_unlock */
		pa_lock_wait_a_little();
}

void pa_heap_check(struct pa_heap *heap)
{
	bool was_busy = pa_heap_hold(heap); /* else another might be about to purge */
	unsigned known = 0;

	for (unsigned n = 0; n <= PA_ARENA_USABLE; n++) {
		PA_ASSERT((heap->arena_mask >> n & 1) == (heap->arenas[n] != NULL),
			  "H4: the mask is true");
		for (struct pa_arena *arena = heap->arenas[n]; arena; arena = arena->next) {
			PA_ASSERT(arena->heap == heap, "the heap's arenas point to it");
			known += *pa_heap_known(heap, arena) == arena;
			PA_ASSERT(pa_arena_free_count(arena) == n,
				  "H4: an arena is in the list of its fullness");
			pa_arena_check(arena);
			for (struct pa_pool *pool = pa_arena_first_pool(arena); pool;
			     pool = pa_arena_next_pool(pool))
				pa_shelf_check(heap, pool);
		}
	}
	for (unsigned i = 0; i < PA_KNOWN_ARENAS; i++)
		known -= heap->known[i] != PA_NO_ARENA;
	PA_ASSERT(known == 0, "H7: what is known is the heap's");
	pa_heap_leave(heap, was_busy);
}
