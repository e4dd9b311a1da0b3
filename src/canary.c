/* SPDX-License-Identifier: MIT */
/*
 * canary.c: see canary.h.  The last word of a live block: the length of the gap in 24 bits, hidden, then
 * 40 of a hash of it, of which the lowest is set, so that a string's end is noticed too.
 */
#include "canary.h"

#include "secret.h"

#include <string.h>

enum use { LIVE = 1, FREED, HIDING };

#define HASH_BITS 40
#define GAP_MAX ((UINT64_C(1) << (64 - HASH_BITS)) - 1)

static uint64_t hash(const void *block, enum use use, size_t gap)
{
	return pa_secret_mix((uintptr_t)block, (uint64_t)use << 32 | gap) | 1;
}

static uint64_t word_of_live(const void *block, size_t gap)
{
	uint64_t hidden = gap ^ (hash(block, HIDING, 0) & GAP_MAX);

	return hidden << HASH_BITS | (hash(block, LIVE, gap) & pa_bit_range(0, HASH_BITS));
}

static char *word_of(const void *block, size_t room)
{
	return (char *)(uintptr_t)block + room - PA_CANARY_BYTES;
}

static uint64_t read_word(const void *block, size_t room)
{
	uint64_t word;

	memcpy(&word, word_of(block, room), sizeof word);
	return word;
}

static unsigned char gap_byte(const void *block)
{
	return (unsigned char)(hash(block, HIDING, 1) >> 32 | 1);
}

/* All bytes are the same; bytes may be none. */
static bool is_filled(const char *start, size_t bytes, unsigned char with)
{
	return bytes == 0 ||
	       ((unsigned char)start[0] == with && memcmp(start, start + 1, bytes - 1) == 0);
}

void pa_canary_set(void *block, size_t room, size_t bytes)
{
	size_t gap = room - PA_CANARY_BYTES - bytes;
	uint64_t word = word_of_live(block, gap);

	PA_ASSERT(bytes + PA_CANARY_BYTES <= room, "there is room for the canary");
	PA_ASSERT(gap <= GAP_MAX, "the gap's length can be told");
	if (gap > 0)
		memset((char *)block + bytes, gap_byte(block), gap);
	memcpy(word_of(block, room), &word, sizeof word);
}

enum pa_canary_state pa_canary_get(const void *block, size_t room, size_t *bytes)
{
	uint64_t word = read_word(block, room);
	size_t gap = (size_t)((word >> HASH_BITS) ^ (hash(block, HIDING, 0) & GAP_MAX));

	if (word == hash(block, FREED, 0))
		return PA_CANARY_FREED;
	if (gap > room - PA_CANARY_BYTES || word != word_of_live(block, gap))
		return PA_CANARY_BROKEN;
	*bytes = room - PA_CANARY_BYTES - gap;
	return gap == 0 || is_filled((const char *)block + *bytes, gap, gap_byte(block))
		       ? PA_CANARY_LIVE
		       : PA_CANARY_BROKEN;
}

void pa_canary_clear(void *block, size_t room)
{
	uint64_t word = hash(block, FREED, 0);

	memset(block, 0, room - PA_CANARY_BYTES);
	memcpy(word_of(block, room), &word, sizeof word);
}

bool pa_canary_is_clear(const void *block, size_t room, size_t from)
{
	return read_word(block, room) == hash(block, FREED, 0) &&
	       is_filled((const char *)block + from, room - PA_CANARY_BYTES - from, 0);
}
