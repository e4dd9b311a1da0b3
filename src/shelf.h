/* SPDX-License-Identifier: MIT */
/*
 * shelf.h: where the pools of one heap wait until they are current: in lists by class and fullness, and
 * how many frees later they are looked at again.  The heap's owner calls, between pa_heap_enter and
 * pa_heap_leave.  Called by heap.c and registry.c; pa_heap_place_pool and pa_heap_part, which others call, are in
 * heap.h.
 */
#ifndef PA_SHELF_H
#define PA_SHELF_H

#include "heap.h"

/* Take a pool out of the list that its state names, or put it there (H2). */
void pa_shelf_unlink(struct pa_heap *heap, struct pa_pool *pool);
void pa_shelf_link(struct pa_heap *heap, struct pa_pool *pool);

/* The fullest pool of a class that has listed blocks, and of those the one placed last; or NULL. */
PA_INLINE struct pa_pool *pa_shelf_fullest(const struct pa_heap_class *class)
{
	return class->partial_mask ? class->partial[pa_highest_bit(class->partial_mask)] : NULL;
}

/* Take that one out of its list. */
PA_INLINE void pa_shelf_take_fullest(struct pa_heap_class *class, const struct pa_pool *fullest)
{
	PA_ASSERT(class->partial[fullest->bucket] == fullest, "H2: it is the first of its list");
	class->partial[fullest->bucket] = fullest->next;
	if (fullest->next)
		fullest->next->previous = NULL;
	else
		class->partial_mask &= (uint8_t) ~(1u << fullest->bucket);
}

/* Units of memory that a pool spans. */
unsigned pa_shelf_units(const struct pa_pool *pool);

/* Estimate anew how many of a pool's units are dead. */
void pa_shelf_expect_dead(struct pa_heap *heap, struct pa_pool *pool);

/* The same for all pools in lists, which may have lost blocks since they were looked at last. */
void pa_shelf_expect_dead_anew(struct pa_heap *heap);

/*
 * Find the dead units of all pools: what is free in them leaves the lists, and they count until they are given
 * back or taken up again.  Returns how many arenas there are.
 */
unsigned pa_shelf_find_dead(struct pa_heap *heap);

/*
 * List all pools of a parted heap again, if it has grown so far that what it shares matters less than what
 * lies idle there.  Where there is no other memory (is_needed), those of any heap, and those as well that wait
 * for more frees.
 */
void pa_shelf_join(struct pa_heap *heap, bool is_needed);

/* Assert H2 and what else has to hold for a pool of the heap. */
void pa_shelf_check(struct pa_heap *heap, struct pa_pool *pool);

#endif
