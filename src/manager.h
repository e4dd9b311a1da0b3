/* SPDX-License-Identifier: MIT */
/*
 * manager.h: the arena manager: hands arenas to heaps and takes them back, keeps a few that are free
 * as part of the reserve, gives the others to the system, and knows all arenas there are.  Guarded by
 * PA_LOCK_MANAGER.  Called by placement.c, registry.c, relieve.c and those that report.
 */
#ifndef PA_MANAGER_H
#define PA_MANAGER_H

#include "arena.h"
#include "reserve.h"

/* A free arena for the heap; NULL when the system has none. */
struct pa_arena *pa_manager_take(struct pa_heap *heap);

/* Take back an arena of which all slots are free. */
void pa_manager_give(struct pa_arena *arena);

/*
 * Give free arenas back to the system until the goal is reached, or, where that is the limit, a few of
 * them; returns the units given back.
 */
uint64_t pa_manager_shrink(enum pa_reserve_goal goal);

/* Memory for records, never given back; zeroed.  NULL when the system has none. */
void *pa_manager_record(size_t bytes);

/* Call visit for each arena that a heap owns. The caller holds PA_LOCK_MANAGER. */
void pa_manager_visit_locked(void (*visit)(void *context, struct pa_arena *arena), void *context);

struct pa_manager_counts {
	uint64_t arenas_made;
	uint64_t arenas_released;
	uint64_t cached_arenas;
	uint64_t cached_dirty_units;
	uint64_t record_bytes;
};
void pa_manager_count_locked(struct pa_manager_counts *counts);

/* Where the counts and the list of all arenas are, for readers from outside; see record.h. */
void pa_manager_places(const void **counts, const void **arenas);

/* In a forked child, when the lock was held by a thread that is not there: make the records good. */
void pa_manager_recover(void);

#endif
