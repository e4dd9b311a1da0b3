/* SPDX-License-Identifier: MIT */
/*
 * sizeclass.h: which block sizes there are, and how pools are cut into them.  Pure arithmetic and one
 * constant table; no state.
 *
 * Class 0 serves requests of no bytes and class c requests of 16 * c bytes up to 1024, so that the
 * fast path finds its class by one shift.  From 512 bytes on, each doubling has 32 classes (at most 3.1 %
 * apart) up to PA_SMALL_MAX; those of the first are 16 bytes apart as well.  Requests above that are page runs.
 *
 * So many classes waste little within blocks, but a page for each that is hardly used.  Therefore a
 * heap begins with the coarse ones, every fourth from 512 bytes on.  The others get pools of their own
 * once there are many requests for them.
 */
#ifndef PA_SIZECLASS_H
#define PA_SIZECLASS_H

#include "base.h"

#define PA_TINY_MAX 512u    /* a class that is asked for has pools of its own up to here */
#define PA_LINEAR_MAX 1024u /* one class every 16 bytes up to here */
#define PA_TINY_CLASSES (PA_TINY_MAX / 16 + 1)
#define PA_DOUBLINGS 5u /* 512 to 16384 */
#define PA_CLASSES (PA_TINY_CLASSES + 32 * PA_DOUBLINGS)
#define PA_SMALL_MAX ((size_t)PA_TINY_MAX << PA_DOUBLINGS)

/* The pseudo class of medium objects: one run of slots, one block. */
#define PA_CLASS_RUN PA_CLASSES

/*
 * CPython's objects begin 48 bytes behind a cache line where their size is a multiple of one, as in its own
 * pools.  So the characters of a short string, 48 bytes behind its start, do not lie across two lines; and
 * the collector, which follows a list through the first 16 bytes of objects, has brought the line of the
 * next by looking into this one.  Up to this size there is room for that in each pool; nobody asks an
 * interpreter's heap for alignment.
 */
#define PA_LEAD_MAX 256u
#define PA_LEAD_BYTES 48u

/* Requests up to here are page runs in arenas; larger ones are mappings of their own. */
#define PA_MEDIUM_MAX (PA_ARENA_BYTES / 4)

struct pa_class {
	uint32_t block_bytes;
	uint32_t reciprocal; /* 2^32 / block_bytes, rounded up */
	uint16_t blocks;     /* blocks of one pool */
	uint8_t slots;       /* slots of one pool */
};

extern const struct pa_class pa_classes[PA_CLASSES + 1];

/* The class of a request up to PA_LINEAR_MAX. */
PA_INLINE unsigned pa_class_of_linear(size_t bytes)
{
	return (unsigned)(bytes + 15) >> 4;
}

PA_INLINE size_t pa_class_lead(unsigned class_index)
{
	return class_index <= PA_LEAD_MAX / 16 ? PA_LEAD_BYTES : 0;
}

/* The class of a request above PA_TINY_MAX and up to PA_SMALL_MAX. */
PA_INLINE unsigned pa_class_of_small(size_t bytes)
{
	unsigned high = pa_highest_bit(bytes - 1);

	return PA_TINY_CLASSES + (high - 9) * 32 + (unsigned)((bytes - 1) >> (high - 5) & 31);
}

/* The class that serves requests of a class in its place while they are few.  Its alignment is no less. */
PA_INLINE unsigned pa_class_coarse(unsigned class_index)
{
	if (class_index < PA_TINY_CLASSES)
		return class_index;
	return PA_TINY_CLASSES + ((class_index - PA_TINY_CLASSES) | 3);
}

PA_INLINE unsigned pa_class_of(size_t bytes)
{
	return bytes <= PA_LINEAR_MAX ? pa_class_of_linear(bytes) : pa_class_of_small(bytes);
}

/*
 * The index of the block that holds an offset into a pool, and whether the offset is a block's start.
 * Exact for pools up to 64 KiB: the product's error stays below one part in 2^32 / (2^16 * 2^14).
 */
PA_INLINE unsigned pa_class_block_index(uint32_t reciprocal, uint32_t offset)
{
	return (unsigned)((uint64_t)offset * reciprocal >> 32);
}

PA_INLINE bool pa_class_is_block_start(uint32_t reciprocal, uint32_t offset)
{
	return (uint32_t)(offset * reciprocal) < reciprocal;
}

/* The smallest class for bytes whose blocks all lie on multiples of align (a power of two). */
unsigned pa_class_of_aligned(size_t bytes, size_t align);

#endif
