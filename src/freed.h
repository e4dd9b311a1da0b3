/* SPDX-License-Identifier: MIT */
/*
 * freed.h: freed mappings that are kept for the next large object: a list in order of address, in which
 * neighbours are joined.  Data alone: no system call, no lock.  Called by large.c.
 */
#ifndef PA_FREED_H
#define PA_FREED_H

#include "base.h"

#define PA_FREED_MAX 128u

struct pa_mapping {
	char *start; /* NULL: none */
	size_t bytes;
};

struct pa_freed_entry {
	struct pa_mapping mapping;
	uint32_t stamp; /* when the youngest part of it was freed */
};

struct pa_freed {
	struct pa_freed_entry entries[PA_FREED_MAX]; /* in order of address, none touching the next */
	unsigned count;
	uint32_t clock;
	size_t bytes;
};

/* Keep a mapping.  What has to go for it, when the list is full, is returned: the oldest. */
struct pa_mapping pa_freed_put(struct pa_freed *freed, struct pa_mapping mapping);

/* Take so many bytes out of the smallest mapping that has them. */
struct pa_mapping pa_freed_take(struct pa_freed *freed, size_t bytes);

/* Take so many bytes from start on; none unless all of them are there. */
struct pa_mapping pa_freed_take_at(struct pa_freed *freed, const char *start, size_t bytes);

/* Take the largest mapping if it has at least so many bytes. */
struct pa_mapping pa_freed_take_largest(struct pa_freed *freed, size_t at_least);

/* Take at most so many bytes from the end of the oldest mapping. */
struct pa_mapping pa_freed_take_oldest(struct pa_freed *freed, size_t at_most);

#endif
