/* SPDX-License-Identifier: MIT */
/*
 * harden.h: malloc's semantics in a hardened process (PYARENA_HARDEN=1): canaries, quarantine, exact sizes.
 * No thread has a heap that the fast paths find, so every call comes here by the slow ones; they ask
 * pa_is_hardened().  Called by malloc.c and preload/.
 *
 *   A block in use has a canary behind what was asked for, see canary.h.
 *   One that was freed is zero and waits, see quarantine.h; if it still is when it leaves, it goes into its
 *   pool's list, whose links are encoded (pool.h).  When it is taken out it is looked at once more.
 *
 * The functions that take a heap are for its owner, and set errno as those of malloc.h do.
 */
#ifndef PA_HARDEN_H
#define PA_HARDEN_H

#include "heap.h"

#define PA_HARDEN_ANY_SIZE SIZE_MAX /* the caller has not told the size */

void *pa_harden_allocate(struct pa_heap *heap, size_t align, size_t bytes, bool is_zero);
void *pa_harden_reallocate(struct pa_heap *heap, void *p, size_t bytes, const char *function);

/* heap may be NULL: then the block does not wait. bytes is its size as the caller has it. */
void pa_harden_free(struct pa_heap *heap, void *p, size_t bytes, const char *function);

/* What was asked for. */
size_t pa_harden_usable_bytes(const struct pa_heap *heap, const void *p, const char *function);

/* Nothing waits any more; returns whether something did. */
bool pa_harden_flush(struct pa_heap *heap);

/* Once, before there are threads: from now on the process is hardened. */
void pa_harden_begin(void);

#endif
