/* SPDX-License-Identifier: MIT */
/*
 * operations.c: a target for libFuzzer: bytes become calls of the engine, three a call, which are checked
 * against what is known of each block.  The engine is linked in with its assertions.
 */
#include "../lib/blocks.h"

#include "lock.h"

#define SLOTS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	unsigned char *block;
	size_t size;
} slots[SLOTS];

static void require(bool condition)
{
	if (!condition)
		abort();
}

/* Sizes of every kind: 1 to 511 one by one, then by sixteenths up to 2 MiB, some beyond. */
static size_t size_of(unsigned code)
{
	if (code < 128)
		return code * 4 + 1;
	if (code == 255)
		return PTRDIFF_MAX;
	return ((size_t)16 + code % 16) << ((code - 128) / 10 + 5);
}

/* The ends of a block tell whose it is. */
static void mark(unsigned slot)
{
	if (slots[slot].block == NULL)
		return;
	slots[slot].block[0] = (unsigned char)slot;
	slots[slot].block[slots[slot].size - 1] = (unsigned char)slot;
}

static void check(unsigned slot)
{
	require(slots[slot].block[0] == slot && slots[slot].block[slots[slot].size - 1] == slot);
	require(CALL(malloc_usable_size)(slots[slot].block) >= slots[slot].size);
}

static void release(unsigned slot)
{
	if (slots[slot].block == NULL)
		return;
	check(slot);
	CALL(free)(slots[slot].block);
	slots[slot].block = NULL;
}

static void set(unsigned slot, void *block, size_t size)
{
	release(slot);
	slots[slot].block = (unsigned char *)block;
	slots[slot].size = size;
	mark(slot);
}

static void resize(unsigned slot, size_t size)
{
	if (slots[slot].block == NULL)
		return;
	check(slot);
	void *block = CALL(realloc)(slots[slot].block, size);
	if (block == NULL) {
		require(errno == ENOMEM);
		check(slot);
		return;
	}
	slots[slot].block = (unsigned char *)block;
	require(slots[slot].block[0] == slot);
	slots[slot].size = size;
	mark(slot);
}

static void zeroed(unsigned slot, size_t size)
{
	unsigned char *block = (unsigned char *)CALL(calloc)(1, size);

	require(block == NULL || is_zero(block, size));
	set(slot, block, size);
}

static void aligned(unsigned slot, size_t size, unsigned code)
{
	size_t alignment = (size_t)1 << (4 + code % 18);
	void *block = CALL(memalign)(alignment, size);

	require(is_aligned(block, alignment));
	set(slot, block, size);
}

static void check_heaps(void)
{
	pa_lock(PA_LOCK_LIFE);
	struct pa_heap *heap = pa_heap_first_locked();
	pa_unlock(PA_LOCK_LIFE);
	for (; heap != NULL; heap = heap->next)
		pa_heap_check(heap);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (; size >= 3; data += 3, size -= 3) {
		unsigned slot = data[0] % SLOTS;
		size_t bytes = size_of(data[1]);
		switch (data[2] % 8) {
		case 0:
			resize(slot, bytes);
			break;
		case 1:
			zeroed(slot, bytes);
			break;
		case 2:
			aligned(slot, bytes, data[2] / 8);
			break;
		case 3:
		case 4:
			release(slot);
			break;
		case 5:
			if (data[0] == 0)
				CALL(malloc_trim)(0);
			break;
		default:
			set(slot, CALL(malloc)(bytes), bytes);
			break;
		}
	}
	check_heaps();
	for (unsigned slot = 0; slot < SLOTS; slot++)
		release(slot);
	check_heaps();
	return 0;
}
