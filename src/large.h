/* SPDX-License-Identifier: MIT */
/*
 * large.h: objects above PA_MEDIUM_MAX, and those aligned to more than a slot: each in a mapping of
 * its own, found by a hash table of their addresses.  A few freed mappings are kept, as part of the
 * reserve.  Guarded by PA_LOCK_LARGE.
 */
#ifndef PA_LARGE_H
#define PA_LARGE_H

#include "base.h"
#include "reserve.h"

/* An object that has just been made: had bytes of it are a freed mapping's, which is resident, the rest is zero. */
struct pa_large_new {
	char *start; /* NULL: the system has no memory */
	size_t bytes;
	size_t had;
};
struct pa_large_new pa_large_allocate(size_t bytes, size_t align);

/*
 * If it will be filled, as others of its size have been, make it resident at once.  Those that have to be zero are
 * told apart: many of them are never filled.
 */
void pa_large_populate(const struct pa_large_new *made, bool needs_zeros);

/* False if no large object begins at p. */
bool pa_large_free(void *p);

/* The object's usable bytes; 0 if no large object begins at p. */
size_t pa_large_bytes(const void *p);

/* The same for who asks again and again, as a buffer that grows does: without the lock, if nothing has changed. */
struct pa_large_seen {
	const void *start;
	size_t bytes;
	uint64_t removals;
};
size_t pa_large_bytes_again(struct pa_large_seen *seen, const void *p);

/* Change the object's size without copying; it may move.  NULL when refused: the object is unchanged. */
void *pa_large_resize(void *p, size_t bytes);

/* Unmap freed mappings until the goal is reached; returns the units given back. */
uint64_t pa_large_shrink(enum pa_reserve_goal goal);

/*
 * From now on objects lie between guard pages, and none is kept when it is freed.  False if there are
 * objects already: then all is as it was.
 */
bool pa_large_guard(void);

struct pa_large_counts {
	uint64_t objects;
	uint64_t bytes;
	uint64_t cached_bytes;
	uint64_t record_bytes;
};
void pa_large_count(struct pa_large_counts *counts);

/* Where the counters and the table are, for readers from outside; see record.h. */
void pa_large_places(const void **count, const void **bytes, const void **cached_bytes,
		     const void **table);

/* In a forked child, when the lock was held by a thread that is not there: make the table good. */
void pa_large_recover(void);

#endif
