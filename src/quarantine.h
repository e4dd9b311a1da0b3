/* SPDX-License-Identifier: MIT */
/*
 * quarantine.h: freed blocks that wait before they can be handed out again: first in a random place, until
 * another block is put there, then in a queue.  One for each heap; its owner calls.
 *
 *   Q1  bytes counts what is in both.
 *   Q2  No change that a fork tears leaves a block here twice, or here and elsewhere: at worst it is lost.
 */
#ifndef PA_QUARANTINE_H
#define PA_QUARANTINE_H

#include "base.h"

#define PA_QUARANTINE_PLACES 128u  /* random ones */
#define PA_QUARANTINE_QUEUE 1024u  /* a power of two */
#define PA_QUARANTINE_BYTES PA_MIB /* that may wait; the largest block is less */

struct pa_quarantined {
	char *block; /* NULL: none */
	size_t bytes;
};

struct pa_quarantine {
	size_t bytes;         /* [owner] Q1 */
	uint64_t random;      /* [owner] the place of the last one was made of it */
	unsigned first, last; /* [owner] of the queue; last is behind its end */
	struct pa_quarantined places[PA_QUARANTINE_PLACES]; /* [owner] */
	struct pa_quarantined queue[PA_QUARANTINE_QUEUE];   /* [owner] */
};

/* Put a block into a random place.  Before that, take until there is nothing. */
void pa_quarantine_put(struct pa_quarantine *quarantine, struct pa_quarantined entry);

/*
 * The first block of the queue, or where that is empty one of the others, if there are more than there may
 * be; or, is_all, as long as there is any.
 */
struct pa_quarantined pa_quarantine_take(struct pa_quarantine *quarantine, bool is_all);

#endif
