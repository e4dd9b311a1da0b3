/* SPDX-License-Identifier: MIT */
/*
 * arena.h: one arena: an aligned MiB of address space.  Its first page is the header: these fields,
 * then the records of its pools, one for each slot.  Only the owning heap changes it.  Called by
 * manager.c and the files of the heap.
 *
 *   A1  Slot s is free exactly if bit s of free_slots is set; its record then has owner 0, and reciprocal 0:
 *       no block begins there.
 *   A2  touched has a bit for each unit that may be resident, purged for each that was given back and
 *       not touched since.  No unit is in both.
 *   A3  dirty_units counts the touched units of free slots.
 */
#ifndef PA_ARENA_H
#define PA_ARENA_H

#include "pool.h"

struct pa_heap;

/* The header takes slot 0.  As many slots follow as one page has room for records. */
#define PA_ARENA_FIRST 1u
#define PA_ARENA_LAST 61u
#define PA_ARENA_USABLE (PA_ARENA_LAST - PA_ARENA_FIRST + 1)
#define PA_ARENA_ALL_FREE (((UINT64_C(1) << PA_ARENA_USABLE) - 1) << PA_ARENA_FIRST)
#define PA_UNIT_WORDS (PA_ARENA_UNITS / 64)

struct pa_arena {
	struct pa_arena *previous; /* [owner] arenas with as many free slots; or the manager's cache */
	uint32_t no_reciprocal;    /* [const] 0, see below */
	uint32_t purged_mark;      /* [owner] of the reserve, when a part of it was purged last */
	struct pa_heap *heap;      /* [lock: manager] constant while a heap owns the arena */
	uint64_t free_slots;       /* [owner] A1 */
	uint64_t touched[PA_UNIT_WORDS]; /* [owner] A2 */
	uint64_t purged[PA_UNIT_WORDS];  /* [owner] A2 */
	struct pa_arena *queue_previous; /* [owner] arenas that wait for a sweep */
	struct pa_arena *queue_next;
	struct pa_arena *next;   /* [owner] as previous */
	uint32_t registry_index; /* [lock: manager] place in the manager's list of all arenas */
	uint8_t dirty_units;     /* [owner] A3 */
	uint8_t dead_units;      /* [owner] sum of its pools' dead_units */
	uint8_t turn_dead_units; /* [owner] how many, at the last turn */
	uint8_t turns : 7;       /* [owner] so many, in which it had nothing but dead units to give */
	bool is_queued : 1;      /* [owner] */
	/*
	 * Slots 0, 62 and 63 hold no block.  Their records are only read, for addresses where no block can
	 * be.  They stay zero, the last two because they lie behind the header's page, in memory that is
	 * never written.  So their pool's first record is at 0, which is the arena itself, and no address is the
	 * start of a block of it.
	 */
	struct pa_pool pools[PA_ARENA_SLOTS];
};

_Static_assert(offsetof(struct pa_arena, pools[PA_ARENA_LAST + 1]) <= PA_UNIT_BYTES,
	       "the header is one page");
_Static_assert(PA_ARENA_USABLE *PA_SLOT_UNITS <= UINT8_MAX, "counts of its units fit in a byte");
_Static_assert(
	offsetof(struct pa_arena, heap) + 4 == offsetof(struct pa_pool, owner) &&
		offsetof(struct pa_arena, no_reciprocal) == offsetof(struct pa_pool, reciprocal),
	"an arena looked at as a pool has no reciprocal, and the high half of an address as owner, which is no tag");

PA_INLINE struct pa_arena *pa_arena_of(const void *p)
{
	return (struct pa_arena *)((uintptr_t)p & ~(PA_ARENA_BYTES - 1));
}

/* The record of the pool that an address of an arena is in. */
PA_INLINE struct pa_pool *pa_arena_pool_at(const void *p)
{
	struct pa_arena *arena = pa_arena_of(p);
	unsigned slot = (uintptr_t)p >> PA_SLOT_SHIFT & (PA_ARENA_SLOTS - 1);

	return (struct pa_pool *)((char *)arena + arena->pools[slot].first);
}

PA_INLINE unsigned pa_arena_slot(const struct pa_pool *pool)
{
	return (unsigned)(pool - pa_arena_of(pool)->pools);
}

PA_INLINE char *pa_arena_slot_start(struct pa_arena *arena, unsigned slot)
{
	return (char *)arena + ((size_t)slot << PA_SLOT_SHIFT);
}

PA_INLINE char *pa_arena_pool_start(const struct pa_pool *pool)
{
	return pa_arena_slot_start(pa_arena_of(pool), pa_arena_slot(pool));
}

PA_INLINE unsigned pa_arena_first_unit(unsigned slot)
{
	return slot * (unsigned)PA_SLOT_UNITS;
}

PA_INLINE unsigned pa_arena_free_count(const struct pa_arena *arena)
{
	return pa_count_bits(arena->free_slots);
}

/* The first pool that begins at a slot or behind it; NULL if there is none. */
PA_INLINE struct pa_pool *pa_arena_pool_from(struct pa_arena *arena, unsigned slot)
{
	uint64_t used = PA_ARENA_ALL_FREE & ~arena->free_slots & ~pa_bit_range(0, slot);

	return used ? &arena->pools[pa_lowest_bit(used)] : NULL;
}

PA_INLINE struct pa_pool *pa_arena_first_pool(struct pa_arena *arena)
{
	return pa_arena_pool_from(arena, PA_ARENA_FIRST);
}

PA_INLINE struct pa_pool *pa_arena_next_pool(const struct pa_pool *pool)
{
	return pa_arena_pool_from(pa_arena_of(pool), pa_arena_slot(pool) + pa_pool_slots(pool));
}

/* Begin an arena on fresh or cached memory: all slots free. */
void pa_arena_init(struct pa_arena *arena, struct pa_heap *heap);

/* count bits of a unit bitmap, from bit first on; count <= 64. */
uint64_t pa_units_get(const uint64_t *bitmap, unsigned first, unsigned count);
void pa_units_set(uint64_t *bitmap, unsigned first, uint64_t bits);
void pa_units_clear(uint64_t *bitmap, unsigned first, uint64_t bits);

/* The slots with any touched unit, a bit each. */
uint64_t pa_arena_touched_slots(const struct pa_arena *arena);

/*
 * The first of count free slots in a row, those with touched units preferred; 0 when there are none.  The
 * lowest such row, or the highest.
 */
unsigned pa_arena_find(const struct pa_arena *arena, unsigned count);
unsigned pa_arena_find_last(const struct pa_arena *arena, unsigned count);

/* Take count free slots from first on out of the free ones; or put them back, their records cleared. */
void pa_arena_take(struct pa_arena *arena, unsigned first, unsigned count);
void pa_arena_give(struct pa_arena *arena, unsigned first, unsigned count);

/* Slots from first + from on, up to first + to, belong to the pool that begins at first. */
void pa_arena_extend(struct pa_arena *arena, unsigned first, unsigned from, unsigned to);

/* What A3 says that dirty_units is, counted. */
unsigned pa_arena_count_dirty(const struct pa_arena *arena);

/* How many units were not resident, and how many of these had been purged. */
struct pa_touched {
	unsigned fresh, refaults;
};

/* Note that count units from first on are about to be touched. */
struct pa_touched pa_arena_touch(struct pa_arena *arena, unsigned first, unsigned count);

/* Assert A1 to A3 and the pools' invariants. */
void pa_arena_check(struct pa_arena *arena);

#endif
