/* SPDX-License-Identifier: MIT */
/*
 * pagemap.c: the bits of the page map.  Its pages are zero and not resident until an arena is near.
 */
#include "pagemap.h"

_Atomic(uint64_t) pa_pagemap[PA_PAGEMAP_WORDS];

bool pa_pagemap_set(const void *arena)
{
	uintptr_t index = (uintptr_t)arena >> PA_ARENA_SHIFT;

	if (index / 64 >= PA_PAGEMAP_WORDS)
		return false;
	atomic_fetch_or_explicit(&pa_pagemap[index / 64], UINT64_C(1) << index % 64,
				 memory_order_relaxed);
	return true;
}

void pa_pagemap_clear(const void *arena)
{
	uintptr_t index = (uintptr_t)arena >> PA_ARENA_SHIFT;

	atomic_fetch_and_explicit(&pa_pagemap[index / 64], ~(UINT64_C(1) << index % 64),
				  memory_order_relaxed);
}
