/* SPDX-License-Identifier: MIT */
/*
 * manager.c: see manager.h.
 */
#include "manager.h"

#include "lock.h"
#include "os.h"
#include "pagemap.h"
#include "reserve.h"

#include <string.h>

#define RECORD_CHUNK (64 * PA_KIB)
#define ARENA_UNITS (PA_ARENA_USABLE * (unsigned)PA_SLOT_UNITS)

/* [lock: manager] */
static struct {
	struct pa_arena **arenas; /* all there are, in no order, cached ones included */
	size_t count, capacity;
	struct pa_arena *cache; /* free arenas with dirty units, the last one given first */
	struct pa_manager_counts counts;
	char *records; /* rest of the chunk that records are cut from */
	size_t record_bytes_left;
} manager;

static void *record_locked(size_t bytes)
{
	bytes = pa_round_up(bytes, PA_CACHE_LINE);
	if (bytes > manager.record_bytes_left) {
		size_t chunk = pa_round_up(pa_max(bytes, RECORD_CHUNK), pa_os_page_bytes());
		char *p = pa_os_map(chunk, 1);
		if (!p)
			return NULL;
		manager.records = p;
		manager.record_bytes_left = chunk;
	}
	void *record = manager.records;
	manager.records += bytes;
	manager.record_bytes_left -= bytes;
	manager.counts.record_bytes += bytes;
	return record;
}

void *pa_manager_record(size_t bytes)
{
	pa_lock(PA_LOCK_MANAGER);
	void *record = record_locked(bytes);
	pa_unlock(PA_LOCK_MANAGER);
	return record;
}

/* Room for one more arena in the registry. */
static bool registry_reserve_locked(void)
{
	if (manager.count < manager.capacity)
		return true;
	size_t capacity = manager.capacity ? 2 * manager.capacity : pa_os_page_bytes() / sizeof(void *);
	struct pa_arena **arenas = pa_os_map(capacity * sizeof(void *), 1);
	if (!arenas)
		return false;
	if (manager.arenas) {
		memcpy(arenas, manager.arenas, manager.count * sizeof(void *));
		pa_os_unmap(manager.arenas, manager.capacity * sizeof(void *));
	}
	manager.counts.record_bytes += (capacity - manager.capacity) * sizeof(void *);
	manager.arenas = arenas;
	manager.capacity = capacity;
	return true;
}

/* The cached arenas' mapping goes back to the system. */
static void release_locked(struct pa_arena *arena)
{
	uint32_t index = arena->registry_index;
	struct pa_arena *last = manager.arenas[--manager.count];

	manager.arenas[index] = last;
	last->registry_index = index;
	manager.counts.arenas_released++;
	pa_pagemap_clear(arena);
	pa_reserve_add_dirty(-(int64_t)arena->dirty_units);
	pa_sub_relaxed(&pa_reserve.mapped_units, PA_ARENA_UNITS);
	pa_add_relaxed(&pa_reserve.purges, 1);
	pa_add_relaxed(&pa_reserve.purged_units, arena->dirty_units);
	pa_reserve_released(arena->dirty_units);
	pa_os_unmap(arena, PA_ARENA_BYTES);
}

static struct pa_arena *cache_pop_locked(void)
{
	struct pa_arena *arena = manager.cache;

	if (arena) {
		manager.cache = arena->next;
		manager.counts.cached_arenas--;
		manager.counts.cached_dirty_units -= arena->dirty_units;
	}
	return arena;
}

static struct pa_arena *map_locked(void)
{
	if (!registry_reserve_locked())
		return NULL;
	struct pa_arena *arena = pa_os_map(PA_ARENA_BYTES, PA_ARENA_BYTES);
	if (!arena)
		return NULL;
	if (!pa_pagemap_set(arena)) {
		pa_os_unmap(arena, PA_ARENA_BYTES);
		return NULL;
	}
	pa_os_no_huge_pages(arena, PA_ARENA_BYTES);
	arena->registry_index = (uint32_t)manager.count;
	manager.arenas[manager.count++] = arena;
	manager.counts.arenas_made++;
	pa_add_relaxed(&pa_reserve.mapped_units, PA_ARENA_UNITS);
	return arena;
}

struct pa_arena *pa_manager_take(struct pa_heap *heap)
{
	pa_lock(PA_LOCK_MANAGER);
	struct pa_arena *arena = cache_pop_locked();
	if (arena) {
		arena->heap = heap;
		arena->next = NULL;
	} else {
		arena = map_locked();
		if (arena) {
			pa_arena_init(arena, heap);
			/* The same pages went back a moment ago: what is touched first counts as purged. */
			uint64_t again = pa_reserve_taken(ARENA_UNITS);
			unsigned first = pa_arena_first_unit(PA_ARENA_FIRST);
			for (uint64_t n = pa_min(again, ARENA_UNITS); n > 0; n -= pa_min(n, 64)) {
				pa_units_set(arena->purged, first, pa_bit_range(0, (unsigned)pa_min(n, 64)));
				first += 64;
			}
			if (again)
				arena->purged_at_ms = pa_reserve_now_ms();
		}
	}
	pa_unlock(PA_LOCK_MANAGER);
	return arena;
}

void pa_manager_give(struct pa_arena *arena)
{
	pa_lock(PA_LOCK_MANAGER);
	PA_ASSERT(arena->free_slots == PA_ARENA_ALL_FREE, "only free arenas are given back");
	PA_ASSERT(!arena->is_queued, "an arena leaves its heap's queue before it leaves the heap");
	arena->heap = NULL;
	if (arena->dirty_units == 0 || pa_reserve_is_exceeded()) {
		release_locked(arena);
	} else {
		arena->next = manager.cache;
		manager.cache = arena;
		manager.counts.cached_arenas++;
		manager.counts.cached_dirty_units += arena->dirty_units;
	}
	pa_unlock(PA_LOCK_MANAGER);
}

uint64_t pa_manager_shrink(bool all)
{
	uint64_t units = 0;

	pa_lock(PA_LOCK_MANAGER);
	while (manager.cache && (all || pa_reserve_is_exceeded())) {
		struct pa_arena *arena = cache_pop_locked();
		units += arena->dirty_units;
		release_locked(arena);
	}
	pa_unlock(PA_LOCK_MANAGER);
	return units;
}

void pa_manager_visit_locked(void (*visit)(void *context, struct pa_arena *arena), void *context)
{
	for (size_t i = 0; i < manager.count; i++)
		if (manager.arenas[i]->heap)
			visit(context, manager.arenas[i]);
}

void pa_manager_count_locked(struct pa_manager_counts *counts)
{
	*counts = manager.counts;
}
