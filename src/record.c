/* SPDX-License-Identifier: MIT */
/*
 * record.c: see record.h.  The layout is constant; the places are written once, at the start, and by
 * nobody ever after.
 */
#include "record.h"

#include "heap.h"
#include "large.h"
#include "manager.h"
#include "reserve.h"

#define ENTRY(as, how, type, member, one, how_many) \
	{ \
		.name = as, .kind = (how), .width = sizeof(one), .offset = offsetof(type, member), \
		.count = (how_many) \
	}
#define FIELD(as, type, member) ENTRY(as, PA_FIELD_UNSIGNED, type, member, ((type *)0)->member, 1)
#define SIGNED(as, type, member) ENTRY(as, PA_FIELD_SIGNED, type, member, ((type *)0)->member, 1)
#define BITMAP(as, type, member) \
	ENTRY(as, PA_FIELD_BITMAP, type, member, ((type *)0)->member[0], PA_UNIT_WORDS)
#define PLACE(as, type, member) ENTRY(as, PA_FIELD_UNSIGNED, type, member, uint64_t, 0)
/* One counter of 64 bits, or several that are one in sum. */
#define COUNTER(as, type, member) \
	ENTRY(as, PA_FIELD_UNSIGNED, type, member, uint64_t, \
	      sizeof(((type *)0)->member) / sizeof(uint64_t))

static const struct pa_record_field layout[] = {
	SIGNED("reserve.dirty_units", struct pa_reserve, dirty_units),
	FIELD("reserve.limit_units", struct pa_reserve, limit_units),
	FIELD("reserve.mapped_units", struct pa_reserve, mapped_units),
	COUNTER("reserve.refault_units", struct pa_reserve, refault_units),
	COUNTER("reserve.purges", struct pa_reserve, purges),
	COUNTER("reserve.purged_units", struct pa_reserve, purged_units),
	FIELD("reserve.purge_ns", struct pa_reserve, purge_ns),
	FIELD("reserve.touch_ns", struct pa_reserve, touch_ns),
	FIELD("reserve.trim_request", struct pa_reserve, trim_request),

	FIELD("manager.made", struct pa_manager_counts, arenas_made),
	FIELD("manager.released", struct pa_manager_counts, arenas_released),
	FIELD("manager.cached", struct pa_manager_counts, cached_arenas),
	FIELD("manager.cached_units", struct pa_manager_counts, cached_dirty_units),
	FIELD("manager.record_bytes", struct pa_manager_counts, record_bytes),

	FIELD("class.block_bytes", struct pa_class, block_bytes),
	FIELD("class.blocks", struct pa_class, blocks),
	FIELD("class.slots", struct pa_class, slots),

	FIELD("heap.id", struct pa_heap, id),
	FIELD("heap.kind", struct pa_heap, kind),
	FIELD("heap.state", struct pa_heap, state),
	FIELD("heap.sweeps", struct pa_heap, sweeps),
	FIELD("heap.remote_frees", struct pa_heap, remote_frees),
	FIELD("heap.trim_served", struct pa_heap, trim_served),
	FIELD("heap.next", struct pa_heap, next),

	FIELD("arena.heap", struct pa_arena, heap),
	FIELD("arena.free_slots", struct pa_arena, free_slots),
	BITMAP("arena.touched", struct pa_arena, touched),
	BITMAP("arena.purged", struct pa_arena, purged),
	FIELD("arena.dirty_units", struct pa_arena, dirty_units),
	FIELD("arena.dead_units", struct pa_arena, dead_units),
	PLACE("arena.pools", struct pa_arena, pools),

	FIELD("pool.start", struct pa_pool, start),
	FIELD("pool.list", struct pa_pool, list),
	FIELD("pool.remote", struct pa_pool, remote),
	SIGNED("pool.slack", struct pa_pool, slack),
	SIGNED("pool.watermark", struct pa_pool, watermark),
	FIELD("pool.absent", struct pa_pool, absent),
	FIELD("pool.class_index", struct pa_pool, class_index),
	FIELD("pool.run_units", struct pa_pool, run_units),
	FIELD("pool.dead_units", struct pa_pool, dead_units),
};

__attribute__((visibility("default"))) struct pa_record pyarena_record = {
	.magic = PA_RECORD_MAGIC,
	.version = PA_RECORD_VERSION,
	.bytes = sizeof(struct pa_record),
	.library = PA_VERSION,
	.field_count = sizeof layout / sizeof layout[0],
	.place_count = PA_PLACE_COUNT,
	.unit_shift = PA_UNIT_SHIFT,
	.slot_shift = PA_SLOT_SHIFT,
	.arena_shift = PA_ARENA_SHIFT,
	.first_slot = PA_ARENA_FIRST,
	.last_slot = PA_ARENA_LAST,
	.class_count = PA_CLASSES,
	.class_bytes = sizeof(struct pa_class),
	.pool_bytes = sizeof(struct pa_pool),
	.fields = layout,
};

void pa_record_publish(void)
{
	const void **places = pyarena_record.places;

	places[PA_PLACE_RESERVE] = &pa_reserve;
	places[PA_PLACE_CLASSES] = pa_classes;
	pa_manager_places(&places[PA_PLACE_MANAGER], &places[PA_PLACE_ARENAS]);
	pa_heap_places(&places[PA_PLACE_HEAPS], &places[PA_PLACE_ADOPTIONS]);
	pa_large_places(&places[PA_PLACE_LARGE_COUNT], &places[PA_PLACE_LARGE_BYTES],
			&places[PA_PLACE_LARGE_CACHED], &places[PA_PLACE_LARGE_TABLE]);
	pa_store_release(&pyarena_record.is_published, 1); /* R2 */
}
