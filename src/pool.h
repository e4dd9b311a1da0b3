/* SPDX-License-Identifier: MIT */
/*
 * pool.h: one pool: the record of a run of slots that is cut into blocks of one size class.
 * The record is one cache line in its arena's header, out of reach of the blocks.  Only the owning
 * heap changes it, but for the remote list.  Called by arena.c, heap.c and sweep.c.
 *
 * A block is live, listed or unlisted.  A unit of the pool is present or absent.
 *   P1  A block is listed exactly if it is free and touches no absent unit.
 *   P2  slack and watermark together count the live blocks, those on the remote list included.
 *   P3  A live block touches no absent unit.
 * A new pool is absent as a whole; carving a unit and taking it up again after it was purged are the
 * same act.
 */
#ifndef PA_POOL_H
#define PA_POOL_H

#include "atomic.h"
#include "base.h"
#include "secret.h"
#include "sizeclass.h"

#include <string.h>

/*
 * A free block.  The key is there as long as the block is free, so it tells a second free of it.  A live
 * block does not begin with it, unless somebody writes it there; so who sees it makes sure.
 */
struct pa_block {
	struct pa_block *next;
	uintptr_t key;
};

/* Not on the fast path, where links are what they seem: a hardened process does not take it. */
PA_INLINE struct pa_block *pa_block_next(const struct pa_block *block)
{
	return (struct pa_block *)((uintptr_t)block->next ^ pa_secret_of_link(block));
}

PA_INLINE void pa_block_set_next(struct pa_block *block, const struct pa_block *next)
{
	block->next = (struct pa_block *)((uintptr_t)next ^ pa_secret_of_link(block));
}

enum pa_pool_state {
	PA_POOL_FREE = 0, /* no pool: a free slot, or the tail of a pool of several */
	PA_POOL_CURRENT,  /* the heap allocates from it */
	PA_POOL_PARTIAL,  /* has listed blocks; in the bucket of its fullness */
	PA_POOL_CARVABLE, /* has absent units; what else is free in it is too little to matter */
	PA_POOL_FULL,     /* nothing absent, and too little free to matter */
	PA_POOL_RUN,      /* a medium object */
};

/* Of the largest pool: the bits of absent. */
#define PA_POOL_UNITS_MAX 16u

/* Further down than blocks can be freed, and yet slack and it have room in their words. */
#define PA_NO_WATERMARK (INT16_MIN / 2)

struct pa_pool {
	struct pa_block *list;   /* [owner] free blocks */
	uint32_t reciprocal;     /* [const] of the class, see sizeclass.h */
	uint32_t start;          /* [const] the low half of the address of the first block */
	int16_t slack;           /* [owner] frees before the one that reaches the watermark */
	int16_t watermark;       /* [owner] a free that leaves so many live is handled by heap.c */
	_Atomic(uint32_t) owner; /* [owner] tag of the heap, 0 for a free slot; read by all */
	uint16_t absent;         /* [owner] a bit for each unit, as pa_pool_is_absent finds it */
	uint16_t first;          /* [const] where in the arena the record of the pool's first slot is */
	uint8_t class_index;     /* [const] */
	uint8_t state;           /* [owner] enum pa_pool_state */
	uint8_t dead_units;      /* [owner] how many units a sweep would probably find dead */
	union {
		uint8_t bucket;    /* [owner] of a partial pool: its fullness */
		uint8_t run_units; /* [owner] of a run: units that the object covers */
	};
	_Atomic(struct pa_block *) remote; /* [atomic] freed by others, not yet collected */
	struct pa_pool *remote_next;       /* [atomic] see remote_pools in heap.h */
	struct pa_pool *previous;          /* [owner] in the list of its state */
	struct pa_pool *next;
};

_Static_assert(sizeof(struct pa_pool) == PA_CACHE_LINE, "a record is one cache line");
_Static_assert(8 * sizeof((struct pa_pool){ 0 }.absent) == PA_POOL_UNITS_MAX, "each unit has a bit");

/*
 * Class and place together, in one load.  So pools that use a slot one after the other differ, unless they
 * are of one class: of what the first leaves in the second's blocks, no word is its key.
 */
PA_INLINE uintptr_t pa_pool_key(const struct pa_pool *pool)
{
	uint64_t key;

	_Static_assert(offsetof(struct pa_pool, reciprocal) % sizeof key == 0 &&
			       offsetof(struct pa_pool, start) ==
				       offsetof(struct pa_pool, reciprocal) + sizeof pool->reciprocal,
		       "they are one word");
	memcpy(&key, &pool->reciprocal, sizeof key);
	return key;
}

/*
 * How many blocks are live.  Not a field of its own, for then each free would load the watermark to
 * compare it; slack is counted down, and the sign tells.
 */
PA_INLINE int pa_pool_used(const struct pa_pool *pool)
{
	return pool->slack + pool->watermark + 1;
}

PA_INLINE void pa_pool_set_watermark(struct pa_pool *pool, int watermark)
{
	pool->slack = (int16_t)(pa_pool_used(pool) - watermark - 1);
	pool->watermark = (int16_t)watermark;
}

PA_INLINE bool pa_pool_is_at_watermark(const struct pa_pool *pool)
{
	return pool->slack < 0;
}

PA_INLINE const struct pa_class *pa_pool_class(const struct pa_pool *pool)
{
	return &pa_classes[pool->class_index];
}

PA_INLINE unsigned pa_pool_slots(const struct pa_pool *pool)
{
	return pool->class_index == PA_CLASS_RUN
		       ? (pool->run_units + (unsigned)PA_SLOT_UNITS - 1) / (unsigned)PA_SLOT_UNITS
		       : pa_pool_class(pool)->slots;
}

/* What each of its blocks has room for. */
PA_INLINE size_t pa_pool_block_bytes(const struct pa_pool *pool)
{
	return pool->class_index == PA_CLASS_RUN ? (size_t)pool->run_units << PA_UNIT_SHIFT
						 : pa_pool_class(pool)->block_bytes;
}

/* How far an address of the pool is behind its first block. */
PA_INLINE uint32_t pa_pool_offset(const struct pa_pool *pool, const void *p)
{
	return (uint32_t)(uintptr_t)p - pool->start;
}

/*
 * Whether an address of the pool is in an absent unit.  The address alone tells the bit.  Not to look first whether
 * there are any is quicker: some pools have some, others have none, and which of them a free is for is hard
 * to guess for a processor.
 */
PA_INLINE bool pa_pool_is_absent(const struct pa_pool *pool, const void *p)
{
	return (uint32_t)pool->absent >> ((uintptr_t)p >> PA_UNIT_SHIFT) % PA_POOL_UNITS_MAX & 1;
}

/* Bits rotated down by so many places. */
PA_INLINE uint16_t pa_pool_rotate(uint32_t bits, unsigned places)
{
	return (uint16_t)(bits >> places | bits << (PA_POOL_UNITS_MAX - places));
}

/* Where in absent the bit of the first unit is, of a pool that begins at start. */
PA_INLINE unsigned pa_pool_first_bit(uint32_t start)
{
	return (start >> PA_UNIT_SHIFT) % PA_POOL_UNITS_MAX;
}

/* The same bits in the order of the pool's units, the lowest is the first; and back. */
PA_INLINE uint16_t pa_pool_in_order(uint32_t absent, uint32_t start)
{
	return pa_pool_rotate(absent, pa_pool_first_bit(start));
}

PA_INLINE uint16_t pa_pool_absent(const struct pa_pool *pool)
{
	return pa_pool_in_order(pool->absent, pool->start);
}

PA_INLINE void pa_pool_set_absent(struct pa_pool *pool, uint16_t units)
{
	pool->absent = pa_pool_rotate(units, PA_POOL_UNITS_MAX - pa_pool_first_bit(pool->start));
}

/* All units that blocks of the class can touch, a bit each, the lowest is the first.  Units behind are always absent. */
uint16_t pa_pool_units(unsigned class_index);

/* Those of them that are absent: what can be carved. */
uint16_t pa_pool_carvable(const struct pa_pool *pool);

/*
 * Begin a pool on the record of its first slot; all its units are absent.  start is its first block,
 * which may lie behind the slot's start as sizeclass.h tells.
 */
void pa_pool_init(struct pa_pool *pool, const char *start, unsigned class_index, uint32_t owner);

/* Begin a run: one live block that covers so many units. */
void pa_pool_init_run(struct pa_pool *pool, const char *start, unsigned units, uint32_t owner);

/*
 * The absent units that have to be taken up so that at least one more block is listed, beginning
 * with unit; pa_pool_carve lists the blocks.  start is the pool's first byte.
 */
uint16_t pa_pool_carve_units(const struct pa_pool *pool, unsigned unit);
void pa_pool_carve(struct pa_pool *pool, char *start, uint16_t units);

/* Whether a listed block's link leads to a block of the pool, or nowhere. */
bool pa_pool_has_sound_link(const struct pa_pool *pool, const struct pa_block *block);

/* Take all blocks out of the list that touch a dead unit; the dead units become absent and are returned. */
uint16_t pa_pool_take_dead(struct pa_pool *pool, char *start);

/* How many present units are probably dead, by the number of live blocks alone. */
unsigned pa_pool_expect_dead(const struct pa_pool *pool);

/* Whether a block of the pool is free, or among what others have freed: certain, but not quick. */
bool pa_pool_has_freed(const struct pa_pool *pool, const struct pa_block *block);

/* Assert P1 to P3 as far as they can be seen; returns the number of listed blocks. */
unsigned pa_pool_check(const struct pa_pool *pool);

#endif
