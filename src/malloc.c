/* SPDX-License-Identifier: MIT */
/*
 * malloc.c: see malloc.h.  Owns the threads' heaps, from the first request to the thread's end.
 */
#include "malloc.h"

#include "harden.h"
#include "large.h"
#include "lock.h"
#include "os.h"

#include <limits.h>
#include <pthread.h>
#include <string.h>

__thread struct pa_heap *pa_thread_heap __attribute__((tls_model("initial-exec"))) = &pa_no_heap;

/* [owner: thread] its heap has been abandoned; what it still asks for comes from the shared one. */
static __thread bool thread_has_ended __attribute__((tls_model("initial-exec")));

/*
 * [owner: thread] Its heap, where the process is hardened: pa_thread_heap stays at pa_no_heap then, so that
 * the fast paths find nothing.
 */
static __thread struct pa_heap *hardened_heap __attribute__((tls_model("initial-exec")));

static struct {
	pthread_key_t key;           /* [const] its destructor runs at a thread's end */
	bool has_key;                /* [const] */
	struct pa_heap *shared_heap; /* [lock: shared] */
} threads;

static void *no_memory(void)
{
	errno = ENOMEM;
	return NULL;
}

/* --- on a heap --- */

static void *allocate_class(struct pa_heap *heap, unsigned class_index)
{
	void *p = pa_heap_pop(heap, class_index);

	return p ? p : pa_heap_allocate_slow(heap, class_index);
}

/* Memory that is sure to be zero sets *is_zero, if somebody wants to know. */
static void *allocate_once(struct pa_heap *heap, size_t bytes, bool *is_zero)
{
	if (bytes <= PA_LINEAR_MAX)
		return allocate_class(heap, pa_class_of_linear(bytes));
	if (bytes <= PA_SMALL_MAX)
		return allocate_class(heap, pa_class_of_small(bytes));
	if (bytes <= PA_MEDIUM_MAX)
		return pa_heap_allocate_run(heap, bytes, false);
	return pa_heap_allocate_large(heap, bytes, 1, is_zero);
}

/* The system refused memory: give back all that is free, and tell whether to ask again. */
static PA_COLD bool make_room(struct pa_heap *heap, size_t bytes)
{
	return bytes <= PA_REQUEST_MAX - PA_ARENA_BYTES &&
	       pa_heap_trim(heap) + (pa_heap_shrink_caches(PA_RESERVE_NOTHING) << PA_UNIT_SHIFT) > 0;
}

/* Once more, where it failed at first and there was something to give back. */
static PA_COLD void *allocate_again(struct pa_heap *heap, size_t bytes, bool *is_zero)
{
	void *p = make_room(heap, bytes) ? allocate_once(heap, bytes, is_zero) : NULL;

	return p ? p : no_memory();
}

static void *allocate(struct pa_heap *heap, size_t bytes, bool *is_zero)
{
	void *p = allocate_once(heap, bytes, is_zero);

	return PA_LIKELY(p != NULL) ? p : allocate_again(heap, bytes, is_zero);
}

void *pa_allocate_slow(struct pa_heap *heap, size_t bytes)
{
	if (PA_UNLIKELY(bytes > PA_SMALL_MAX))
		return allocate(heap, bytes, NULL);
	void *p = pa_heap_allocate_slow(heap, pa_class_of(bytes));
	return PA_LIKELY(p != NULL) ? p : allocate_again(heap, bytes, NULL);
}

void *pa_allocate_zero_slow(struct pa_heap *heap, size_t bytes)
{
	bool is_zero = false;
	void *p = allocate(heap, bytes, &is_zero);

	return p && !is_zero ? memset(p, 0, bytes) : p;
}

static void *allocate_aligned_once(struct pa_heap *heap, size_t align, size_t bytes)
{
	if (align <= PA_SLOT_BYTES && bytes <= PA_SMALL_MAX &&
	    pa_round_up(bytes, align) <= PA_SMALL_MAX)
		return allocate_class(heap, pa_class_of_aligned(bytes, align));
	if (align <= PA_SLOT_BYTES && bytes <= PA_MEDIUM_MAX)
		return pa_heap_allocate_run(heap, bytes, false);
	return pa_heap_allocate_large(heap, bytes, align, NULL);
}

static void *allocate_aligned(struct pa_heap *heap, size_t align, size_t bytes)
{
	if (align <= PA_ALIGN)
		return pa_allocate(heap, bytes);
	if (bytes > PA_REQUEST_MAX - align)
		return no_memory();
	void *p = allocate_aligned_once(heap, align, bytes);
	if (PA_UNLIKELY(!p) && make_room(heap, bytes))
		p = allocate_aligned_once(heap, align, bytes);
	return p ? p : no_memory();
}

static void release(struct pa_heap *heap, void *p, const char *function)
{
	if (!pa_heap_free(heap, p))
		pa_heap_free_slow(heap, p, function);
}

/* Shrinking never fails: without memory for a smaller block, the old one stays. */
static PA_COLD void *keep_if_smaller(void *p, size_t had, size_t bytes, int saved)
{
	if (bytes > had)
		return NULL;
	errno = saved;
	return p;
}

static void *move(struct pa_heap *heap, void *p, size_t had, size_t bytes, const char *function)
{
	int saved = errno;
	bool is_growing = bytes > had && bytes > PA_SMALL_MAX && bytes <= PA_MEDIUM_MAX;
	void *moved = is_growing ? pa_heap_allocate_run(heap, bytes, true) : NULL;

	if (!moved)
		moved = pa_allocate(heap, bytes);
	if (moved) {
		memcpy(moved, p, pa_min(had, bytes));
		release(heap, p, function);
		return moved;
	}
	return keep_if_smaller(p, had, bytes, saved);
}

/*
 * Of tiny blocks see pa_reallocate, which comes first.  In larger ones there is more to save: buffers that are cut to what
 * was read into them.
 */
static bool is_good_fit(size_t had, size_t bytes)
{
	return bytes <= had && bytes >= had - (had >> (had > PA_TINY_MAX ? 4 : 2));
}

static void *reallocate_large(struct pa_heap *heap, void *p, size_t had, size_t bytes,
			      const char *function)
{
	if (bytes > PA_MEDIUM_MAX / 2) {
		if (bytes <= had && had - bytes < pa_os_page_bytes())
			return p;
		void *resized = pa_large_resize(p, bytes);
		if (resized) {
			if (bytes > had)
				pa_heap_make_way(heap, bytes - had);
			return resized;
		}
	}
	return move(heap, p, had, bytes, function);
}

/* A block of another owner, a run or a large object. */
static void *reallocate_other(struct pa_heap *heap, void *p, size_t bytes, const char *function)
{
	struct pa_pool *pool = pa_heap_find(heap, p, function);

	if (!pool) {
		size_t had = pa_large_bytes_again(&heap->large_seen, p);
		if (had == 0)
			pa_fatal(PA_FATAL_FOREIGN, function, p);
		return reallocate_large(heap, p, had, bytes, function);
	}
	bool is_own_run =
		pool->class_index == PA_CLASS_RUN && pa_load_relaxed(&pool->owner) == pa_heap_tag(heap);
	size_t had = pa_pool_block_bytes(pool);
	if (is_own_run && bytes > PA_SMALL_MAX && bytes <= PA_MEDIUM_MAX &&
	    pa_heap_resize_run(heap, pool, bytes))
		return p;
	return is_good_fit(had, bytes) ? p : move(heap, p, had, bytes, function);
}

/* pool is p's, NULL if pa_heap_own_pool did not find it. */
void *pa_reallocate_slow(struct pa_heap *heap, struct pa_pool *pool, void *p, size_t bytes,
			 const char *function)
{
	if (PA_UNLIKELY(!pool) || PA_UNLIKELY(pool->class_index == PA_CLASS_RUN))
		return reallocate_other(heap, p, bytes, function);
	size_t had = pa_pool_class(pool)->block_bytes;
	if (had <= PA_TINY_MAX && bytes <= PA_TINY_MAX) {
		unsigned class_index = pa_class_of_linear(bytes);
		if (class_index == pool->class_index)
			return p;
		void *moved = pa_heap_pop(heap, class_index);
		if (PA_LIKELY(moved != NULL)) {
			memcpy(moved, p, pa_min(had, bytes));
			pa_heap_put(heap, pool, p);
			return moved;
		}
	}
	return is_good_fit(had, bytes) ? p : move(heap, p, had, bytes, function);
}

/* --- on the calling thread's heap --- */

static void thread_end(void *heap)
{
	if (pa_is_hardened())
		pa_harden_flush(heap);
	pa_thread_heap = &pa_no_heap;
	hardened_heap = NULL;
	thread_has_ended = true;
	pa_heap_abandon(heap);
}

bool pa_malloc_init(void)
{
	threads.has_key = pthread_key_create(&threads.key, thread_end) == 0;
	return threads.has_key;
}

/* The thread's own heap, made at its first request; NULL: it has to use the shared one. */
static struct pa_heap *own_heap(void)
{
	struct pa_heap *heap = pa_thread_heap;

	if (PA_LIKELY(heap != &pa_no_heap))
		return heap;
	if (thread_has_ended || hardened_heap)
		return hardened_heap;
	heap = pa_heap_acquire(PA_HEAP_THREAD);
	if (!heap)
		return NULL;
	pa_store_relaxed(&heap->thread, pa_thread_identity());
	if (pa_is_hardened())
		hardened_heap = heap;
	else
		pa_thread_heap = heap;
	/* May allocate, which is why the heap is there already.  Without a key, heaps are not handed on. */
	if (threads.has_key)
		pthread_setspecific(threads.key, heap);
	return heap;
}

/* The heap to serve the thread; *is_shared tells that it has to be handed back by put_heap. */
static struct pa_heap *get_heap(bool *is_shared)
{
	struct pa_heap *heap = own_heap();

	*is_shared = heap == NULL;
	if (heap)
		return heap;
	pa_lock(PA_LOCK_SHARED);
	if (!threads.shared_heap)
		threads.shared_heap = pa_heap_acquire(PA_HEAP_SHARED);
	return threads.shared_heap;
}

static void put_heap(bool is_shared)
{
	if (is_shared)
		pa_unlock(PA_LOCK_SHARED);
}

/* call is evaluated with the thread's heap as heap; without any heap there is no memory. */
#define WITH_HEAP(result, call) \
	do { \
		bool is_shared; \
		struct pa_heap *heap = get_heap(&is_shared); \
		(result) = heap ? (call) : no_memory(); \
		put_heap(is_shared); \
	} while (0)

void *pa_malloc(size_t bytes)
{
	void *p;

	WITH_HEAP(p, pa_is_hardened() ? pa_harden_allocate(heap, 1, bytes, false)
				      : pa_allocate(heap, bytes));
	return p;
}

void *pa_calloc(size_t bytes)
{
	void *p;

	WITH_HEAP(p, pa_is_hardened() ? pa_harden_allocate(heap, 1, bytes, true)
				      : pa_allocate_zero(heap, bytes));
	return p;
}

void *pa_realloc(void *p, size_t bytes, const char *function)
{
	void *resized;

	WITH_HEAP(resized, pa_is_hardened() ? pa_harden_reallocate(heap, p, bytes, function)
					    : pa_reallocate(heap, p, bytes, function));
	return resized;
}

void *pa_memalign(size_t align, size_t bytes)
{
	void *p;

	WITH_HEAP(p, pa_is_hardened() ? pa_harden_allocate(heap, align, bytes, false)
				      : allocate_aligned(heap, align, bytes));
	return p;
}

/* In a hardened process, where the block waits in the thread's heap; bytes as pa_harden_free has it. */
static PA_COLD void free_hardened(void *p, size_t bytes, const char *function)
{
	bool is_shared;
	struct pa_heap *heap = get_heap(&is_shared);

	pa_harden_free(heap, p, bytes, function);
	put_heap(is_shared);
}

void pa_free(void *p, const char *function)
{
	/* Needs no heap: what is not the thread's own goes to its owner's remote list. */
	if (pa_is_hardened())
		free_hardened(p, PA_HARDEN_ANY_SIZE, function);
	else
		pa_heap_free_slow(pa_thread_heap, p, function);
}

void pa_free_sized(void *p, size_t bytes, const char *function)
{
	if (pa_is_hardened())
		free_hardened(p, bytes, function);
	else
		pa_heap_free_slow(pa_thread_heap, p, function);
}

size_t pa_usable_bytes(const void *p, const char *function)
{
	if (pa_is_hardened())
		return pa_harden_usable_bytes(hardened_heap, p, function);
	struct pa_pool *pool = pa_heap_find(pa_thread_heap, p, function);
	if (pool)
		return pa_pool_block_bytes(pool);
	size_t bytes = pa_large_bytes(p);
	if (bytes == 0)
		pa_fatal(PA_FATAL_FOREIGN, function, p);
	return bytes;
}

struct pa_heap *pa_malloc_heap(void)
{
	return hardened_heap ? hardened_heap : pa_thread_heap;
}

void pa_malloc_harden(void)
{
	if (pa_is_hardened())
		return;
	/* What the thread's heap has served has no canaries: nobody allocates from it again. */
	if (pa_thread_heap != &pa_no_heap) {
		pa_thread_heap->is_plain = true;
		pa_thread_heap->state = PA_HEAP_QUARANTINED;
		pa_thread_heap = &pa_no_heap;
	}
	pa_harden_begin();
}

void pa_malloc_after_fork_child(void)
{
	pa_heap_after_fork_child(pa_malloc_heap());
	if (threads.shared_heap && threads.shared_heap->state == PA_HEAP_QUARANTINED)
		threads.shared_heap = NULL;
}

size_t pa_malloc_trim(void)
{
	size_t bytes = 0;

	if (hardened_heap)
		pa_harden_flush(hardened_heap);
	if (pa_malloc_heap() != &pa_no_heap)
		bytes += pa_heap_trim(pa_malloc_heap());
	uint32_t mark = pa_reserve_mark();
	pa_heap_serve_abandoned(PA_RESERVE_NOTHING, UINT_MAX);
	bytes += (size_t)(pa_reserve_mark() - mark) << PA_UNIT_SHIFT;
	bytes += (size_t)pa_heap_shrink_caches(PA_RESERVE_NOTHING) << PA_UNIT_SHIFT;
	return bytes;
}
