/* SPDX-License-Identifier: MIT */
/*
 * malloc, calloc, free, malloc_usable_size: every size up to a page, the sizes around each boundary
 * that an allocator may have, alignment, contents, zeroes, errno, and requests that cannot be met.
 */
#include "../lib/blocks.h"

#define ALIGNMENT 16
#define BIG_ERRNO 4242

/* Around powers of two and the eighths between them, up to the limit. */
static size_t boundary_sizes(size_t *sizes, size_t room, size_t limit)
{
	static const long around[] = { -17, -16, -9, -8, -1, 0, 1, 7, 8, 16 };
	size_t count = 0;

	for (size_t power = 4096; power <= limit; power *= 2)
		for (size_t eighth = 0; eighth < 8; eighth++)
			for (size_t i = 0; i < COUNT_OF(around); i++) {
				REQUIRE(count < room);
				sizes[count++] = power + power / 8 * eighth + (size_t)around[i];
			}
	return count;
}

/* One block: aligned, usable to the end, and gone without a trace in errno. */
static void check_block(size_t size)
{
	void *block = CALL(malloc)(size);

	REQUIRE(block != NULL, "malloc(%zu)", size);
	EXPECT(is_aligned(block, ALIGNMENT), "malloc(%zu) = %p", size, block);
	size_t usable = CALL(malloc_usable_size)(block);
	EXPECT(usable >= size, "usable size of malloc(%zu) is %zu", size, usable);
	fill(block, usable, size);
	EXPECT(is_intact(block, usable, size), "contents of malloc(%zu)", size);
	errno = BIG_ERRNO;
	CALL(free)(block);
	EXPECT(errno == BIG_ERRNO, "free of %zu bytes set errno to %d", size, errno);
}

static void every_small_size(void)
{
	for (size_t size = 0; size <= 4200; size++)
		check_block(size);
}

static void sizes_at_boundaries(void)
{
	static size_t sizes[2000];
	size_t count = boundary_sizes(sizes, COUNT_OF(sizes), 8 * MIB);

	for (size_t i = 0; i < count; i++)
		check_block(sizes[i]);
}

/* Blocks of one size side by side: each byte that usable_size grants belongs to one block. */
static void check_neighbours(size_t size, size_t count)
{
	void *blocks[64];

	for (size_t i = 0; i < count; i++) {
		blocks[i] = CALL(malloc)(size);
		REQUIRE(blocks[i] != NULL, "malloc(%zu)", size);
		fill(blocks[i], CALL(malloc_usable_size)(blocks[i]), i + 1);
	}
	for (size_t i = 0; i < count; i++)
		EXPECT(is_intact(blocks[i], CALL(malloc_usable_size)(blocks[i]), i + 1),
		       "block %zu of %zu bytes", i, size);
	for (size_t i = 0; i < count; i += 2)
		CALL(free)(blocks[i]);
	for (size_t i = 0; i < count; i += 2) {
		blocks[i] = CALL(malloc)(size);
		REQUIRE(blocks[i] != NULL, "malloc(%zu)", size);
		fill(blocks[i], CALL(malloc_usable_size)(blocks[i]), i + 100);
	}
	for (size_t i = 0; i < count; i++) {
		uint64_t seed = i % 2 == 0 ? i + 100 : i + 1;
		EXPECT(is_intact(blocks[i], CALL(malloc_usable_size)(blocks[i]), seed),
		       "block %zu of %zu bytes, every second one replaced", i, size);
		CALL(free)(blocks[i]);
	}
}

static void neighbours_do_not_touch(void)
{
	static size_t sizes[2000];

	for (size_t size = 0; size <= 4200; size++)
		check_neighbours(size, size < 300 ? 64 : 16);
	size_t count = boundary_sizes(sizes, COUNT_OF(sizes), MIB);
	for (size_t i = 0; i < count; i += 3)
		check_neighbours(sizes[i], 6);
}

static void size_zero_is_a_block(void)
{
	void *blocks[100];

	for (size_t i = 0; i < COUNT_OF(blocks); i++) {
		blocks[i] = i % 3 == 0 ? CALL(malloc)(0) : CALL(calloc)(i % 3 - 1, 2 - i % 3);
		REQUIRE(blocks[i] != NULL);
		EXPECT(is_aligned(blocks[i], ALIGNMENT));
		for (size_t j = 0; j < i; j++)
			EXPECT(blocks[i] != blocks[j], "two blocks at %p", blocks[i]);
	}
	for (size_t i = 0; i < COUNT_OF(blocks); i++)
		CALL(free)(blocks[i]);
}

static void null_is_no_block(void)
{
	errno = BIG_ERRNO;
	CALL(free)(NULL);
	EXPECT(errno == BIG_ERRNO);
	EXPECT(CALL(malloc_usable_size)(NULL) == 0);
}

/* Memory that held other contents comes back from calloc as zeroes, to the asked size. */
static void check_calloc(size_t size)
{
	void *blocks[8];
	size_t count = size <= 64 * KIB ? COUNT_OF(blocks) : 3;

	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < count; i++) {
			blocks[i] = i % 2 == 0 ? CALL(calloc)(1, size) : CALL(calloc)(size, 1);
			REQUIRE(blocks[i] != NULL, "calloc of %zu bytes", size);
			EXPECT(is_aligned(blocks[i], ALIGNMENT));
			EXPECT(is_zero(blocks[i], size), "calloc of %zu bytes, round %d", size, round);
			memset(blocks[i], 0xa5, CALL(malloc_usable_size)(blocks[i]));
		}
		for (size_t i = 0; i < count; i++)
			CALL(free)(blocks[i]);
	}
}

static void calloc_gives_zeroes(void)
{
	static size_t sizes[2000];

	for (size_t size = 0; size <= 4200; size += 1 + size / 64)
		check_calloc(size);
	size_t count = boundary_sizes(sizes, COUNT_OF(sizes), 4 * MIB);
	for (size_t i = 0; i < count; i += 7)
		check_calloc(sizes[i]);
}

/* The same after a peak, when pages have been given back and are used anew. */
static void calloc_gives_zeroes_after_a_peak(void)
{
	enum { COUNT = 40000 };
	void **blocks = (void **)table_of(COUNT, sizeof(void *));
	static const size_t sizes[] = { 24, 100, 1000, 3000, 9000, 40000, 200000 };

	for (size_t s = 0; s < COUNT_OF(sizes); s++) {
		size_t count = 40 * MIB / sizes[s] < COUNT ? 40 * MIB / sizes[s] : COUNT;
		for (size_t i = 0; i < count; i++) {
			blocks[i] = CALL(malloc)(sizes[s]);
			REQUIRE(blocks[i] != NULL);
			memset(blocks[i], 0xff, sizes[s]);
		}
		for (size_t i = 0; i < count; i++)
			if (i % 50 != 0)
				CALL(free)(blocks[i]);
		CALL(malloc_trim)(0);
		for (size_t i = 0; i < count; i++) {
			if (i % 50 == 0)
				continue;
			blocks[i] = CALL(calloc)(1, sizes[s]);
			REQUIRE(blocks[i] != NULL);
			EXPECT(is_zero(blocks[i], sizes[s]), "block %zu of %zu bytes", i, sizes[s]);
		}
		for (size_t i = 0; i < count; i++)
			CALL(free)(blocks[i]);
	}
}

static void impossible_sizes_fail(void)
{
	static const size_t sizes[] = {
		(size_t)PTRDIFF_MAX + 1,
		(size_t)PTRDIFF_MAX,
		(size_t)PTRDIFF_MAX - 4096,
		SIZE_MAX,
		SIZE_MAX - 7,
		SIZE_MAX - 15,
		SIZE_MAX - 4095,
		SIZE_MAX / 2 + 2,
		SIZE_MAX / 4 * 3,
		(size_t)1 << 62,
		(size_t)1 << 56,
		(size_t)1 << 48,
	};

	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		errno = 0;
		EXPECT(CALL(malloc)(sizes[i]) == NULL, "malloc(%#zx)", sizes[i]);
		EXPECT(errno == ENOMEM, "malloc(%#zx): errno %d", sizes[i], errno);
		errno = 0;
		EXPECT(CALL(calloc)(1, sizes[i]) == NULL, "calloc(1, %#zx)", sizes[i]);
		EXPECT(errno == ENOMEM, "calloc(1, %#zx): errno %d", sizes[i], errno);
		errno = 0;
		EXPECT(CALL(realloc)(NULL, sizes[i]) == NULL, "realloc(NULL, %#zx)", sizes[i]);
		EXPECT(errno == ENOMEM, "realloc(NULL, %#zx): errno %d", sizes[i], errno);
	}
}

static void overflowing_products_fail(void)
{
	static const size_t half = (size_t)1 << 32;
	static const struct {
		size_t count, size;
	} products[] = {
		{ half, half },           { half + 1, half },      { half, half + 1 },
		{ SIZE_MAX, 2 },          { 2, SIZE_MAX },         { SIZE_MAX / 2, 3 },
		{ SIZE_MAX, SIZE_MAX },   { 3, SIZE_MAX / 3 + 1 }, { SIZE_MAX / 16 + 2, 16 },
		{ half << 1, half << 1 }, { (size_t)1 << 63, 2 },  { half / 2 + 1, half },
	};
	void *block = CALL(malloc)(100);

	REQUIRE(block != NULL);
	fill(block, 100, 1);
	for (size_t i = 0; i < COUNT_OF(products); i++) {
		errno = 0;
		EXPECT(CALL(calloc)(products[i].count, products[i].size) == NULL, "product %zu", i);
		EXPECT(errno == ENOMEM, "product %zu: errno %d", i, errno);
		errno = 0;
		EXPECT(CALL(reallocarray)(block, products[i].count, products[i].size) == NULL,
		       "product %zu", i);
		EXPECT(errno == ENOMEM, "product %zu: errno %d", i, errno);
	}
	EXPECT(is_intact(block, 100, 1));
	CALL(free)(block);
}

static void sized_frees(void)
{
	void *library_function = dlsym(RTLD_DEFAULT, "free_sized");
	void *aligned_function = dlsym(RTLD_DEFAULT, "free_aligned_sized");
	void (*free_sized)(void *, size_t);
	void (*free_aligned_sized)(void *, size_t, size_t);

	if (!tap_has_library() && library_function == NULL)
		tap_skip("this C library has no free_sized");
	REQUIRE(library_function != NULL && aligned_function != NULL);
	memcpy(&free_sized, &library_function, sizeof(free_sized));
	memcpy(&free_aligned_sized, &aligned_function, sizeof(free_aligned_sized));
	free_sized(NULL, 10);
	free_aligned_sized(NULL, 64, 128);
	for (size_t size = 0; size < 300 * KIB; size += 1 + size / 8) {
		void *block = CALL(malloc)(size);
		REQUIRE(block != NULL);
		fill(block, size, 3);
		errno = BIG_ERRNO;
		free_sized(block, size);
		EXPECT(errno == BIG_ERRNO, "free_sized of %zu bytes: errno %d", size, errno);
		block = CALL(calloc)(1, size);
		REQUIRE(block != NULL);
		EXPECT(is_zero(block, size));
		free_sized(block, size);
		for (size_t alignment = 8; alignment <= 8192; alignment *= 4) {
			block = CALL(aligned_alloc)(alignment, size);
			REQUIRE(block != NULL);
			fill(block, size, 4);
			errno = BIG_ERRNO;
			free_aligned_sized(block, alignment, size);
			EXPECT(errno == BIG_ERRNO, "free_aligned_sized of %zu bytes: errno %d", size,
			       errno);
		}
	}
}

static void free_keeps_errno(void)
{
	static const size_t sizes[] = { 1, 100, 5000, 20000, 100000, 300000, 2000000, 40000000 };

	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		void *block = CALL(malloc)(sizes[i]);
		void *aligned = CALL(memalign)(64 * KIB, sizes[i]);
		REQUIRE(block != NULL && aligned != NULL);
		memset(block, 1, sizes[i]);
		errno = BIG_ERRNO;
		CALL(free)(block);
		CALL(free)(aligned);
		EXPECT(errno == BIG_ERRNO, "free of %zu bytes set errno to %d", sizes[i], errno);
	}
}

static const struct tap_point points[] = {
	{ "every_small_size", every_small_size },
	{ "sizes_at_boundaries", sizes_at_boundaries },
	{ "neighbours_do_not_touch", neighbours_do_not_touch },
	{ "size_zero_is_a_block", size_zero_is_a_block },
	{ "null_is_no_block", null_is_no_block },
	{ "calloc_gives_zeroes", calloc_gives_zeroes },
	{ "calloc_gives_zeroes_after_a_peak", calloc_gives_zeroes_after_a_peak },
	{ "impossible_sizes_fail", impossible_sizes_fail },
	{ "overflowing_products_fail", overflowing_products_fail },
	{ "sized_frees", sized_frees },
	{ "free_keeps_errno", free_keeps_errno },
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, points, NULL);
}
