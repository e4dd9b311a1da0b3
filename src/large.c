/* SPDX-License-Identifier: MIT */
/*
 * large.c: see large.h.
 */
#include "large.h"

#include "lock.h"
#include "os.h"
#include "reserve.h"

#include <string.h>

#define CACHE_MAX 16u
#define TABLE_FIRST 256u /* entries; a power of two */

struct mapping {
	char *start; /* NULL: empty */
	size_t bytes;
};

/* Linear probing, at most half full. */
struct table {
	size_t capacity; /* a power of two */
	struct mapping entries[];
};

#define TABLE_BYTES(capacity) (sizeof(struct table) + (capacity) * sizeof(struct mapping))

/*
 * [lock: large] A fork may find it in the midst of a change by a thread that the child has not; see
 * pa_large_recover.
 */
static struct {
	struct table *table;
	size_t count;
	size_t bytes;
	struct mapping cache[CACHE_MAX]; /* freed, the oldest first */
	unsigned cached;
	size_t cached_bytes;
} large;

static int64_t units_of(size_t bytes)
{
	return (int64_t)(bytes >> PA_UNIT_SHIFT);
}

static size_t home_of(const struct table *table, const void *start)
{
	/* Fibonacci hashing of the unit number: the high bits of the product are well mixed. */
	uint64_t hash = ((uintptr_t)start >> PA_UNIT_SHIFT) * UINT64_C(0x9e3779b97f4a7c15);

	return (size_t)(hash >> 32) & (table->capacity - 1);
}

/* The entry of a mapping, or the empty one where it would be. */
static struct mapping *probe(struct table *table, const void *start)
{
	size_t i = home_of(table, start);

	while (table->entries[i].start && table->entries[i].start != start)
		i = (i + 1) & (table->capacity - 1);
	return &table->entries[i];
}

static struct mapping *find_locked(const void *start)
{
	if (large.count == 0)
		return NULL;
	struct mapping *entry = probe(large.table, start);
	return entry->start ? entry : NULL;
}

/* A copy of the table with another capacity takes its place; false when there is no memory. */
static bool table_replace_locked(size_t capacity)
{
	struct table *old = large.table;
	struct table *table = pa_os_map(pa_round_up(TABLE_BYTES(capacity), pa_os_page_bytes()), 1);

	if (!table)
		return false;
	table->capacity = capacity;
	for (size_t i = 0; old && i < old->capacity; i++)
		if (old->entries[i].start)
			*probe(table, old->entries[i].start) = old->entries[i];
	atomic_signal_fence(memory_order_seq_cst);
	large.table = table;
	if (old)
		pa_os_unmap(old, pa_round_up(TABLE_BYTES(old->capacity), pa_os_page_bytes()));
	return true;
}

/* Room for one more entry. */
static bool table_reserve_locked(void)
{
	if (!large.table)
		return table_replace_locked(TABLE_FIRST);
	return large.count + 1 <= large.table->capacity / 2 ||
	       table_replace_locked(2 * large.table->capacity);
}

static void insert_locked(struct mapping mapping)
{
	struct mapping *entry = probe(large.table, mapping.start);

	entry->bytes = mapping.bytes;
	atomic_signal_fence(memory_order_seq_cst);
	entry->start = mapping.start; /* an entry is there when its start is */
	large.count++;
	large.bytes += mapping.bytes;
}

/* Entries behind the removed one move up, so that probing never meets a gap before its goal. */
static void remove_locked(struct mapping *entry)
{
	struct table *table = large.table;
	size_t mask = table->capacity - 1;
	size_t gap = (size_t)(entry - table->entries);

	large.count--;
	large.bytes -= entry->bytes;
	for (size_t i = (gap + 1) & mask; table->entries[i].start; i = (i + 1) & mask) {
		size_t home = home_of(table, table->entries[i].start);
		if (((i - home) & mask) >= ((i - gap) & mask)) {
			table->entries[gap].start = NULL; /* never one's start with the other's size */
			atomic_signal_fence(memory_order_seq_cst);
			table->entries[gap].bytes = table->entries[i].bytes;
			atomic_signal_fence(memory_order_seq_cst);
			table->entries[gap].start = table->entries[i].start;
			gap = i;
		}
	}
	table->entries[gap].start = NULL;
}

/*
 * An entry that was being moved may be there twice, which the copy mends; none is missing but the one
 * that was being removed.  The cache's entries may be there twice as well, and are forgotten: their
 * memory stays mapped for nothing, in this process.
 */
void pa_large_recover(void)
{
	if (!large.table || !table_replace_locked(large.table->capacity))
		return;
	large.count = 0;
	large.bytes = 0;
	for (size_t i = 0; i < large.table->capacity; i++) {
		if (!large.table->entries[i].start)
			continue;
		large.count++;
		large.bytes += large.table->entries[i].bytes;
	}
	pa_reserve_add_dirty(-units_of(large.cached_bytes));
	large.cached = 0;
	large.cached_bytes = 0;
}

static struct mapping cache_take_locked(unsigned index)
{
	struct mapping taken = large.cache[index];

	large.cached--;
	memmove(&large.cache[index], &large.cache[index + 1],
		(large.cached - index) * sizeof large.cache[0]);
	large.cached_bytes -= taken.bytes;
	pa_reserve_add_dirty(-units_of(taken.bytes));
	return taken;
}

static void cache_put_locked(struct mapping mapping)
{
	large.cache[large.cached++] = mapping;
	large.cached_bytes += mapping.bytes;
	pa_reserve_add_dirty(units_of(mapping.bytes));
}

static void give_back(struct mapping mapping)
{
	pa_os_unmap(mapping.start, mapping.bytes);
	pa_sub_relaxed(&pa_reserve.mapped_units, (uint64_t)units_of(mapping.bytes));
	pa_add_relaxed(&pa_reserve.purges, 1);
	pa_add_relaxed(&pa_reserve.purged_units, (uint64_t)units_of(mapping.bytes));
	pa_reserve_released((uint64_t)units_of(mapping.bytes));
}

/*
 * A freed mapping for bytes: the smallest that is large enough, cut to size, its rest staying in the
 * cache; else the largest that need not more than double, grown.
 */
static char *cache_allocate(size_t bytes)
{
	struct mapping taken = { 0 };
	unsigned best = CACHE_MAX;

	pa_lock(PA_LOCK_LARGE);
	for (unsigned i = 0; i < large.cached; i++) {
		size_t have = large.cache[i].bytes;
		if (have < bytes / 2)
			continue;
		if (best == CACHE_MAX) {
			best = i;
			continue;
		}
		size_t chosen = large.cache[best].bytes;
		if (have >= bytes ? chosen < bytes || have < chosen : chosen < bytes && have > chosen)
			best = i;
	}
	if (best != CACHE_MAX) {
		taken = cache_take_locked(best);
		if (taken.bytes > bytes) {
			cache_put_locked((struct mapping){ taken.start + bytes, taken.bytes - bytes });
			taken.bytes = bytes;
		}
	}
	pa_unlock(PA_LOCK_LARGE);
	if (!taken.start || taken.bytes == bytes)
		return taken.start;

	char *grown = pa_os_remap(taken.start, taken.bytes, bytes, true);
	if (!grown) {
		give_back(taken);
		return NULL;
	}
	pa_add_relaxed(&pa_reserve.mapped_units, (uint64_t)units_of(bytes - taken.bytes));
	return grown;
}

static char *map_fresh(size_t bytes, size_t align)
{
	char *start = pa_os_map(bytes, align);

	if (!start)
		return NULL;
	pa_add_relaxed(&pa_reserve.mapped_units, (uint64_t)units_of(bytes));
	uint64_t again = pa_reserve_taken((uint64_t)units_of(bytes));
	if (again)
		pa_reserve_refault(again, pa_reserve_now_ms());
	return start;
}

void *pa_large_allocate(size_t bytes, size_t align, bool *is_zero)
{
	size_t page = pa_os_page_bytes();

	*is_zero = false;
	if (bytes > PA_REQUEST_MAX - page)
		return NULL;
	bytes = pa_round_up(pa_max(bytes, 1), page);

	char *start = align <= page ? cache_allocate(bytes) : NULL;
	if (!start) {
		start = map_fresh(bytes, align);
		if (!start)
			return NULL;
		*is_zero = true;
	}
	pa_lock(PA_LOCK_LARGE);
	bool has_room = table_reserve_locked();
	if (has_room)
		insert_locked((struct mapping){ start, bytes });
	pa_unlock(PA_LOCK_LARGE);
	if (!has_room) {
		give_back((struct mapping){ start, bytes });
		return NULL;
	}
	return start;
}

bool pa_large_free(void *p)
{
	pa_lock(PA_LOCK_LARGE);
	struct mapping *entry = find_locked(p);
	if (!entry) {
		pa_unlock(PA_LOCK_LARGE);
		return false;
	}
	struct mapping freed = *entry, evicted = { 0 };
	remove_locked(entry);
	pa_unlock(PA_LOCK_LARGE);

	pa_reserve_tick();
	pa_lock(PA_LOCK_LARGE);
	if (pa_reserve_excess() + units_of(freed.bytes) <= 0) {
		if (large.cached == CACHE_MAX)
			evicted = cache_take_locked(0);
		cache_put_locked(freed);
	} else {
		evicted = freed;
	}
	pa_unlock(PA_LOCK_LARGE);
	if (evicted.start)
		give_back(evicted);
	return true;
}

size_t pa_large_bytes(const void *p)
{
	pa_lock(PA_LOCK_LARGE);
	struct mapping *entry = find_locked(p);
	size_t bytes = entry ? entry->bytes : 0;
	pa_unlock(PA_LOCK_LARGE);
	return bytes;
}

void *pa_large_resize(void *p, size_t bytes)
{
	if (bytes > PA_REQUEST_MAX - pa_os_page_bytes())
		return NULL;
	bytes = pa_round_up(pa_max(bytes, 1), pa_os_page_bytes());

	/* Only the caller owns the object, so nobody misses it in the table while it moves. */
	pa_lock(PA_LOCK_LARGE);
	struct mapping *entry = find_locked(p);
	struct mapping mapping = entry ? *entry : (struct mapping){ 0 };
	if (entry && mapping.bytes != bytes)
		remove_locked(entry);
	pa_unlock(PA_LOCK_LARGE);
	if (!mapping.start || mapping.bytes == bytes)
		return mapping.start;

	char *moved = pa_os_remap(mapping.start, mapping.bytes, bytes, true);
	if (moved) {
		pa_add_relaxed(&pa_reserve.mapped_units,
			       (uint64_t)(units_of(bytes) - units_of(mapping.bytes)));
		mapping = (struct mapping){ moved, bytes };
	}
	pa_lock(PA_LOCK_LARGE);
	insert_locked(mapping); /* the table has not shrunk: there is room */
	pa_unlock(PA_LOCK_LARGE);
	return moved;
}

uint64_t pa_large_shrink(enum pa_reserve_goal goal)
{
	uint64_t units = 0;

	for (;;) {
		struct mapping taken = { 0 };
		pa_lock(PA_LOCK_LARGE);
		if (large.cached > 0 && pa_reserve_is_above(goal))
			taken = cache_take_locked(0);
		pa_unlock(PA_LOCK_LARGE);
		if (!taken.start)
			return units;
		units += (uint64_t)units_of(taken.bytes);
		give_back(taken);
	}
}

void pa_large_count(struct pa_large_counts *counts)
{
	pa_lock(PA_LOCK_LARGE);
	counts->objects = large.count;
	counts->bytes = large.bytes;
	counts->cached_bytes = large.cached_bytes;
	counts->record_bytes = large.table ? TABLE_BYTES(large.table->capacity) : 0;
	pa_unlock(PA_LOCK_LARGE);
}

_Static_assert(offsetof(struct table, entries) == 8 && sizeof(struct mapping) == 16,
	       "the form that record.h tells");

void pa_large_places(const void **count, const void **bytes, const void **cached_bytes,
		     const void **table)
{
	*count = &large.count;
	*bytes = &large.bytes;
	*cached_bytes = &large.cached_bytes;
	*table = &large.table;
}
