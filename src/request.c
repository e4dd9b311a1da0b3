/* SPDX-License-Identifier: MIT */
/*
 * request.c: see request.h.
 */
#include "request.h"

#include "os.h"

#include <limits.h>

#define PROCESS_SHIFT 32

/* Of the heaps of others only free slots are in reach; those are trimmed when their owners look. */
static void trim(struct pa_heap *heap)
{
	pa_heap_trim(heap);
	pa_heap_serve_abandoned(PA_RESERVE_NOTHING, UINT_MAX);
	pa_heap_purge_all_slots(heap, PA_RESERVE_NOTHING, UINT_MAX);
	pa_heap_shrink_caches(PA_RESERVE_NOTHING);
}

void pa_request_serve(struct pa_heap *heap, uint64_t request)
{
	if (request >> PROCESS_SHIFT == (uint64_t)pa_os_process_id()) /* Q1 */
		trim(heap);
	pa_store_release(&heap->trim_served, request); /* pairs with a reader's look from outside */
}
