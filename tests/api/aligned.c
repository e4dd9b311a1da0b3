/* SPDX-License-Identifier: MIT */
/*
 * aligned_alloc, memalign, posix_memalign, valloc, pvalloc: alignments from 1 byte to 64 MiB, good
 * and bad ones, and what realloc and free make of such blocks.
 */
#include "../lib/blocks.h"

#define LARGEST (64 * MIB)
#define UNTOUCHED ((void *)(uintptr_t)0x1234)

static const size_t sizes[] = { 0,     1,     8,     16,    17,     24,     100,    255,    256,
				1000,  1024,  4000,  4096,  4097,   8192,   10000,  16384,  20000,
				32768, 65536, 70000, 99999, 131072, 262144, 262145, 524288, 1048576 };

enum function { ALIGNED_ALLOC, MEMALIGN, POSIX_MEMALIGN, FUNCTIONS };
static const char *const names[] = { "aligned_alloc", "memalign", "posix_memalign" };

static void *allocate(enum function function, size_t alignment, size_t size)
{
	void *block = UNTOUCHED;

	if (function == ALIGNED_ALLOC)
		return CALL(aligned_alloc)(alignment, size);
	if (function == MEMALIGN)
		return CALL(memalign)(alignment, size);
	int error = CALL(posix_memalign)(&block, alignment, size);
	EXPECT((error == 0) == (block != UNTOUCHED), "error %d, pointer %p", error, block);
	return error == 0 ? block : NULL;
}

/* Each function, alignment and size, with neighbours of the same kind. */
static void every_alignment(void)
{
	void *blocks[4];

	for (int f = 0; f < FUNCTIONS; f++) {
		enum function function = (enum function)f;
		size_t first = function == POSIX_MEMALIGN ? sizeof(void *) : 1;
		for (size_t alignment = first; alignment <= LARGEST; alignment *= 2) {
			for (size_t s = 0; s < COUNT_OF(sizes); s++) {
				size_t step = alignment < 64 * KIB ? 1 : 5;
				if (s % step != 0)
					continue;
				size_t size = sizes[s];
				for (size_t i = 0; i < COUNT_OF(blocks); i++) {
					blocks[i] = allocate(function, alignment, size);
					REQUIRE(blocks[i] != NULL, "%s(%zu, %zu)", names[f], alignment,
						size);
					EXPECT(is_aligned(blocks[i], alignment) &&
						       is_aligned(blocks[i], 16),
					       "%s(%zu, %zu) = %p", names[f], alignment, size,
					       blocks[i]);
					size_t usable = CALL(malloc_usable_size)(blocks[i]);
					EXPECT(usable >= size, "%s(%zu, %zu): %zu usable", names[f],
					       alignment, size, usable);
					fill(blocks[i], usable < MIB ? usable : size, i);
				}
				for (size_t i = 0; i < COUNT_OF(blocks); i++) {
					size_t usable = CALL(malloc_usable_size)(blocks[i]);
					EXPECT(is_intact(blocks[i], usable < MIB ? usable : size, i),
					       "%s(%zu, %zu)", names[f], alignment, size);
				}
				for (size_t i = 0; i < COUNT_OF(blocks); i++)
					CALL(free)(blocks[i]);
			}
		}
	}
}

static void bad_alignments_of_posix_memalign(void)
{
	static const size_t bad[] = { 0,  1,  2,  3,   4,    5,    7,    9,        12,          15,
				      17, 24, 48, 100, 4095, 4097, 6144, SIZE_MAX, SIZE_MAX - 7 };

	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		void *block = UNTOUCHED;
		int error = CALL(posix_memalign)(&block, bad[i], 100);
		EXPECT(error == EINVAL, "alignment %zu: error %d", bad[i], error);
		EXPECT(block == UNTOUCHED, "alignment %zu", bad[i]);
	}
}

static void bad_alignments_of_aligned_alloc(void)
{
	static const size_t bad[] = {
		0, 3, 5, 12, 24, 48, 100, 4095, 4097, 6144, SIZE_MAX, SIZE_MAX - 7
	};

	tap_need_library(); /* glibc rounded up before 2.38 */
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		errno = 0;
		EXPECT(CALL(aligned_alloc)(bad[i], 96) == NULL, "alignment %zu", bad[i]);
		EXPECT(errno == EINVAL, "alignment %zu: errno %d", bad[i], errno);
	}
}

/* memalign takes the next power of two, and only more than half the address space is wrong. */
static void odd_alignments_of_memalign(void)
{
	static const size_t odd[] = { 0, 3, 5, 12, 24, 48, 100, 4095, 4097, 6144 };

	for (size_t i = 0; i < COUNT_OF(odd); i++) {
		size_t power = 1;
		while (power < odd[i])
			power *= 2;
		void *blocks[8];
		for (size_t j = 0; j < COUNT_OF(blocks); j++) {
			blocks[j] = CALL(memalign)(odd[i], 40);
			REQUIRE(blocks[j] != NULL, "alignment %zu", odd[i]);
			EXPECT(is_aligned(blocks[j], power), "alignment %zu: %p", odd[i], blocks[j]);
		}
		for (size_t j = 0; j < COUNT_OF(blocks); j++)
			CALL(free)(blocks[j]);
	}
	errno = 0;
	EXPECT(CALL(memalign)(SIZE_MAX / 2 + 2, 1) == NULL);
	EXPECT(errno == EINVAL, "errno %d", errno);
}

static void impossible_sizes_fail(void)
{
	static const size_t impossible[] = { SIZE_MAX, SIZE_MAX - 4096, (size_t)PTRDIFF_MAX + 1,
					     (size_t)PTRDIFF_MAX, SIZE_MAX - 100 };

	for (size_t i = 0; i < COUNT_OF(impossible); i++) {
		for (size_t alignment = 8; alignment <= LARGEST; alignment *= 8) {
			void *block = UNTOUCHED;
			EXPECT(CALL(posix_memalign)(&block, alignment, impossible[i]) == ENOMEM);
			EXPECT(block == UNTOUCHED);
			errno = 0;
			EXPECT(CALL(aligned_alloc)(alignment, impossible[i]) == NULL);
			EXPECT(errno == ENOMEM, "aligned_alloc(%zu, %zu): errno %d", alignment,
			       impossible[i], errno);
			errno = 0;
			EXPECT(CALL(memalign)(alignment, impossible[i]) == NULL);
			EXPECT(errno == ENOMEM, "memalign(%zu, %zu): errno %d", alignment,
			       impossible[i], errno);
		}
		errno = 0;
		EXPECT(CALL(valloc)(impossible[i]) == NULL && errno == ENOMEM, "errno %d", errno);
		errno = 0;
		EXPECT(CALL(pvalloc)(impossible[i]) == NULL && errno == ENOMEM, "errno %d", errno);
	}
	errno = 0;
	EXPECT(CALL(aligned_alloc)((size_t)1 << 62, 1) == NULL);
	EXPECT(errno == ENOMEM, "alignment 2^62: errno %d", errno);
	errno = 0;
	EXPECT(CALL(memalign)((size_t)1 << 62, 1) == NULL);
	EXPECT(errno == ENOMEM, "alignment 2^62: errno %d", errno);
}

static void whole_pages(void)
{
	size_t page = page_bytes();

	for (size_t s = 0; s < COUNT_OF(sizes); s++) {
		void *block = CALL(valloc)(sizes[s]);
		REQUIRE(block != NULL);
		EXPECT(is_aligned(block, page), "valloc(%zu) = %p", sizes[s], block);
		fill(block, sizes[s], s);
		size_t rounded = (sizes[s] + page - 1) / page * page;
		void *pages = CALL(pvalloc)(sizes[s]);
		REQUIRE(pages != NULL);
		EXPECT(is_aligned(pages, page), "pvalloc(%zu) = %p", sizes[s], pages);
		EXPECT(CALL(malloc_usable_size)(pages) >= rounded, "pvalloc(%zu): %zu usable", sizes[s],
		       CALL(malloc_usable_size)(pages));
		fill(pages, rounded, s + 1);
		EXPECT(is_intact(block, sizes[s], s) && is_intact(pages, rounded, s + 1));
		CALL(free)(block);
		CALL(free)(pages);
	}
}

/* realloc keeps the contents of an aligned block; its alignment need not survive. */
static void realloc_of_aligned_blocks(void)
{
	static const size_t new_sizes[] = { 1, 24, 500, 4096, 9000, 40000, 150000, 300000, 2000000 };

	for (size_t alignment = 16; alignment <= 4 * MIB; alignment *= 4)
		for (size_t s = 1; s < COUNT_OF(sizes); s += 2)
			for (size_t n = 0; n < COUNT_OF(new_sizes); n++) {
				void *block = CALL(memalign)(alignment, sizes[s]);
				REQUIRE(block != NULL);
				fill(block, sizes[s], s);
				void *moved = CALL(realloc)(block, new_sizes[n]);
				REQUIRE(moved != NULL);
				size_t kept = sizes[s] < new_sizes[n] ? sizes[s] : new_sizes[n];
				EXPECT(find_damage(moved, 0, kept, s) == kept,
				       "memalign(%zu, %zu), realloc to %zu: byte %zu of %zu", alignment,
				       sizes[s], new_sizes[n], find_damage(moved, 0, kept, s), kept);
				EXPECT(CALL(malloc_usable_size)(moved) >= new_sizes[n]);
				EXPECT(is_aligned(moved, 16));
				fill(moved, new_sizes[n], n);
				CALL(free)(moved);
			}
}

/* Zeroes from calloc where aligned blocks have been. */
static void calloc_after_aligned_blocks(void)
{
	for (size_t alignment = 32; alignment <= MIB; alignment *= 2)
		for (size_t s = 1; s < COUNT_OF(sizes); s += 3) {
			void *aligned = CALL(memalign)(alignment, sizes[s]);
			REQUIRE(aligned != NULL);
			memset(aligned, 0xee, CALL(malloc_usable_size)(aligned));
			CALL(free)(aligned);
			unsigned char *zeroes = (unsigned char *)CALL(calloc)(sizes[s], 1);
			REQUIRE(zeroes != NULL);
			EXPECT(is_zero(zeroes, sizes[s]), "%zu bytes after alignment %zu", sizes[s],
			       alignment);
			CALL(free)(zeroes);
		}
}

/* Many live blocks of one alignment: none overlaps, and address space is not used up. */
static void many_aligned_blocks(void)
{
	enum { COUNT = 2000 };
	static void *blocks[COUNT];

	for (size_t alignment = 32; alignment <= 64 * KIB; alignment *= 4) {
		for (size_t i = 0; i < COUNT; i++) {
			blocks[i] = CALL(aligned_alloc)(alignment, 1 + i % (3 * alignment));
			REQUIRE(blocks[i] != NULL && is_aligned(blocks[i], alignment));
			fill(blocks[i], 1 + i % (3 * alignment), i);
		}
		for (size_t i = 0; i < COUNT; i++)
			EXPECT(is_intact(blocks[i], 1 + i % (3 * alignment), i));
		for (size_t i = 0; i < COUNT; i++)
			CALL(free)(blocks[(i * 7) % COUNT]);
	}
}

static const struct tap_point points[] = {
	{ "every_alignment", every_alignment },
	{ "bad_alignments_of_posix_memalign", bad_alignments_of_posix_memalign },
	{ "bad_alignments_of_aligned_alloc", bad_alignments_of_aligned_alloc },
	{ "odd_alignments_of_memalign", odd_alignments_of_memalign },
	{ "impossible_sizes_fail", impossible_sizes_fail },
	{ "whole_pages", whole_pages },
	{ "realloc_of_aligned_blocks", realloc_of_aligned_blocks },
	{ "calloc_after_aligned_blocks", calloc_after_aligned_blocks },
	{ "many_aligned_blocks", many_aligned_blocks },
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, points, NULL);
}
