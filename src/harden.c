/* SPDX-License-Identifier: MIT */
/*
 * harden.c: see harden.h.
 */
#include "harden.h"

#include "canary.h"
#include "guarded.h"
#include "large.h"
#include "manager.h"
#include "quarantine.h"

#include <string.h>

#define LISTED_BYTES 32u /* the least block: a free one's link, key and canary, and 16 to align them */

/* [const] Large objects lie between guards and have canaries; not if some are older than that. */
static bool has_guarded_large;

/* A block in use, as its canary has it. */
struct block {
	char *start;
	struct pa_pool *pool; /* NULL: a large object */
	size_t room;
	size_t bytes;  /* that were asked for */
	bool is_plain; /* older than the process is hardened: all of its room counts as asked for */
};

static struct block find_large(const void *p, const char *function)
{
	struct block block = { .start = (char *)(uintptr_t)p, .is_plain = !has_guarded_large };

	block.bytes = block.room = pa_large_bytes(p);
	if (block.room == 0)
		pa_fatal(pa_guarded_is_kept(p) ? PA_FATAL_FREED : PA_FATAL_FOREIGN, function, p);
	return block;
}

static struct block find_small(struct pa_pool *pool, const void *p)
{
	struct block block = { .start = (char *)(uintptr_t)p,
			       .pool = pool,
			       .room = pa_pool_block_bytes(pool) };

	block.bytes = block.room;
	block.is_plain = pa_arena_of(pool)->heap->is_plain;
	return block;
}

/* The block in use that begins at p; or the end, if there is none, or something has been written over it. */
static struct block find(const struct pa_heap *heap, const void *p, const char *function)
{
	struct pa_pool *pool = pa_heap_find(heap ? heap : &pa_no_heap, p, function);
	struct block block = pool ? find_small(pool, p) : find_large(p, function);

	if (block.is_plain)
		return block;
	switch (pa_canary_get(p, block.room, &block.bytes)) {
	case PA_CANARY_LIVE:
		break;
	case PA_CANARY_FREED:
		pa_fatal(PA_FATAL_FREED, function, p);
	case PA_CANARY_BROKEN:
		pa_fatal(PA_FATAL_OVERRUN, function, p);
	}
	return block;
}

/* --- taking --- */

static void *take_class(struct pa_heap *heap, unsigned class_index)
{
	struct pa_block *p = pa_heap_pop_encoded(heap, class_index);

	if (!p)
		p = pa_heap_allocate_slow(heap, class_index);
	if (!p)
		return NULL;
	if (!pa_canary_is_clear(p, pa_pool_block_bytes(pa_arena_pool_at(p)), sizeof *p))
		pa_fatal(PA_FATAL_WRITTEN, "free", p);
	*p = (struct pa_block){ 0 };
	return p;
}

/* A block that holds nothing but zeros; but not a run, unless is_zero. */
static void *take(struct pa_heap *heap, size_t align, size_t bytes, bool is_zero)
{
	bool is_known_zero;

	if (align <= PA_SLOT_BYTES && pa_round_up(bytes, align) <= PA_SMALL_MAX)
		return take_class(heap, align <= PA_ALIGN ? pa_class_of(bytes)
							  : pa_class_of_aligned(bytes, align));
	if (align <= PA_SLOT_BYTES && bytes <= PA_MEDIUM_MAX) {
		void *p = pa_heap_allocate_run(heap, bytes, false);
		return p && is_zero ? memset(p, 0, bytes) : p;
	}
	void *p = pa_heap_allocate_large(heap, bytes, align, &is_known_zero);
	return p && is_zero && !is_known_zero ? memset(p, 0, bytes) : p;
}

/* The system refused memory: give back all that is free, and tell whether to ask again. */
static PA_COLD bool make_room(struct pa_heap *heap)
{
	bool has_waited = pa_harden_flush(heap);

	has_waited |= pa_guarded_release();
	return pa_heap_trim(heap) + (pa_heap_shrink_caches(PA_RESERVE_NOTHING) << PA_UNIT_SHIFT) > 0 ||
	       has_waited;
}

void *pa_harden_allocate(struct pa_heap *heap, size_t align, size_t bytes, bool is_zero)
{
	size_t room = pa_max(bytes, LISTED_BYTES - PA_CANARY_BYTES) + PA_CANARY_BYTES;
	void *p = NULL;

	if (bytes <= PA_REQUEST_MAX - PA_ARENA_BYTES && align <= PA_REQUEST_MAX - bytes) {
		p = take(heap, align, room, is_zero);
		if (PA_UNLIKELY(!p) && make_room(heap))
			p = take(heap, align, room, is_zero);
	}
	if (!p) {
		errno = ENOMEM;
		return NULL;
	}
	if (pa_pagemap_has(p))
		pa_canary_set(p, pa_pool_block_bytes(pa_arena_pool_at(p)), bytes);
	else if (has_guarded_large)
		pa_canary_set(p, pa_large_bytes(p), bytes);
	return p;
}

/* --- freeing --- */

/* A block leaves the quarantine, or did not wait. */
static void release(struct pa_heap *heap, char *p)
{
	struct pa_pool *pool = pa_arena_pool_at(p);

	if (!pa_canary_is_clear(p, pa_pool_block_bytes(pool), 0))
		pa_fatal(PA_FATAL_WRITTEN, "free", p);
	pa_heap_put_encoded(heap, pool, (struct pa_block *)p);
}

static bool release_what_is_due(struct pa_heap *heap, bool is_all)
{
	struct pa_quarantined due = pa_quarantine_take(heap->quarantine, is_all);
	bool is_any = due.block != NULL;

	while (due.block) {
		release(heap, due.block);
		due = pa_quarantine_take(heap->quarantine, is_all);
	}
	return is_any;
}

static bool has_quarantine(struct pa_heap *heap)
{
	if (heap && !heap->quarantine)
		heap->quarantine = pa_manager_record(sizeof *heap->quarantine);
	return heap && heap->quarantine;
}

static void free_block(struct pa_heap *heap, struct block block, const char *function)
{
	if (!block.pool) {
		if (!pa_large_free(block.start))
			pa_fatal(PA_FATAL_FREED, function, block.start);
		return;
	}
	if (block.is_plain) {
		pa_heap_put_encoded(NULL, block.pool, (struct pa_block *)block.start);
		return;
	}
	pa_canary_clear(block.start, block.room);
	if (!has_quarantine(heap)) {
		release(heap, block.start);
		return;
	}
	release_what_is_due(heap, false); /* before it comes, else it might be the one that goes */
	pa_quarantine_put(heap->quarantine, (struct pa_quarantined){ block.start, block.room });
}

void pa_harden_free(struct pa_heap *heap, void *p, size_t bytes, const char *function)
{
	struct block block = find(heap, p, function);

	if (bytes != PA_HARDEN_ANY_SIZE &&
	    (block.is_plain ? bytes > block.bytes : bytes != block.bytes))
		pa_fatal(PA_FATAL_SIZE, function, p);
	free_block(heap, block, function);
}

bool pa_harden_flush(struct pa_heap *heap)
{
	return heap->quarantine && release_what_is_due(heap, true);
}

/* --- the rest --- */

size_t pa_harden_usable_bytes(const struct pa_heap *heap, const void *p, const char *function)
{
	return find(heap, p, function).bytes;
}

/* It fits, and most of the block stays in use. */
static bool is_good_fit(const struct block *block, size_t bytes)
{
	return !block->is_plain && bytes <= block->room - PA_CANARY_BYTES &&
	       bytes + PA_CANARY_BYTES >= block->room - block->room / 4;
}

static void *resize(const struct block *block, size_t bytes)
{
	if (bytes < block->bytes)
		memset(block->start + bytes, 0, block->bytes - bytes);
	pa_canary_set(block->start, block->room, bytes);
	return block->start;
}

void *pa_harden_reallocate(struct pa_heap *heap, void *p, size_t bytes, const char *function)
{
	struct block block = find(heap, p, function);
	int saved = errno;

	if (is_good_fit(&block, bytes))
		return resize(&block, bytes);
	void *moved = pa_harden_allocate(heap, 1, bytes, false);
	if (moved) {
		memcpy(moved, p, pa_min(block.bytes, bytes));
		free_block(heap, block, function);
		return moved;
	}
	if (bytes > block.bytes)
		return NULL;
	errno = saved; /* shrinking never fails */
	return block.is_plain ? p : resize(&block, bytes);
}

void pa_harden_begin(void)
{
	pa_secret_begin();
	has_guarded_large = pa_large_guard();
}
