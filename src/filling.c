/* SPDX-License-Identifier: MIT */
/*
 * filling.c: see filling.h.  Owns nothing; the caller guards the data.
 */
#include "filling.h"

static const struct pa_mapping none;

bool pa_filling_expect(struct pa_filling *filling, struct pa_mapping made)
{
	bool is_evident = filling->filled == PA_FILLING_EVIDENCE;

	if (filling->others < PA_FILLING_INTERVAL)
		filling->others++;
	if (filling->watched.start || (is_evident && filling->others < PA_FILLING_INTERVAL))
		return is_evident;
	filling->watched = made;
	filling->others = 0;
	return false;
}

void pa_filling_look(struct pa_filling *filling, const char *start, bool is_filled)
{
	if (is_filled || filling->others == PA_FILLING_INTERVAL)
		if (pa_filling_end(filling, start))
			pa_filling_note(filling, is_filled);
}

bool pa_filling_end(struct pa_filling *filling, const char *start)
{
	if (!start || filling->watched.start != start)
		return false;
	filling->watched = none;
	return true;
}

void pa_filling_note(struct pa_filling *filling, bool is_filled)
{
	filling->filled = is_filled ? (uint8_t)pa_min(filling->filled + 1u, PA_FILLING_EVIDENCE) : 0;
}
