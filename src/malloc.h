/* SPDX-License-Identifier: MIT */
/*
 * malloc.h: malloc's semantics on a heap: sizes to classes, runs and large objects; zeroing, resizing,
 * alignment; and the calling thread's heap.  Called by the exported functions in preload/.
 *
 * The functions that take a heap are for its owner.  Those that take none find the thread's heap,
 * make one if need be, and make do with a shared one behind a lock where a thread is about to end.
 * All set errno to ENOMEM when they return NULL for lack of memory or an impossible size.
 */
#ifndef PA_MALLOC_H
#define PA_MALLOC_H

#include "heap.h"

#include <string.h>

/* [owner: thread] never NULL: pa_no_heap before the thread's first request and after its last one. */
extern __thread struct pa_heap *pa_thread_heap __attribute__((tls_model("initial-exec")));

void *pa_allocate_slow(struct pa_heap *heap, size_t bytes);
void *pa_allocate_zero_slow(struct pa_heap *heap, size_t bytes);
void *pa_reallocate_slow(struct pa_heap *heap, struct pa_pool *pool, void *p, size_t bytes,
			 const char *function);

/* A block that is at hand; NULL if there is none, or the request is not a small one. */
PA_INLINE void *pa_allocate_fast(struct pa_heap *heap, size_t bytes)
{
	if (PA_LIKELY(bytes <= PA_LINEAR_MAX))
		return pa_heap_pop(heap, pa_class_of_linear(bytes));
	return bytes <= PA_SMALL_MAX ? pa_heap_pop(heap, pa_class_of_small(bytes)) : NULL;
}

PA_INLINE void *pa_allocate(struct pa_heap *heap, size_t bytes)
{
	void *block = pa_allocate_fast(heap, bytes);

	return PA_LIKELY(block != NULL) ? block : pa_allocate_slow(heap, bytes);
}

PA_INLINE void *pa_allocate_zero(struct pa_heap *heap, size_t bytes)
{
	if (PA_LIKELY(bytes <= PA_LINEAR_MAX)) {
		void *block = pa_heap_pop(heap, pa_class_of_linear(bytes));
		if (PA_LIKELY(block != NULL))
			return memset(block, 0, bytes);
	}
	return pa_allocate_zero_slow(heap, bytes);
}

/*
 * A tiny block stays where it is while at least three quarters of it are used, as in CPython's own
 * allocator: strings and lists are cut to size all the time.
 */
PA_INLINE void *pa_reallocate(struct pa_heap *heap, void *p, size_t bytes, const char *function)
{
	struct pa_pool *pool = pa_heap_own_pool(heap, p);

	if (PA_LIKELY(pool != NULL)) {
		size_t had = (size_t)pool->class_index * PA_ALIGN;
		if (had <= PA_TINY_MAX && bytes <= had && 4 * bytes >= 3 * had)
			return p;
	}
	return pa_reallocate_slow(heap, pool, p, bytes, function);
}

/* The fast path of malloc: NULL if pa_malloc has to be called. */
PA_INLINE void *pa_malloc_fast(size_t bytes)
{
	return pa_allocate_fast(pa_thread_heap, bytes);
}

void *pa_malloc(size_t bytes);
void *pa_calloc(size_t bytes);
void *pa_realloc(void *p, size_t bytes, const char *function);
void *pa_memalign(size_t align, size_t bytes); /* align is a power of two */
void pa_free(void *p, const char *function);   /* what pa_heap_free did not, or any block */

/* A hardened process makes sure that so many bytes were asked for. */
void pa_free_sized(void *p, size_t bytes, const char *function);

/* How many bytes of the block at p may be used. */
size_t pa_usable_bytes(const void *p, const char *function);

/* Give back all free memory that the calling thread reaches; returns bytes. */
size_t pa_malloc_trim(void);

/*
 * In a forked child, where the caller is the only thread; not while it is in the midst of a change
 * itself.  Heaps that have lost their threads are adopted or, half changed, left alone.
 */
void pa_malloc_after_fork_child(void);

/* The calling thread's heap, or pa_no_heap. */
struct pa_heap *pa_malloc_heap(void);

/* From now on the process is hardened, see harden.h. Once, before there are threads. */
void pa_malloc_harden(void);

/* Once, before there are threads. False if the system refuses. */
bool pa_malloc_init(void);

#endif
