/* SPDX-License-Identifier: MIT */
/*
 * pagemap.h: from any address to "in an arena" or "not".  One bit for each arena-sized piece of the
 * address space, in zero pages until it is used; so every answer is one load, for wild addresses too.
 * Bits change under the manager's lock; anybody reads.
 */
#ifndef PA_PAGEMAP_H
#define PA_PAGEMAP_H

#include "atomic.h"
#include "base.h"

#define PA_PAGEMAP_WORDS (((size_t)1 << (PA_ADDRESS_BITS - PA_ARENA_SHIFT)) / 64)

extern _Atomic(uint64_t) pa_pagemap[PA_PAGEMAP_WORDS];

PA_INLINE bool pa_pagemap_has(const void *p)
{
	uintptr_t arena = (uintptr_t)p >> PA_ARENA_SHIFT;

	if (PA_UNLIKELY(arena / 64 >= PA_PAGEMAP_WORDS))
		return false;
	/* Relaxed: a block's address reaches a thread later than its arena's bit was set. */
	return pa_load_relaxed(&pa_pagemap[arena / 64]) >> arena % 64 & 1;
}

/* False if the address is beyond the map. */
bool pa_pagemap_set(const void *arena);
void pa_pagemap_clear(const void *arena);

#endif
