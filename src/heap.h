/* SPDX-License-Identifier: MIT */
/*
 * heap.h: one owner's arenas and pools, and the fast path.  A heap belongs to one thread, or to one
 * interpreter (whose GIL guards it), or, abandoned, to whoever holds it under PA_LOCK_LIFE.  Only the
 * owner allocates from it; anybody frees into it.  Heaps are never destroyed, only adopted.
 *
 * Call tree, fast to slow:
 *   pa_heap_pop             take a block of the class's current pool
 *   pa_heap_allocate_slow     the current pool is used up:
 *     collect_remote            take back what others freed
 *     succeed                   the fullest pool with free blocks takes its place, and no more
 *     carve                     take up absent units of a pool
 *     make_pool                 a new pool, from the most full arena
 *   pa_heap_free            put a block on its pool's list
 *     pa_heap_settle            the pool has reached its watermark: list it anew, or let it go
 *     pa_heap_free_slow         freed by another than the owner, large, or misuse
 *
 *   pa_heap_relieve         at the end of all slow paths, if the reserve is exceeded: purge
 *
 *   H1  current[c] is never NULL: pa_no_pool when there is none, whose list is empty.
 *   H2  A pool of the heap is in exactly the place that its state names: current, partial[bucket],
 *       carvable, or in no list (full, run).  But of a heap that is parted, partial pools may be in lists
 *       that begin nowhere, and those that were current are in parting until H6 is met.
 *   H3  A current pool that is empty has its class's bit in empty_current, or has been empty before and
 *       has no watermark; so pa_heap_steal_empty finds what became empty since it looked last.
 *   H4  An arena of the heap is in arenas[n], n its free slots; bit n of arena_mask tells that the list
 *       is not empty.
 *   H7  What is in known is an arena of the heap, or PA_NO_ARENA.
 */
#ifndef PA_HEAP_H
#define PA_HEAP_H

#include "arena.h"
#include "large.h"
#include "message.h"
#include "pagemap.h"
#include "reserve.h"

#define PA_BUCKETS 4u /* of partial pools: by quarters of their capacity in use */

enum pa_heap_kind { PA_HEAP_THREAD, PA_HEAP_INTERPRETER, PA_HEAP_SHARED };

enum pa_heap_state {
	PA_HEAP_OWNED,
	PA_HEAP_ABANDONED, /* its thread has ended; waits for adoption */
	PA_HEAP_QUARANTINED, /* its thread vanished by a fork in the midst of a change: not to be touched */
};

/* What an abandoned heap has to give back; each is more than the one before. */
enum pa_heap_rest {
	PA_HEAP_REST_NOTHING,
	PA_HEAP_REST_UNKNOWN, /* what a trim would find, if anything */
	PA_HEAP_REST_DIRTY,
};

/* H5. Who holds it is told, for a child of a fork has to free what nobody in it holds. */
enum pa_heap_lock {
	PA_HEAP_UNLOCKED,
	PA_HEAP_LOCKED_BY_OWNER,
	PA_HEAP_LOCKED_BY_OTHER, /* who purges free slots */
	PA_HEAP_CLAIMED,         /* by one who takes the place of an owner that does not use it now */
};

/* The pools of one class, but for the current one. */
struct pa_heap_class {
	struct pa_pool *partial[PA_BUCKETS]; /* the last is the fullest */
	struct pa_pool *carvable;
	uint8_t partial_mask; /* which of partial are not empty */
	uint8_t growth;       /* units taken up of late, 255 at most; see units_to_carve */
	uint8_t losses;       /* of empty current pools, to other classes */
	uint8_t requests; /* served by the coarse class; at PA_FINE_REQUESTS the class has its own pools */
};

/* Requests of a class that a coarser one can serve, until it is worth a page of its own. */
#define PA_FINE_REQUESTS 64

/*
 * Arenas of a heap that a free finds by one comparison: of those whose addresses name the same place, the
 * one that came last.  Arenas adjoin each other, so up to 256 MiB have a place of their own.
 */
#define PA_KNOWN_ARENAS 256u
#define PA_NO_ARENA ((const struct pa_arena *)1) /* not NULL, which is the arena of a NULL pointer */

struct pa_heap {
	struct pa_pool *current[PA_CLASSES];           /* [owner] */
	const struct pa_arena *known[PA_KNOWN_ARENAS]; /* [owner] H7 */
	uint32_t id;                                   /* [const] 1 and up, for people */
	uint8_t kind;                                  /* [lock: life] enum pa_heap_kind */
	uint8_t state;                                 /* [lock: life] enum pa_heap_state */
	uint8_t rest;                                  /* [lock: life] enum pa_heap_rest */
	_Atomic(bool) is_busy; /* [owner] its lists are being changed; read after a fork */
	_Atomic(uint8_t) lock; /* [atomic] enum pa_heap_lock: who changes its lists or free slots */

	struct pa_heap_class classes[PA_CLASSES]; /* [owner] */
	uint64_t empty_current[(PA_CLASSES + 63) /
			       64]; /* [owner] classes whose current pool became empty */
	struct pa_arena *arenas[PA_ARENA_USABLE + 1]; /* [owner] H4 */
	uint64_t arena_mask;                          /* [owner] */
	struct pa_arena *queue_first, *queue_last;    /* [owner] to be swept, the oldest first */
	int64_t dirty_units;                          /* [owner] of its arenas, dead ones included */
	uint64_t
		helped_tick; /* [owner] of the reserve, when it last looked after others and the caches */
	uint64_t expected_tick;  /* [owner] when dead units were last counted for an idle process */
	int64_t dirty_change;    /* [owner] not yet told to the reserve */
	int64_t resident_change; /* [owner] likewise */
	int32_t arenas_more;     /* [owner] than when it was parted */
	uint32_t touches;        /* [owner] times that units became resident */
	bool is_parted;          /* [owner] H2 */
	struct pa_pool *parting; /* [owner] H6 */
	uint64_t sweeps, remote_frees;   /* [owner] statistics */
	uint64_t searched_frees;         /* [owner] remote_frees when dead units were looked for, */
	uint64_t search_again_frees;     /* [owner] and when it is worth it to do so again */
	struct pa_large_seen large_seen; /* [owner] what it resized last */
	_Atomic(const void *) gil_state; /* CPython's, or its interpreter: see python.c */
	_Atomic(uintptr_t) thread; /* whose heap it is, or which came last: see malloc.c and python.c */
	const void *interpreter;   /* [lock: life] CPython's, of a sub-interpreter's heap */
	struct pa_heap *next;      /* [lock: life] of all heaps, in order of id */
	struct pa_heap *next_abandoned;   /* [lock: life] */
	uint64_t stamp;                   /* [lock: life] when it was put among the abandoned */
	_Atomic(uint64_t) trim_served;    /* [owner] see request.h */
	struct pa_quarantine *quarantine; /* [owner] of a hardened process, from its first free on */
	bool is_plain; /* [const] its blocks are older than the process is hardened */

	/*
	 * [atomic] Pools with blocks on their remote list, each exactly once: who puts the first block
	 * there puts the pool here, and only who takes the pool from here takes the blocks.  So a pool
	 * cannot become empty and vanish while somebody is about to put it here.
	 */
	_Atomic(struct pa_pool *) remote_pools __attribute__((aligned(PA_CACHE_LINE)));
};

extern struct pa_pool pa_no_pool; /* H1; never written */
extern struct pa_heap pa_no_heap; /* of threads that have none yet: every request takes the slow path */

/* A heap for the calling thread or interpreter: an abandoned one, else a new one.  NULL: no memory. */
struct pa_heap *pa_heap_acquire(enum pa_heap_kind kind);

/* The heap of one of CPython's interpreters, made at its first request.  NULL: no memory. */
struct pa_heap *pa_heap_of_interpreter(const void *interpreter);

/* The owner ends: leave the heap to be adopted, with what is free in it as far as the reserve allows. */
void pa_heap_abandon(struct pa_heap *heap);

#define PA_SERVED_AT_ONCE 4u /* heaps, where a call has to find memory, or leaves some */

/*
 * For heaps that nobody owns, each at most once and at_most of them: collect what others have freed there, and
 * give back what is above the goal, a few arenas of each (all of them for PA_RESERVE_NOTHING).  False if there
 * are no more.
 */
bool pa_heap_serve_abandoned(enum pa_reserve_goal goal, unsigned at_most);

/* Whether one of them is known to have dirty memory: a hint, for it takes no lock, nor looks at remote frees. */
bool pa_heap_has_dirty_abandoned(void);

/* pa_heap_purge_slots for all heaps but one. */
void pa_heap_purge_all_slots(const struct pa_heap *but, enum pa_reserve_goal goal, unsigned at_most);

/* In a child: free the heaps whose lock was held by a thread that is not there. */
void pa_heap_unlock_lost(void);

/*
 * In a forked child: take new blocks from pages of the child's own, not from holes in those that it still
 * shares with its parent, each of which would have to be copied.  What is freed in shared pages, which
 * copies them anyway, is used again as ever.
 */
void pa_heap_part(struct pa_heap *heap);
PA_COLD void pa_heap_end_parting(struct pa_heap *heap); /* see pa_heap_enter */

/* First of all heaps; the caller holds PA_LOCK_LIFE. */
struct pa_heap *pa_heap_first_locked(void);
uint64_t pa_heap_adoptions_locked(void);

/* Where the first of all heaps and the count of adoptions are, for readers from outside; see record.h. */
void pa_heap_places(const void **first, const void **adoptions);

/*
 * In a forked child: every thread heap but the caller's has lost its owner.  Those that were in the
 * midst of a change are left alone for good.
 */
void pa_heap_after_fork_child(struct pa_heap *own);

/* Take back what others have freed; between pa_heap_enter and pa_heap_leave. */
void pa_heap_collect_remote(struct pa_heap *heap);

void *pa_heap_allocate_slow(struct pa_heap *heap, unsigned class_index);

/* A medium object: bytes up to PA_MEDIUM_MAX, aligned to a slot; one that has grown is likely to go on. */
void *pa_heap_allocate_run(struct pa_heap *heap, size_t bytes, bool is_growing);

/* As pa_large_allocate.  *is_zero tells whether it is known to be zero; who does not care passes NULL. */
void *pa_heap_allocate_large(struct pa_heap *heap, size_t bytes, size_t align, bool *is_zero);

/* Grow or shrink a run in place; false if the slots behind it are not free. */
bool pa_heap_resize_run(struct pa_heap *heap, struct pa_pool *pool, size_t bytes);

void pa_heap_settle(struct pa_heap *heap, struct pa_pool *pool);

/* Free what pa_heap_free did not (another owner's block, a large one) or any other; or end with a message. */
void pa_heap_free_slow(struct pa_heap *heap, void *p, const char *function);

/* Give back what belongs to no heap, until the goal is reached: free arenas and large mappings.  Returns units. */
uint64_t pa_heap_shrink_caches(enum pa_reserve_goal goal);

/* Give free memory back while the reserve is exceeded: a bounded amount of work. */
void pa_heap_relieve(struct pa_heap *heap);

/*
 * The same before so many bytes of fresh memory, which have been mapped, are touched: an amount of work in
 * proportion to these.
 */
void pa_heap_make_way(struct pa_heap *heap, size_t bytes);

/* Give back everything that is free. Returns bytes. */
size_t pa_heap_trim(struct pa_heap *heap);

/*
 * sweep.c: give back the free slots of one arena, and as much of its pools' dead units as depth says;
 * returns units.  To find dead units, the lists of their pools have to be walked.  The goal tells what it is for.
 */
enum pa_sweep_depth {
	PA_SWEEP_SLOTS, /* free slots alone */
	PA_SWEEP_POOLS, /* pools in which dead units are expected since they were swept last */
	PA_SWEEP_ALL,   /* all pools that may have any */
};
unsigned pa_heap_sweep_arena(struct pa_heap *heap, struct pa_arena *arena, enum pa_sweep_depth depth,
			     enum pa_reserve_goal goal);

/* A pool's free blocks have changed: put it into the list where it belongs now, and set its watermark. */
void pa_heap_place_pool(struct pa_heap *heap, struct pa_pool *pool);

/* Set how many of a pool's units count as dead: resident, but holding nothing. */
void pa_heap_set_dead_units(struct pa_heap *heap, struct pa_pool *pool, unsigned dead);

/* A current pool has no listed block and is not to be carved now: it is current no more. */
void pa_heap_retire_current(struct pa_heap *heap, struct pa_pool *pool);

/* An empty pool's slots become free. */
void pa_heap_free_pool(struct pa_heap *heap, struct pa_pool *pool);

/* A current pool that is empty is current no more, and its slots become free. */
void pa_heap_free_current(struct pa_heap *heap, struct pa_pool *pool);

/*
 * Around each change of the heap's lists.  The few stores of the fast path may be torn by a fork in
 * another thread: a block is lost then, no more.  Changes of lists may not; so the child is told.  And
 * they hold the heap's lock, for there is one that is not the owner and yet purges its free slots.
 */
PA_COLD void pa_heap_lock_slow(struct pa_heap *heap);

/*
 *   H5  lock is held by whoever changes lists, queue or free slots: by the owner, who then is busy, or
 *       by one who purges free slots for it, and who is gone within an arena's time.
 */

PA_INLINE bool pa_heap_try_lock(struct pa_heap *heap, enum pa_heap_lock who)
{
	uint8_t expected = PA_HEAP_UNLOCKED;

	return pa_cas_acquire(&heap->lock, &expected, (uint8_t)who); /* pairs with pa_heap_unlock */
}

PA_INLINE void pa_heap_unlock(struct pa_heap *heap)
{
	pa_store_release(&heap->lock, PA_HEAP_UNLOCKED);
}

PA_INLINE bool pa_heap_hold(struct pa_heap *heap)
{
	bool was_busy = pa_load_relaxed(&heap->is_busy);

	/* Busy first: a signal handler in between must not wait for the thread that it interrupted. */
	pa_store_relaxed(&heap->is_busy, true);
	atomic_signal_fence(memory_order_seq_cst);
	if (!was_busy && PA_UNLIKELY(!pa_heap_try_lock(heap, PA_HEAP_LOCKED_BY_OWNER)))
		pa_heap_lock_slow(heap);
	return was_busy;
}

/*
 *   H6  The counts of pools in parting are left alone until the owner's next slow path.  For where a signal
 *       handler forks, the thread may be about to count a block of one of them when it goes on in the
 *       child, and not every machine counts in one instruction.
 */
PA_INLINE bool pa_heap_enter(struct pa_heap *heap)
{
	bool was_busy = pa_heap_hold(heap);

	if (PA_UNLIKELY(heap->parting) && !was_busy)
		pa_heap_end_parting(heap);
	return was_busy;
}

PA_INLINE void pa_heap_leave(struct pa_heap *heap, bool was_busy)
{
	if (was_busy)
		return;
	pa_heap_unlock(heap);
	atomic_signal_fence(memory_order_seq_cst);
	pa_store_relaxed(&heap->is_busy, false);
}

/*
 * Purge free slots of the heap, whoever owns it, until the goal is reached: so many arenas at most, none
 * where the owner is busy.  Returns how many were looked at.
 */
unsigned pa_heap_purge_slots(struct pa_heap *heap, enum pa_reserve_goal goal, unsigned at_most);

/*
 * Purge as the owner would, dead units as well, down to what an idle process keeps, so many arenas at most.
 * is_unused has to make sure, after the heap is locked, that the owner does not use it, and will not
 * without pa_heap_wait_for_claim.  False if there is nothing more to purge, or it is used.
 */
bool pa_heap_purge_unused(struct pa_heap *heap, bool (*is_unused)(struct pa_heap *heap),
			  unsigned at_most);
void pa_heap_wait_for_claim(const struct pa_heap *heap);

/*
 * Which live block an address is the start of: its pool, or an end with a message if it is none.  NULL
 * if the address is in no arena.  heap is the caller's.
 */
struct pa_pool *pa_heap_find(const struct pa_heap *heap, const void *p, const char *function);

/* Assert all invariants of the heap, its arenas and pools.  The owner calls, and holds the heap meanwhile. */
void pa_heap_check(struct pa_heap *heap);

/*
 * What the heap's pools name as their owner: half of its address, which needs no load.  Of all heaps it
 * is made sure that these differ, see registry.c.
 */
PA_INLINE uint32_t pa_heap_tag(const struct pa_heap *heap)
{
	return (uint32_t)(uintptr_t)heap;
}

/* The heap's arenas, in an order that lasts as long as none of them changes its fullness; NULL at the end. */
PA_INLINE struct pa_arena *pa_heap_arena_from(const struct pa_heap *heap, unsigned free_slots)
{
	uint64_t lists = heap->arena_mask & ~pa_bit_range(0, free_slots);

	return lists ? heap->arenas[pa_lowest_bit(lists)] : NULL;
}

PA_INLINE struct pa_arena *pa_heap_first_arena(const struct pa_heap *heap)
{
	return pa_heap_arena_from(heap, 0);
}

PA_INLINE struct pa_arena *pa_heap_next_arena(const struct pa_heap *heap, const struct pa_arena *arena)
{
	return arena->next ? arena->next : pa_heap_arena_from(heap, pa_arena_free_count(arena) + 1);
}

PA_INLINE void *pa_heap_pop(struct pa_heap *heap, unsigned class_index)
{
	struct pa_pool *pool = heap->current[class_index];
	struct pa_block *block = pool->list;

	if (PA_UNLIKELY(!block))
		return NULL;
	pool->list = block->next;
	pool->slack++;
	block->key = 0;
	return block;
}

/* The same in a hardened process, where the lists are encoded; where somebody wrote over the link, the end. */
PA_INLINE void *pa_heap_pop_encoded(struct pa_heap *heap, unsigned class_index)
{
	struct pa_pool *pool = heap->current[class_index];
	struct pa_block *block = pool->list;

	if (!block)
		return NULL;
	if (PA_UNLIKELY(!pa_pool_has_sound_link(pool, block)))
		pa_fatal(PA_FATAL_WRITTEN, "free", block);
	pool->list = pa_block_next(block);
	pool->slack++;
	block->key = 0;
	return block;
}

/* Where an arena is in known, if it is there. */
PA_INLINE const struct pa_arena **pa_heap_known(struct pa_heap *heap, const void *p)
{
	return &heap->known[(uintptr_t)p >> PA_ARENA_SHIFT & (PA_KNOWN_ARENAS - 1)];
}

/*
 * The pool of a live block of the heap's own; NULL if it is not that simple: another owner's, a large
 * object, or misuse.  A free slot of a known arena needs no owner to tell that it holds no block.
 */
PA_INLINE struct pa_pool *pa_heap_own_pool(struct pa_heap *heap, const void *p)
{
	bool is_known = PA_LIKELY(*pa_heap_known(heap, p) == pa_arena_of(p));

	if (!is_known && !pa_pagemap_has(p))
		return NULL;
	struct pa_pool *pool = pa_arena_pool_at(p);
	uint32_t offset = pa_pool_offset(pool, p);

	if ((!is_known && pa_load_relaxed(&pool->owner) != pa_heap_tag(heap)) ||
	    PA_UNLIKELY(!pa_class_is_block_start(pool->reciprocal, offset)) ||
	    PA_UNLIKELY(pa_pool_is_absent(pool, p)) ||
	    PA_UNLIKELY(((const struct pa_block *)p)->key == pa_pool_key(pool)))
		return NULL;
	return pool;
}

/* Put a block of the heap's own back on its pool's list; whether the pool is to be settled then. */
PA_INLINE bool pa_heap_link(struct pa_pool *pool, struct pa_block *block)
{
	uintptr_t key = pa_pool_key(pool); /* read before the block is written, so read once */

	block->next = pool->list;
	block->key = key;
	pool->list = block;
	return PA_UNLIKELY(--pool->slack < 0);
}

PA_INLINE void pa_heap_put(struct pa_heap *heap, struct pa_pool *pool, struct pa_block *block)
{
	if (pa_heap_link(pool, block))
		pa_heap_settle(heap, pool);
}

/* Free a block of whatever heap, in a hardened process. */
void pa_heap_put_encoded(struct pa_heap *heap, struct pa_pool *pool, struct pa_block *block);

/* Free a block of the heap's own; false if it is not: pa_heap_free_slow finds out. */
PA_INLINE bool pa_heap_free(struct pa_heap *heap, void *p)
{
	struct pa_pool *pool = pa_heap_own_pool(heap, p);

	if (PA_UNLIKELY(!pool))
		return false;
	pa_heap_put(heap, pool, p);
	return true;
}

#endif
