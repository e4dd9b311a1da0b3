/* SPDX-License-Identifier: MIT */
/*
 * preload.h: what the files of preload/ know of each other: the mode of the process, the slow ways of
 * the entry points, and the hook into CPython.
 */
#ifndef PA_PRELOAD_H
#define PA_PRELOAD_H

#include "malloc.h"

/* Why the library stands aside; the first is that it does not. */
enum pa_mode { PA_MODE_SERVE, PA_MODE_DISABLED, PA_MODE_NOT_PYTHON, PA_MODE_SANITIZER };

/* The mode; starts the library at the first call. */
enum pa_mode pa_preload_mode(void);

/* Entry points' slow ways: start the library, stand aside, or serve. */
void *pa_entry_malloc_slow(size_t bytes);
void pa_entry_free_slow(void *p, const char *function);
void pa_entry_free_sized_slow(void *p, size_t bytes, const char *function);

/* pa_heap_settle; p and bytes are there so that the fast path need not move them out of their registers. */
void pa_entry_settle_slow(const void *p, size_t bytes, struct pa_pool *pool);
void *pa_entry_memalign(size_t align, size_t bytes);

PA_INLINE void pa_entry_free(void *p, const char *function)
{
	if (PA_UNLIKELY(!pa_heap_free(pa_thread_heap, p)))
		pa_entry_free_slow(p, function);
}

PA_INLINE void pa_entry_free_sized(void *p, size_t bytes, const char *function)
{
	struct pa_pool *pool = pa_heap_own_pool(pa_thread_heap, p);

	if (PA_UNLIKELY(!pool))
		pa_entry_free_sized_slow(p, bytes, function);
	else if (pa_heap_link(pool, p))
		pa_entry_settle_slow(p, bytes, pool);
}

PA_INLINE void *pa_entry_malloc(size_t bytes)
{
	void *p = pa_malloc_fast(bytes);

	return PA_LIKELY(p != NULL) ? p : pa_entry_malloc_slow(bytes);
}

/* The version of the CPython in this process, such as "3.11.7"; NULL if there is none. */
const char *pa_python_version(char *buffer, size_t bytes);

/* Serve CPython's MEM and OBJ domains; false if this CPython is to be left alone. */
bool pa_python_install(void);

/* Why CPython is going to replace the allocator that it finds installed; NULL if it is not. */
const char *pa_python_replaced(void);

/* Give back the free memory of the caller's interpreter, if it holds the GIL; returns bytes. */
size_t pa_python_trim(void);

#endif
