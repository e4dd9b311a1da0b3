/* SPDX-License-Identifier: MIT */
/*
 * request.h: a trim that another process asks for, as pyarena trim does.  It writes one number into
 * pa_reserve.trim_request; each heap compares it with the last one that it has served, on its slow
 * paths only, and is then trimmed by its owner.  So nothing is stopped, and the fast path is the same.
 *
 *   Q1  The upper half of a request is the ID of the process that it is for, as that process knows
 *       itself.  A child has a copy of the number and passes it by, however it was made.
 *   Q2  trim_served is a request that the heap has served, or that was not for this process.  One that
 *       came before the heap got its owner counts as served.
 */
#ifndef PA_REQUEST_H
#define PA_REQUEST_H

#include "heap.h"

PA_COLD void pa_request_serve(struct pa_heap *heap, uint64_t request);

/* By the heap's owner, with nothing half changed. */
PA_INLINE void pa_request_look(struct pa_heap *heap)
{
	uint64_t request = pa_load_relaxed(&pa_reserve.trim_request);

	if (PA_UNLIKELY(request != pa_load_relaxed(&heap->trim_served)))
		pa_request_serve(heap, request);
}

#endif
