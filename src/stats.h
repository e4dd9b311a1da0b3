/* SPDX-License-Identifier: MIT */
/*
 * stats.h: one snapshot of all counters, taken under the manager's lock, from which every report and
 * every interface of statistics is answered, so that their numbers agree.  Owners go on meanwhile:
 * a block in flight may be counted or not, but sums are sums of what was read.
 */
#ifndef PA_STATS_H
#define PA_STATS_H

#include "heap.h"
#include "pyarena.h"

struct pa_snapshot {
	struct pyarena_stats stats;
	struct pyarena_class_stats
		classes[PA_CLASSES + 1]; /* the last: medium objects, of no one size */
};

void pa_stats_take(struct pa_snapshot *snapshot);

/* Fill at most count heaps; returns how many there are. */
size_t pa_stats_heaps(struct pyarena_heap_stats *heaps, size_t count);

#endif
