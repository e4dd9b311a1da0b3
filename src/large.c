/* SPDX-License-Identifier: MIT */
/*
 * large.c: see large.h.
 */
#include "large.h"

#include "filling.h"
#include "freed.h"
#include "guarded.h"
#include "lock.h"
#include "option.h"
#include "os.h"
#include "reserve.h"
#include "sizeclass.h"

#include <string.h>

#define GHOSTS 64u                     /* mappings given back that are remembered */
#define GIVE_BACK_BYTES (256 * PA_KIB) /* at least, in one call */
#define TABLE_FIRST 256u               /* entries; a power of two */
#define POPULATE_MAX (16 * PA_MIB)     /* of one object */
#define SIZES 24u                      /* doublings from PA_MEDIUM_MAX on whose filling is watched */

/* Linear probing, at most half full. */
struct table {
	size_t capacity; /* a power of two */
	struct pa_mapping entries[];
};

/* A mapping given back: had the reserve been larger, it would have been there for the next object. */
struct ghost {
	uint32_t units; /* 0: none */
	uint32_t mark;  /* of the reserve, when it went */
};

#define TABLE_BYTES(capacity) (sizeof(struct table) + (capacity) * sizeof(struct pa_mapping))

/*
 * [lock: large] A fork may find it in the midst of a change by a thread that the child has not; see
 * pa_large_recover.
 */
static struct {
	struct table *table;
	size_t count;
	size_t bytes;
	struct pa_freed freed; /* the cache */
	struct ghost ghosts[GHOSTS];
	unsigned next_ghost;
	struct pa_filling filling[2][SIZES]; /* of objects that need not, and need be zero */
	_Atomic(uint64_t) removals;          /* ever, from the table; read without the lock */
	bool is_guarded;                     /* [const] from the first object on */
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
static struct pa_mapping *probe(struct table *table, const void *start)
{
	size_t i = home_of(table, start);

	while (table->entries[i].start && table->entries[i].start != start)
		i = (i + 1) & (table->capacity - 1);
	return &table->entries[i];
}

static struct pa_mapping *find_locked(const void *start)
{
	if (large.count == 0)
		return NULL;
	struct pa_mapping *entry = probe(large.table, start);
	return entry->start ? entry : NULL;
}

/* A copy of the table with another capacity takes its place; false when there is no memory. */
static bool table_replace_locked(size_t capacity)
{
	struct table *old = large.table;
	struct table *table =
		pa_os_map_guarded(pa_round_up(TABLE_BYTES(capacity), pa_os_page_bytes()), 1);

	if (!table)
		return false;
	table->capacity = capacity;
	for (size_t i = 0; old && i < old->capacity; i++)
		if (old->entries[i].start)
			*probe(table, old->entries[i].start) = old->entries[i];
	atomic_signal_fence(memory_order_seq_cst);
	large.table = table;
	if (old)
		pa_os_unmap_guarded(old, pa_round_up(TABLE_BYTES(old->capacity), pa_os_page_bytes()));
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

static void insert_locked(struct pa_mapping mapping)
{
	struct pa_mapping *entry = probe(large.table, mapping.start);

	entry->bytes = mapping.bytes;
	atomic_signal_fence(memory_order_seq_cst);
	entry->start = mapping.start; /* an entry is there when its start is */
	large.count++;
	large.bytes += mapping.bytes;
}

/* Entries behind the removed one move up, so that probing never meets a gap before its goal. */
static void remove_locked(struct pa_mapping *entry)
{
	struct table *table = large.table;
	size_t mask = table->capacity - 1;
	size_t gap = (size_t)(entry - table->entries);

	large.count--;
	large.bytes -= entry->bytes;
	pa_store_relaxed(&large.removals, pa_load_relaxed(&large.removals) + 1);
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

/* So many units more are mapped, and so many more dirty. */
static void count(int64_t mapped, int64_t dirty)
{
	pa_reserve_add((struct pa_reserve_change){ mapped, mapped, dirty });
}

/*
 * An entry that was being moved may be there twice, which the copy mends; none is missing but the one
 * that was being removed.  The cache's entries may be there twice as well, and are forgotten: their
 * memory stays mapped for nothing, in this process.
 */
void pa_large_recover(void)
{
	count(0, -units_of(large.freed.bytes));
	large.freed = (struct pa_freed){ .count = 0 };
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
}

static void remember_locked(struct pa_mapping mapping)
{
	struct ghost *ghost = &large.ghosts[large.next_ghost++ % GHOSTS];

	*ghost = (struct ghost){ (uint32_t)units_of(mapping.bytes), pa_reserve_mark() };
}

/*
 * Of fresh memory, as much counts as refaults as was given back lately, the latest first: at most what would have
 * served, had it been kept, for the pieces are taken to have been neighbours, which are joined.
 */
static void look_for_ghosts(size_t bytes)
{
	uint32_t left = (uint32_t)units_of(bytes);

	pa_lock(PA_LOCK_LARGE);
	for (unsigned i = 1; i <= GHOSTS && left > 0; i++) {
		struct ghost *ghost = &large.ghosts[(large.next_ghost - i) % GHOSTS];
		uint32_t units = (uint32_t)pa_min(ghost->units, left);
		if (units == 0)
			continue;
		pa_reserve_refault(units, ghost->mark);
		ghost->units -= units;
		left -= units;
	}
	pa_unlock(PA_LOCK_LARGE);
}

/* A mapping goes back to the system, by unmap, and counts no more; nor as dirty, if it was freed before. */
static void let_go_locked(struct pa_mapping mapping, bool is_dirty, enum pa_reserve_goal goal)
{
	int64_t units = units_of(mapping.bytes);

	if (!mapping.start)
		return;
	if (!large.is_guarded) /* which no reserve would have kept */
		remember_locked(mapping);
	pa_reserve_purged((uint64_t)units, 1, pa_reserve_is_for_peak(goal));
	count(-units, is_dirty ? -units : 0);
}

static void unmap(struct pa_mapping mapping)
{
	if (!mapping.start)
		return;
	if (large.is_guarded)
		pa_guarded_unmap(mapping.start, mapping.bytes);
	else
		pa_os_unmap(mapping.start, mapping.bytes);
}

/* One that is live. */
static void give_back(struct pa_mapping mapping)
{
	pa_lock(PA_LOCK_LARGE);
	let_go_locked(mapping, false, PA_RESERVE_NOTHING);
	pa_unlock(PA_LOCK_LARGE);
	unmap(mapping);
}

/* Keep a freed mapping, as far as the reserve allows; others, that were freed before, go for it. */
static void keep_freed(struct pa_mapping mapping)
{
	pa_lock(PA_LOCK_LARGE);
	struct pa_mapping evicted = pa_freed_put(&large.freed, mapping);
	count(0, units_of(mapping.bytes));
	let_go_locked(evicted, true, PA_RESERVE_NOTHING);
	pa_unlock(PA_LOCK_LARGE);
	unmap(evicted);
	pa_large_shrink(PA_RESERVE_LIMIT);
}

static struct pa_mapping taken_locked(struct pa_mapping mapping)
{
	count(0, -units_of(mapping.bytes));
	return mapping;
}

/*
 * A freed mapping for bytes; or, cut or grown to size, the largest that need not more than double.  *has
 * is how much of it is resident.
 */
static char *allocate_freed(size_t bytes, size_t *has)
{
	pa_lock(PA_LOCK_LARGE);
	struct pa_mapping taken = pa_freed_take(&large.freed, bytes);
	if (!taken.start)
		taken = pa_freed_take_largest(&large.freed, bytes / 2);
	taken_locked(taken);
	pa_unlock(PA_LOCK_LARGE);
	*has = taken.bytes;
	if (!taken.start || taken.bytes == bytes)
		return taken.start;

	char *grown = pa_os_remap(taken.start, taken.bytes, bytes, true);
	if (!grown) {
		keep_freed(taken); /* its parts were mapped one by one, say */
		return NULL;
	}
	count(units_of(bytes - taken.bytes), 0);
	look_for_ghosts(bytes - taken.bytes);
	return grown;
}

static struct pa_filling *filling_of(size_t bytes, bool has_zeros)
{
	size_t doublings = pa_highest_bit(bytes / PA_MEDIUM_MAX | 1);

	return &large.filling[has_zeros][pa_min(doublings, SIZES - 1)];
}

/* As far as it would have been populated, but for a sixteenth. */
static bool is_filled(struct pa_mapping mapping)
{
	size_t bytes = pa_min(mapping.bytes, POPULATE_MAX);

	return pa_os_resident_bytes(mapping.start, bytes) >= bytes - bytes / 16;
}

static void note_filling(struct pa_filling *filling, struct pa_mapping watched)
{
	bool filled = is_filled(watched);

	pa_lock(PA_LOCK_LARGE);
	pa_filling_note(filling, filled);
	pa_unlock(PA_LOCK_LARGE);
}

/* An object that will be filled, as those of its size were before, is made resident at once, from what it has on. */
static void populate_expected(struct pa_mapping mapping, size_t has, bool has_zeros)
{
	struct pa_filling *filling = filling_of(mapping.bytes, has_zeros);

	pa_lock(PA_LOCK_LARGE);
	struct pa_mapping watched = filling->watched;
	pa_unlock(PA_LOCK_LARGE);
	bool filled =
		watched.start && is_filled(watched); /* should it end just now: see pa_filling_look */

	pa_lock(PA_LOCK_LARGE);
	pa_filling_look(filling, watched.start, filled);
	bool is_expected = pa_filling_expect(filling, mapping);
	pa_unlock(PA_LOCK_LARGE);
	size_t end = pa_min(mapping.bytes, POPULATE_MAX);
	if (is_expected && has < end)
		pa_os_populate(mapping.start + has, end - has);
}

/* An object ends, or changes its size: where to note what it was, or NULL if nobody asked. */
static struct pa_filling *end_watch_locked(struct pa_mapping mapping)
{
	struct pa_filling *any = filling_of(mapping.bytes, false);
	struct pa_filling *zeros = filling_of(mapping.bytes, true);

	if (pa_filling_end(any, mapping.start))
		return any;
	return pa_filling_end(zeros, mapping.start) ? zeros : NULL;
}

static char *map_fresh(size_t bytes, size_t align)
{
	char *start = large.is_guarded ? pa_guarded_map(bytes, align) : pa_os_map(bytes, align);

	if (!start)
		return NULL;
	if (pa_options()->thp != PA_THP_AUTO)
		pa_os_advise_huge_pages(start, bytes, pa_options()->thp == PA_THP_ALWAYS);
	count(units_of(bytes), 0);
	look_for_ghosts(bytes);
	return start;
}

struct pa_large_new pa_large_allocate(size_t bytes, size_t align)
{
	const struct pa_large_new none = { 0 };
	size_t page = pa_os_page_bytes();

	if (bytes > PA_REQUEST_MAX - page)
		return none;
	bytes = pa_round_up(pa_max(bytes, 1), page);

	size_t had = 0;
	char *start = align <= page && !large.is_guarded ? allocate_freed(bytes, &had) : NULL;
	if (!start) {
		had = 0;
		start = map_fresh(bytes, align);
	}
	if (!start)
		return none;
	pa_lock(PA_LOCK_LARGE);
	bool has_room = table_reserve_locked();
	if (has_room)
		insert_locked((struct pa_mapping){ start, bytes });
	pa_unlock(PA_LOCK_LARGE);
	if (!has_room) {
		give_back((struct pa_mapping){ start, bytes });
		return none;
	}
	return (struct pa_large_new){ start, bytes, had };
}

void pa_large_populate(const struct pa_large_new *made, bool needs_zeros)
{
	bool is_cleared = made->had > 0 && needs_zeros; /* by the caller, all of it */

	if (made->had < made->bytes && !is_cleared)
		populate_expected((struct pa_mapping){ made->start, made->bytes }, made->had,
				  needs_zeros);
}

bool pa_large_free(void *p)
{
	pa_lock(PA_LOCK_LARGE);
	struct pa_mapping *entry = find_locked(p);
	if (!entry) {
		pa_unlock(PA_LOCK_LARGE);
		return false;
	}
	struct pa_mapping freed = *entry;
	remove_locked(entry);
	struct pa_filling *filling = end_watch_locked(freed);
	pa_unlock(PA_LOCK_LARGE);

	pa_reserve_tick();
	if (filling)
		note_filling(filling, freed);
	if (large.is_guarded)
		give_back(freed);
	else
		keep_freed(freed);
	return true;
}

size_t pa_large_bytes(const void *p)
{
	pa_lock(PA_LOCK_LARGE);
	struct pa_mapping *entry = find_locked(p);
	size_t bytes = entry ? entry->bytes : 0;
	pa_unlock(PA_LOCK_LARGE);
	return bytes;
}

/*
 * Who owns an object sees each removal that came before: also that of an object which was there before it.
 */
size_t pa_large_bytes_again(struct pa_large_seen *seen, const void *p)
{
	uint64_t removals = pa_load_relaxed(&large.removals);

	if (PA_LIKELY(seen->start == p && seen->removals == removals))
		return seen->bytes;
	size_t bytes = pa_large_bytes(p);
	if (bytes > 0) /* what is not there may come without a removal */
		*seen = (struct pa_large_seen){ p, bytes, removals };
	return bytes;
}

/* Grow into a freed mapping that follows, or leave the end as one: no system call, no fault. */
static bool resize_in_place(struct pa_mapping *mapping, size_t bytes)
{
	if (bytes < mapping->bytes) {
		struct pa_mapping rest = { mapping->start + bytes, mapping->bytes - bytes };
		mapping->bytes = bytes;
		keep_freed(rest);
		return true;
	}
	pa_lock(PA_LOCK_LARGE);
	struct pa_mapping more = taken_locked(pa_freed_take_at(
		&large.freed, mapping->start + mapping->bytes, bytes - mapping->bytes));
	pa_unlock(PA_LOCK_LARGE);
	mapping->bytes += more.bytes;
	return more.start != NULL;
}

static bool resize_by_remap(struct pa_mapping *mapping, size_t bytes)
{
	char *moved = pa_os_remap(mapping->start, mapping->bytes, bytes, true);

	if (!moved)
		return false;
	count(units_of(bytes) - units_of(mapping->bytes), 0);
	*mapping = (struct pa_mapping){ moved, bytes };
	return true;
}

void *pa_large_resize(void *p, size_t bytes)
{
	if (bytes > PA_REQUEST_MAX - pa_os_page_bytes() || large.is_guarded)
		return NULL;
	bytes = pa_round_up(pa_max(bytes, 1), pa_os_page_bytes());

	/* Only the caller owns the object, so nobody misses it in the table while it moves. */
	pa_lock(PA_LOCK_LARGE);
	struct pa_mapping *entry = find_locked(p);
	struct pa_mapping mapping = entry ? *entry : (struct pa_mapping){ 0 };
	struct pa_filling *filling = NULL;
	if (entry && mapping.bytes != bytes) {
		remove_locked(entry);
		filling = end_watch_locked(mapping);
	}
	pa_unlock(PA_LOCK_LARGE);
	if (!mapping.start || mapping.bytes == bytes)
		return mapping.start;

	if (filling)
		note_filling(filling, mapping);
	bool is_resized = resize_in_place(&mapping, bytes) || resize_by_remap(&mapping, bytes);
	pa_lock(PA_LOCK_LARGE);
	insert_locked(mapping); /* the table has not shrunk: there is room */
	pa_unlock(PA_LOCK_LARGE);
	return is_resized ? mapping.start : NULL;
}

/* How much to give back at once; 0 if the goal is reached. */
static size_t step_locked(enum pa_reserve_goal goal)
{
	int64_t excess = pa_reserve_excess();

	if (goal != PA_RESERVE_LIMIT)
		return pa_reserve_is_above(goal) ? SIZE_MAX : 0;
	if (excess <= 0)
		return 0;
	return pa_round_up(pa_max((size_t)excess << PA_UNIT_SHIFT, GIVE_BACK_BYTES),
			   pa_os_page_bytes());
}

uint64_t pa_large_shrink(enum pa_reserve_goal goal)
{
	uint64_t units = 0;

	for (;;) {
		struct pa_mapping taken = { 0 };
		pa_lock(PA_LOCK_LARGE);
		size_t step = step_locked(goal);
		if (step > 0)
			taken = pa_freed_take_oldest(&large.freed, step);
		let_go_locked(taken, true, goal);
		pa_unlock(PA_LOCK_LARGE);
		if (!taken.start)
			return units;
		units += (uint64_t)units_of(taken.bytes);
		unmap(taken);
	}
}

bool pa_large_guard(void)
{
	pa_lock(PA_LOCK_LARGE);
	large.is_guarded = large.count == 0 && large.freed.count == 0;
	pa_unlock(PA_LOCK_LARGE);
	return large.is_guarded;
}

void pa_large_count(struct pa_large_counts *counts)
{
	pa_lock(PA_LOCK_LARGE);
	counts->objects = large.count;
	counts->bytes = large.bytes;
	counts->cached_bytes = large.freed.bytes;
	counts->record_bytes = large.table ? TABLE_BYTES(large.table->capacity) : 0;
	pa_unlock(PA_LOCK_LARGE);
}

_Static_assert(offsetof(struct table, entries) == 8 && sizeof(struct pa_mapping) == 16,
	       "the form that record.h tells");

void pa_large_places(const void **count, const void **bytes, const void **cached_bytes,
		     const void **table)
{
	*count = &large.count;
	*bytes = &large.bytes;
	*cached_bytes = &large.freed.bytes;
	*table = &large.table;
}
