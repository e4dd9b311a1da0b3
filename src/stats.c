/* SPDX-License-Identifier: MIT */
/*
 * stats.c: see stats.h.  Reads records of other owners without their help: every arena stays mapped
 * while the manager's lock is held, and a pool's record may change but not vanish.
 */
#include "stats.h"

#include "large.h"
#include "lock.h"
#include "manager.h"
#include "os.h"
#include "reserve.h"

#include <string.h>

/* A field that its owner writes while we read it: as it is now, torn by no compiler. */
#define LOOK(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)

static size_t units_to_bytes(uint64_t units)
{
	return units << PA_UNIT_SHIFT;
}

struct pool_view {
	unsigned class_index;
	uint64_t live_blocks;
	uint64_t live_bytes;
	uint64_t live_unit_count; /* units that are present in a pool with live blocks */
	uint64_t idle_unit_count; /* resident units that hold nothing */
	unsigned slots;
};

static struct pool_view view_pool(struct pa_arena *arena, unsigned slot)
{
	struct pa_pool *pool = &arena->pools[slot];
	struct pool_view view = { .class_index = LOOK(pool->class_index) };
	unsigned first = pa_arena_first_unit(slot), run_units = LOOK(pool->run_units);
	/* Of two words, so it may be off while the process runs. */
	int used = LOOK(pool->slack) + LOOK(pool->watermark) + 1;

	if (view.class_index == PA_CLASS_RUN)
		view.slots = (run_units + (unsigned)PA_SLOT_UNITS - 1) / (unsigned)PA_SLOT_UNITS;
	else if (view.class_index < PA_CLASS_RUN)
		view.slots = pa_classes[view.class_index].slots;
	if (view.slots == 0 || slot + view.slots > PA_ARENA_SLOTS || LOOK(pool->start) == 0) {
		view.slots = 1; /* it has just come or gone */
		view.class_index = 0;
		return view;
	}
	view.live_blocks = pa_min(used > 0 ? (uint64_t)used : 0, pa_classes[view.class_index].blocks);
	if (view.class_index == PA_CLASS_RUN) {
		view.live_unit_count = view.live_blocks * run_units;
		view.live_bytes = units_to_bytes(view.live_unit_count);
		return view;
	}
	uint16_t absent = pa_pool_in_order(LOOK(pool->absent), LOOK(pool->start));
	uint16_t present = pa_pool_units(view.class_index) & (uint16_t)~absent;
	uint64_t touched = pa_units_get(arena->touched, first, view.slots * (unsigned)PA_SLOT_UNITS);
	view.live_bytes = view.live_blocks * pa_classes[view.class_index].block_bytes;
	if (view.live_blocks > 0)
		view.live_unit_count =
			pa_count_bits(present) - pa_min(pa_count_bits(present), LOOK(pool->dead_units));
	view.idle_unit_count = pa_count_bits(touched & absent & pa_bit_range(0, view.slots * 4u));
	return view;
}

struct arena_view {
	void (*pool)(void *context, const struct pool_view *pool);
	void *context;
	uint64_t dirty_units; /* of free slots, and idle in pools */
	uint64_t purged_units;
	uint64_t live_bytes;
};

static void view_arena(struct arena_view *view, struct pa_arena *arena)
{
	uint64_t free_slots = LOOK(arena->free_slots);

	view->dirty_units += LOOK(arena->dirty_units) + LOOK(arena->dead_units);
	for (unsigned i = 0; i < PA_UNIT_WORDS; i++)
		view->purged_units += pa_count_bits(LOOK(arena->purged[i]));
	for (unsigned slot = PA_ARENA_FIRST; slot <= PA_ARENA_LAST;) {
		if (free_slots >> slot & 1) {
			slot++;
			continue;
		}
		struct pool_view pool = view_pool(arena, slot);
		view->live_bytes += pool.live_bytes;
		if (view->pool)
			view->pool(view->context, &pool);
		slot += pool.slots;
	}
}

static void count_pool(void *context, const struct pool_view *pool)
{
	struct pa_snapshot *snapshot = context;
	struct pyarena_class_stats *class = &snapshot->classes[pool->class_index];

	class->live_blocks += pool->live_blocks;
	class->pools++;
	class->pool_bytes += pool->slots * PA_SLOT_BYTES;
	snapshot->stats.live_blocks += pool->live_blocks;
	snapshot->stats.live_page_bytes += units_to_bytes(pool->live_unit_count);
}

struct taking {
	struct pa_snapshot *snapshot;
	struct arena_view view;
};

static void take_arena(void *context, struct pa_arena *arena)
{
	struct taking *taking = context;

	taking->snapshot->stats.arenas++;
	view_arena(&taking->view, arena);
}

void pa_stats_take(struct pa_snapshot *snapshot)
{
	struct pyarena_stats *stats = &snapshot->stats;
	struct taking taking = {
		.snapshot = snapshot,
		.view = { .pool = count_pool, .context = snapshot },
	};
	struct pa_manager_counts manager;
	struct pa_large_counts large;

	memset(snapshot, 0, sizeof *snapshot);
	stats->size = sizeof *stats;
	for (unsigned i = 0; i < PA_CLASSES; i++)
		snapshot->classes[i].block_bytes = pa_classes[i].block_bytes;

	pa_lock(PA_LOCK_LIFE);
	pa_lock(PA_LOCK_MANAGER);
	pa_manager_visit_locked(take_arena, &taking);
	pa_manager_count_locked(&manager);
	pa_unlock(PA_LOCK_MANAGER);
	for (struct pa_heap *heap = pa_heap_first_locked(); heap; heap = heap->next) {
		stats->heaps++;
		stats->sweeps += LOOK(heap->sweeps);
		stats->remote_frees += LOOK(heap->remote_frees);
	}
	stats->adoptions = pa_heap_adoptions_locked();
	pa_large_count(&large);
	pa_unlock(PA_LOCK_LIFE);

	stats->large_bytes = large.bytes;
	stats->large_blocks = large.objects;
	stats->live_bytes = taking.view.live_bytes + large.bytes;
	stats->live_blocks += large.objects;
	stats->live_page_bytes += large.bytes;
	stats->cached_bytes = units_to_bytes(manager.cached_dirty_units) + large.cached_bytes;
	stats->dirty_bytes = units_to_bytes(taking.view.dirty_units) + stats->cached_bytes;
	stats->purged_bytes = units_to_bytes(taking.view.purged_units);
	stats->mapped_bytes = units_to_bytes(pa_load_relaxed(&pa_reserve.mapped_units));
	stats->reserve_bytes = units_to_bytes(pa_load_relaxed(&pa_reserve.limit_units));
	stats->record_bytes = manager.record_bytes + large.record_bytes +
			      (stats->arenas + manager.cached_arenas) * PA_UNIT_BYTES;
	stats->arenas_made = manager.arenas_made;
	stats->arenas_released = manager.arenas_released;
	stats->purges = pa_load_relaxed(&pa_reserve.purges);
	stats->purged_pages =
		units_to_bytes(pa_load_relaxed(&pa_reserve.purged_units)) / pa_os_page_bytes();
	stats->refault_pages = units_to_bytes(pa_reserve_refault_units()) / pa_os_page_bytes();
	stats->page_cost_ns = pa_reserve_unit_ns();
}

struct heap_view {
	struct pa_heap *heap;
	struct arena_view view;
	uint64_t arenas;
};

static void view_if_own(void *context, struct pa_arena *arena)
{
	struct heap_view *view = context;

	if (arena->heap != view->heap)
		return;
	view->arenas++;
	view_arena(&view->view, arena);
}

size_t pa_stats_heaps(struct pyarena_heap_stats *heaps, size_t count)
{
	size_t n = 0;

	pa_lock(PA_LOCK_LIFE);
	for (struct pa_heap *heap = pa_heap_first_locked(); heap; heap = heap->next, n++) {
		if (n >= count)
			continue;
		struct heap_view view = { .heap = heap };
		pa_lock(PA_LOCK_MANAGER);
		pa_manager_visit_locked(view_if_own, &view);
		pa_unlock(PA_LOCK_MANAGER);
		heaps[n] = (struct pyarena_heap_stats){
			.id = heap->id,
			.is_interpreter = heap->kind == PA_HEAP_INTERPRETER,
			.is_abandoned = heap->state != PA_HEAP_OWNED,
			.arenas = view.arenas,
			.live_bytes = view.view.live_bytes,
			.dirty_bytes = units_to_bytes(view.view.dirty_units),
		};
	}
	pa_unlock(PA_LOCK_LIFE);
	return n;
}
