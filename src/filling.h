/* SPDX-License-Identifier: MIT */
/*
 * filling.h: whether a program fills the large objects of one size that it asks for, told by a few that
 * are watched.  Data alone: no system call, no lock.  Called by large.c.
 *
 * A watched object comes page by page.  When the next one is made, and when it ends, somebody looks
 * whether it has been filled, and notes that here.  Two in a row are evidence; one that was not filled when
 * it ended, or after PA_FILLING_INTERVAL others, is evidence against it.
 */
#ifndef PA_FILLING_H
#define PA_FILLING_H

#include "freed.h"

#define PA_FILLING_EVIDENCE 2u  /* watched objects in a row */
#define PA_FILLING_INTERVAL 16u /* one object of so many is watched */

struct pa_filling {
	struct pa_mapping watched; /* start NULL: none */
	uint8_t filled;            /* in a row, to PA_FILLING_EVIDENCE */
	uint8_t others;            /* since the watched one */
};

/* An object is made.  True if it is likely to be filled, and not one to be watched. */
bool pa_filling_expect(struct pa_filling *filling, struct pa_mapping made);

/* Somebody has looked at a watched object that lives on. */
void pa_filling_look(struct pa_filling *filling, const char *start, bool is_filled);

/* An object ends or changes its size: true if it was watched.  It is so no more, and is to be noted. */
bool pa_filling_end(struct pa_filling *filling, const char *start);

void pa_filling_note(struct pa_filling *filling, bool is_filled);

#endif
