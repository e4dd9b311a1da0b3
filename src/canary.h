/* SPDX-License-Identifier: MIT */
/*
 * canary.h: what a hardened block has in it besides what was asked for: behind that, a gap of one
 * byte over and over, and in its last eight bytes a word that tells how long the gap is, and that it is
 * live, in a form that only the secret makes.  A block that is free is zero but for such a word.
 * Owns nothing; the block's owner calls.
 */
#ifndef PA_CANARY_H
#define PA_CANARY_H

#include "base.h"

#define PA_CANARY_BYTES ((size_t)8)

enum pa_canary_state {
	PA_CANARY_LIVE,
	PA_CANARY_FREED,
	PA_CANARY_BROKEN, /* neither: it has been written over */
};

/* A block of room bytes is live, and so many of them were asked for: room - PA_CANARY_BYTES at most. */
void pa_canary_set(void *block, size_t room, size_t bytes);

/* What a block is, and of a live one how many bytes were asked for. */
enum pa_canary_state pa_canary_get(const void *block, size_t room, size_t *bytes);

/* The block is free: nothing is left of what was in it. */
void pa_canary_clear(void *block, size_t room);

/* Whether a free block is as pa_canary_clear left it, from a multiple of 8 on. */
bool pa_canary_is_clear(const void *block, size_t room, size_t from);

#endif
