/* SPDX-License-Identifier: MIT */
/*
 * placement.h: the arenas of one heap: ordered by fullness, so that new pools come from the most full
 * one; queued for the sweep, the oldest first; their resident and dirty units told to the
 * reserve.  The heap's owner calls, between pa_heap_enter and pa_heap_leave, through the other files of the heap.
 */
#ifndef PA_PLACEMENT_H
#define PA_PLACEMENT_H

#include "heap.h"

/*
 * The first of count free slots in a row, in the most full arena that has them, or else in one from
 * the manager; pa_placement_take takes them.  NULL when there is no memory.
 */
struct pa_arena *pa_placement_find(struct pa_heap *heap, unsigned count, unsigned *first);

/* The same among the arenas that the heap has. */
struct pa_arena *pa_placement_find_own(struct pa_heap *heap, unsigned count, unsigned *first);
void pa_placement_take(struct pa_heap *heap, struct pa_arena *arena, unsigned first, unsigned count);

/* Slots become free.  An arena that is free as a whole leaves the heap: the caller forgets it. */
void pa_placement_release(struct pa_heap *heap, struct pa_arena *arena, unsigned first, unsigned count);

/* An arena's dirty or dead units have changed by so many. */
void pa_placement_account(struct pa_heap *heap, struct pa_arena *arena, int change);

/* As pa_arena_touch, and tell the reserve. */
void pa_placement_touch(struct pa_heap *heap, struct pa_arena *arena, unsigned first, unsigned count);

/* Tell the reserve what has been kept back. */
void pa_placement_flush(struct pa_heap *heap);

/* Take an arena out of the sweep's queue, if it is there; put it at its end, if it is not. */
void pa_placement_dequeue(struct pa_heap *heap, struct pa_arena *arena);
void pa_placement_enqueue(struct pa_heap *heap, struct pa_arena *arena);

/* After a sweep that was never ended: the queue and the counts anew, from what the arenas tell. */
void pa_placement_rebuild_queue(struct pa_heap *heap);

#endif
