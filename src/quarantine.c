/* SPDX-License-Identifier: MIT */
/*
 * quarantine.c: see quarantine.h.
 */
#include "quarantine.h"

#include "secret.h"

#include <stdatomic.h>

static struct pa_quarantined take_out(struct pa_quarantine *quarantine, struct pa_quarantined *entry)
{
	struct pa_quarantined taken = *entry;

	entry->block = NULL;
	quarantine->bytes -= taken.block ? taken.bytes : 0;
	atomic_signal_fence(memory_order_seq_cst); /* Q2: gone from here before it is elsewhere */
	return taken;
}

void pa_quarantine_put(struct pa_quarantine *quarantine, struct pa_quarantined entry)
{
	quarantine->random = pa_secret_mix(quarantine->random, (uintptr_t)entry.block);
	struct pa_quarantined *place =
		&quarantine->places[pa_secret_below(quarantine->random, PA_QUARANTINE_PLACES)];
	struct pa_quarantined old = take_out(quarantine, place);

	PA_ASSERT(quarantine->last - quarantine->first < PA_QUARANTINE_QUEUE,
		  "there is a place in the queue");
	if (old.block) {
		quarantine->queue[quarantine->last % PA_QUARANTINE_QUEUE] = old;
		atomic_signal_fence(memory_order_seq_cst);
		quarantine->last++;
		quarantine->bytes += old.bytes;
	}
	*place = entry;
	quarantine->bytes += entry.bytes;
}

static struct pa_quarantined take_first(struct pa_quarantine *quarantine)
{
	unsigned first = quarantine->first++;

	atomic_signal_fence(memory_order_seq_cst);
	return take_out(quarantine, &quarantine->queue[first % PA_QUARANTINE_QUEUE]);
}

static struct pa_quarantined take_any(struct pa_quarantine *quarantine)
{
	for (unsigned i = 0; i < PA_QUARANTINE_PLACES; i++)
		if (quarantine->places[i].block)
			return take_out(quarantine, &quarantine->places[i]);
	return (struct pa_quarantined){ 0 };
}

struct pa_quarantined pa_quarantine_take(struct pa_quarantine *quarantine, bool is_all)
{
	unsigned count = quarantine->last - quarantine->first;

	if (!is_all && count < PA_QUARANTINE_QUEUE && quarantine->bytes <= PA_QUARANTINE_BYTES)
		return (struct pa_quarantined){ 0 };
	return count > 0 ? take_first(quarantine) : take_any(quarantine);
}
