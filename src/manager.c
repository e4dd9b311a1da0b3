/* SPDX-License-Identifier: MIT */
/*
 * manager.c: see manager.h.
 */
#include "manager.h"

#include "lock.h"
#include "option.h"
#include "os.h"
#include "pagemap.h"
#include "reserve.h"

#include <limits.h>
#include <string.h>

/* All arenas there are, in no order, cached ones included. A list is replaced as a whole to grow. */
struct registry {
	size_t capacity;
	_Atomic(size_t) count;
	struct pa_arena *arenas[];
};

#define REGISTRY_BYTES(capacity) (sizeof(struct registry) + (capacity) * sizeof(struct pa_arena *))
#define REGISTRY_FIRST 500u /* arenas; about a page */
#define SHRINK_ARENAS 4u    /* given back in one call, where only the limit is exceeded */
#define RECORD_CHUNK (64 * PA_KIB)
#define GUARDED_MAX 4096u /* arenas; each guard parts a mapping, of which the kernel allows so many */
#define PAIR_BYTES (2 * PA_ARENA_BYTES) /* a huge page */
#define ARENA_UNITS (PA_ARENA_USABLE * (unsigned)PA_SLOT_UNITS)

/*
 * [lock: manager] A fork may find it in the midst of a change by a thread that the child has not.
 * What then is lost is lost, but each step leaves it sound, or pa_manager_recover makes it so.
 */
static struct {
	struct registry *registry;
	struct pa_arena *newest; /* or where that was */
	char *spare; /* mapped together with it, where arenas have huge pages; no arena yet */
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
		char *p = pa_os_map_guarded(chunk, 1);
		if (!p)
			return NULL;
		manager.record_bytes_left = 0;
		atomic_signal_fence(memory_order_seq_cst);
		manager.records = p;
		atomic_signal_fence(memory_order_seq_cst);
		manager.record_bytes_left = chunk;
	}
	void *record = manager.records;
	manager.record_bytes_left -= bytes;
	atomic_signal_fence(memory_order_seq_cst);
	manager.records += bytes;
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

static size_t registry_count(void)
{
	return manager.registry ? pa_load_relaxed(&manager.registry->count) : 0;
}

/* Room for one more arena in the registry. */
static bool registry_reserve_locked(void)
{
	struct registry *old = manager.registry;
	size_t count = registry_count();

	if (old && count < old->capacity)
		return true;
	size_t capacity = old ? 2 * old->capacity : REGISTRY_FIRST;
	size_t bytes = pa_round_up(REGISTRY_BYTES(capacity), pa_os_page_bytes());
	struct registry *registry = pa_os_map_guarded(bytes, 1);
	if (!registry)
		return false;
	registry->capacity = capacity;
	pa_store_relaxed(&registry->count, count);
	if (old)
		memcpy(registry->arenas, old->arenas, count * sizeof old->arenas[0]);
	atomic_signal_fence(memory_order_seq_cst);
	manager.registry = registry;
	manager.counts.record_bytes += bytes;
	if (old) {
		size_t old_bytes = pa_round_up(REGISTRY_BYTES(old->capacity), pa_os_page_bytes());
		manager.counts.record_bytes -= old_bytes;
		pa_os_unmap_guarded(old, old_bytes);
	}
	return true;
}

static void registry_remove_locked(struct pa_arena *arena)
{
	struct registry *registry = manager.registry;
	size_t last_index = registry_count() - 1;
	struct pa_arena *last = registry->arenas[last_index];

	registry->arenas[arena->registry_index] = last;
	atomic_signal_fence(memory_order_seq_cst);
	last->registry_index = arena->registry_index;
	pa_store_release(&registry->count, last_index); /* ordered for a fork's sake */
}

void pa_manager_recover(void)
{
	struct registry *registry = manager.registry;
	size_t kept = 0;

	/* An arena that was being moved is there twice: once where its index says, which counts. */
	for (size_t i = 0; i < registry_count(); i++) {
		struct pa_arena *arena = registry->arenas[i];
		if (arena->registry_index == i || registry->arenas[arena->registry_index] != arena)
			registry->arenas[kept++] = arena;
	}
	for (size_t i = 0; i < kept; i++)
		registry->arenas[i]->registry_index = (uint32_t)i;
	if (registry)
		pa_store_relaxed(&registry->count, kept);
	manager.counts.cached_arenas = 0;
	manager.counts.cached_dirty_units = 0;
	for (struct pa_arena *arena = manager.cache; arena; arena = arena->next) {
		manager.counts.cached_arenas++;
		manager.counts.cached_dirty_units += arena->dirty_units;
	}
}

/* Guards would part the mapping where a huge page has to be.  With larger pages, a huge one has many arenas. */
static bool has_huge_pages(void)
{
	return pa_options()->thp == PA_THP_ALWAYS && !pa_options()->harden &&
	       pa_os_page_bytes() == PA_UNIT_BYTES;
}

/*
 * In front of an arena's records there is a guard page.  It lies in the place of the last page of the MiB
 * below, which no arena uses; so arenas adjoin each other.  Where there are two, the page belongs to both,
 * and stays until the second goes.  Where pages are so large that blocks would be there, there is none.
 */
static size_t guard_bytes(void)
{
	size_t page = pa_os_page_bytes();
	bool has_room = page <= (PA_ARENA_SLOTS - 1 - PA_ARENA_LAST) * PA_SLOT_BYTES;

	return has_room && !has_huge_pages() ? page : 0;
}

/* What an arena has to itself: from its guard to the next one's. */
static struct pa_run extent(char *start)
{
	bool has_lower = pa_pagemap_has(start - 1), has_upper = pa_pagemap_has(start + PA_ARENA_BYTES);
	char *from = has_lower ? start : start - guard_bytes();
	char *to = start + PA_ARENA_BYTES - (has_upper ? guard_bytes() : 0);

	return (struct pa_run){ from, (size_t)(to - from) };
}

/* Where the next below the newest is; NULL if something else is there. */
static char *map_next_locked(void)
{
	if (!manager.newest)
		return NULL;
	char *start = (char *)manager.newest - PA_ARENA_BYTES;
	if (pa_pagemap_has(start))
		return NULL;
	struct pa_run mapping = extent(start);
	return pa_os_map_at(mapping.start, mapping.bytes) ? start : NULL;
}

/* A huge page is as large as two arenas; the second one is used next. */
static char *map_pair_locked(void)
{
	char *spare = manager.spare;

	manager.spare = NULL;
	if (spare)
		return spare;
	uintptr_t above = pa_round_down((uintptr_t)manager.newest, PAIR_BYTES);
	char *below = above > PAIR_BYTES ? (char *)(above - PAIR_BYTES) : NULL;
	bool is_below = below && pa_os_map_at(below, PAIR_BYTES);
	char *pair = is_below ? below : pa_os_map(PAIR_BYTES, PAIR_BYTES);
	if (!pair)
		return NULL;
	pa_os_advise_huge_pages(pair, PAIR_BYTES, true);
	manager.spare = pair;
	return pair + PA_ARENA_BYTES;
}

static struct pa_arena *map_locked(void)
{
	size_t guard = guard_bytes();
	bool may_guard = registry_count() < GUARDED_MAX;
	char *start = has_huge_pages() ? map_pair_locked() : NULL;

	if (start)
		return (struct pa_arena *)start;
	start = map_next_locked();
	if (!start)
		start = pa_os_map_behind(guard, PA_ARENA_BYTES, PA_ARENA_BYTES);
	if (start && guard && may_guard)
		pa_os_guard(start - guard, guard);
	if (start && may_guard && pa_is_hardened()) {
		/* Behind the header, but for a page of zeros that is read; see struct pa_arena. */
		char *behind = start + pa_max(2 * PA_UNIT_BYTES, pa_os_page_bytes());
		if (behind < start + PA_SLOT_BYTES)
			pa_os_guard(behind, (size_t)(start + PA_SLOT_BYTES - behind));
	}
	return (struct pa_arena *)start;
}

/* What is returned is to go back to the system, without the lock: that takes some ten microseconds. */
static struct pa_run forget_locked(struct pa_arena *arena, enum pa_reserve_goal goal)
{
	bool is_for_peak = pa_reserve_is_for_peak(goal);

	registry_remove_locked(arena);
	manager.counts.arenas_released++;
	pa_pagemap_clear(arena);
	pa_reserve_purged(arena->dirty_units, 1, is_for_peak);
	pa_reserve_add((struct pa_reserve_change){
		.mapped = -(int64_t)PA_ARENA_UNITS,
		.resident = -(int64_t)arena->dirty_units,
		.dirty = -(int64_t)arena->dirty_units,
	});
	pa_reserve_released(arena->dirty_units);
	return extent((char *)arena);
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

/* One page of it is written; a huge one would be 2 MiB of each process.  Seldom again: few have no arena left. */
static void keep_pagemap_small(void)
{
	uintptr_t page = pa_os_page_bytes(), end = (uintptr_t)&pa_pagemap[PA_PAGEMAP_WORDS];
	uintptr_t start = pa_round_up((uintptr_t)pa_pagemap, page);

	pa_os_advise_huge_pages((void *)start, pa_round_down(end, page) - start, false);
}

static struct pa_arena *make_locked(void)
{
	if (!registry_reserve_locked())
		return NULL;
	struct pa_arena *arena = map_locked();
	if (!arena)
		return NULL;
	if (registry_count() == 0)
		keep_pagemap_small();
	if (!pa_pagemap_set(arena)) {
		struct pa_run mapping = extent((char *)arena);
		pa_os_unmap(mapping.start, mapping.bytes);
		return NULL;
	}
	if (!has_huge_pages())
		pa_os_advise_huge_pages(arena, PA_ARENA_BYTES, false);
	manager.newest = arena;
	size_t count = registry_count();
	arena->registry_index = (uint32_t)count;
	manager.registry->arenas[count] = arena;
	pa_store_release(&manager.registry->count, count + 1); /* ordered for a fork's sake */
	manager.counts.arenas_made++;
	pa_reserve_add((struct pa_reserve_change){ .mapped = PA_ARENA_UNITS });
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
		arena = make_locked();
		if (arena) {
			pa_arena_init(arena, heap);
			/* The same pages went back a moment ago: what is touched first counts as purged. */
			uint64_t again = pa_reserve_taken(ARENA_UNITS, &arena->purged_mark);
			unsigned first = pa_arena_first_unit(PA_ARENA_FIRST);
			for (uint64_t n = pa_min(again, ARENA_UNITS); n > 0; n -= pa_min(n, 64)) {
				pa_units_set(arena->purged, first,
					     pa_bit_range(0, (unsigned)pa_min(n, 64)));
				first += 64;
			}
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
	struct pa_run released = { 0 };
	if (arena->dirty_units == 0 || pa_reserve_is_exceeded()) {
		released = forget_locked(arena, PA_RESERVE_LIMIT);
	} else {
		arena->next = manager.cache;
		manager.cache = arena;
		manager.counts.cached_arenas++;
		manager.counts.cached_dirty_units += arena->dirty_units;
	}
	pa_unlock(PA_LOCK_MANAGER);
	if (released.start)
		pa_os_unmap(released.start, released.bytes);
}

/* One cached arena's mapping, as long as there is one and the goal is not reached; none then. */
static struct pa_run forget_cached(enum pa_reserve_goal goal, uint64_t *units)
{
	struct pa_arena *arena = NULL;
	struct pa_run released = { 0 };

	pa_lock(PA_LOCK_MANAGER);
	if (pa_reserve_is_above(goal))
		arena = cache_pop_locked();
	if (arena) {
		*units += arena->dirty_units;
		released = forget_locked(arena, goal);
	}
	pa_unlock(PA_LOCK_MANAGER);
	return released;
}

uint64_t pa_manager_shrink(enum pa_reserve_goal goal)
{
	unsigned at_most = goal == PA_RESERVE_LIMIT ? SHRINK_ARENAS : UINT_MAX;
	uint64_t units = 0;

	for (unsigned n = 0; n < at_most; n++) {
		struct pa_run released = forget_cached(goal, &units);
		if (!released.start)
			break;
		pa_os_unmap(released.start, released.bytes);
	}
	return units;
}

void pa_manager_visit_locked(void (*visit)(void *context, struct pa_arena *arena), void *context)
{
	for (size_t i = 0; i < registry_count(); i++)
		if (manager.registry->arenas[i]->heap)
			visit(context, manager.registry->arenas[i]);
}

void pa_manager_count_locked(struct pa_manager_counts *counts)
{
	*counts = manager.counts;
}

_Static_assert(offsetof(struct registry, count) == 8 && offsetof(struct registry, arenas) == 16,
	       "the form that record.h tells");

void pa_manager_places(const void **counts, const void **arenas)
{
	*counts = &manager.counts;
	*arenas = &manager.registry;
}
