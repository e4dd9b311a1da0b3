/* SPDX-License-Identifier: MIT */
/*
 * realloc and reallocarray: every pair of interesting sizes, growth in steps among neighbours, the
 * edge cases that glibc's manual names, and requests that fail and leave the block alone.
 */
#include "../lib/blocks.h"

static const size_t sizes[] = {
	1,      8,      15,     16,      17,      24,      100,     1000,    1024,    4000,
	4096,   4097,   8192,   12000,   16383,   16384,   16385,   20000,   32768,   40000,
	65535,  65536,  65537,  100000,  131072,  131073,  200000,  262143,  262144,  262145,
	300000, 524288, 786432, 1048575, 1048576, 1048577, 2097152, 3000000, 4194305, 9000000,
};

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* From the first size to the second; wanted is what the block held before. */
static void *resize(void *block, size_t from, size_t to, uint64_t seed)
{
	void *moved = CALL(realloc)(block, to);

	REQUIRE(moved != NULL, "realloc from %zu to %zu", from, to);
	EXPECT(is_aligned(moved, 16), "realloc from %zu to %zu: %p", from, to, moved);
	EXPECT(CALL(malloc_usable_size)(moved) >= to);
	size_t kept = smaller(from, to);
	size_t damage = find_damage(moved, 0, kept, seed);
	EXPECT(damage == kept, "realloc from %zu to %zu: byte %zu", from, to, damage);
	return moved;
}

/* There and back, with a block on either side that must not change. */
static void every_pair(void)
{
	for (size_t i = 0; i < COUNT_OF(sizes); i++)
		for (size_t j = 0; j < COUNT_OF(sizes); j++) {
			void *before = CALL(malloc)(200);
			void *block = CALL(malloc)(sizes[i]);
			void *after = CALL(malloc)(smaller(sizes[i], 100000));
			REQUIRE(before != NULL && block != NULL && after != NULL);
			fill(before, 200, 1);
			fill(after, smaller(sizes[i], 100000), 2);
			fill(block, sizes[i], 3);
			block = resize(block, sizes[i], sizes[j], 3);
			fill(block, CALL(malloc_usable_size)(block), 4);
			block = resize(block, sizes[j], sizes[i], 4);
			fill(block, sizes[i], 5);
			EXPECT(is_intact(before, 200, 1) &&
				       is_intact(after, smaller(sizes[i], 100000), 2),
			       "neighbours of %zu to %zu", sizes[i], sizes[j]);
			CALL(free)(before);
			CALL(free)(block);
			CALL(free)(after);
		}
}

/* As lists and byte strings grow: several at once, so that most cannot stay in place. */
static void check_growth(size_t count, size_t limit, size_t numerator, size_t denominator)
{
	void *blocks[16];
	size_t size = 1;

	memset(blocks, 0, sizeof(blocks));
	while (size < limit) {
		size_t next = size * numerator / denominator + 8;
		for (size_t i = 0; i < count; i++) {
			if (blocks[i] == NULL)
				blocks[i] = CALL(realloc)(NULL, next);
			else
				blocks[i] = resize(blocks[i], size, next, i + size);
			REQUIRE(blocks[i] != NULL);
		}
		for (size_t i = 0; i < count; i++)
			fill(blocks[i], next, i + next);
		size = next;
	}
	while (size > 8) {
		size_t next = size * denominator / numerator / 2;
		for (size_t i = 0; i < count; i++) {
			blocks[i] = resize(blocks[i], size, next, i + size);
			fill(blocks[i], next, i + next);
		}
		size = next;
	}
	for (size_t i = 0; i < count; i++)
		CALL(free)(blocks[i]);
}

static void growth_of_one(void)
{
	void *block = CALL(malloc)(8);
	REQUIRE(block != NULL);
	CALL(free)(block);
	check_growth(1, 48 * MIB, 9, 8);
}

static void growth_of_many(void)
{
	check_growth(16, 3 * MIB, 9, 8);
	check_growth(5, 8 * MIB, 2, 1);
}

/* Byte by byte over the small sizes and by pages over the medium ones. */
static void growth_by_small_steps(void)
{
	void *block = NULL;
	size_t before = 0;

	for (size_t size = 1; size <= 5000; size++) {
		block = before == 0 ? CALL(malloc)(1) : resize(block, before, size, 9);
		fill_range(block, before / 8 * 8, size, 9);
		before = size;
	}
	for (size_t size = 8000; size <= 700000; size += 4000) {
		block = resize(block, before, size, 9);
		fill_range(block, before / 8 * 8, size, 9);
		before = size;
	}
	for (; before > 3000; before -= 2999)
		block = resize(block, before, before - 2999, 9);
	CALL(free)(block);
}

static void edges_of_realloc(void)
{
	void *block = CALL(realloc)(NULL, 100);

	REQUIRE(block != NULL);
	fill(block, 100, 1);
	EXPECT(CALL(realloc)(block, 0) == NULL);
	block = CALL(realloc)(NULL, 0);
	EXPECT(block != NULL);
	CALL(free)(block);
	block = CALL(reallocarray)(NULL, 0, 7);
	EXPECT(block != NULL);
	EXPECT(CALL(reallocarray)(block, 7, 0) == NULL);
	block = CALL(reallocarray)(NULL, 7, 9);
	REQUIRE(block != NULL);
	fill(block, 63, 2);
	block = CALL(reallocarray)(block, 700, 9);
	REQUIRE(block != NULL);
	EXPECT(is_intact(block, 63, 2));
	CALL(free)(block);
	block = CALL(malloc)(0);
	block = CALL(realloc)(block, 50);
	REQUIRE(block != NULL);
	fill(block, 50, 3);
	block = CALL(realloc)(block, 50);
	EXPECT(is_intact(block, 50, 3));
	CALL(free)(block);
}

/* realloc(p, 0) frees: repeated on large blocks it would otherwise fill the memory. */
static void realloc_to_zero_frees(void)
{
	static const size_t freed[] = { 10, 1000, 30000, 150000, 3000000 };

	for (size_t s = 0; s < COUNT_OF(freed); s++) {
		size_t before = mapped_now();
		for (size_t i = 0; i < 800 * MIB / (freed[s] + 1000); i++) {
			void *block = CALL(malloc)(freed[s]);
			REQUIRE(block != NULL);
			EXPECT(CALL(realloc)(block, 0) == NULL);
			if (i > 300000)
				break;
		}
		EXPECT(mapped_now() < before + 130 * MIB, "%zu bytes each: %zu bytes mapped more",
		       freed[s], mapped_now() - before);
	}
}

static void failure_leaves_the_block(void)
{
	static const size_t impossible[] = {
		SIZE_MAX,        SIZE_MAX - 4095, (size_t)PTRDIFF_MAX + 1, (size_t)PTRDIFF_MAX,
		(size_t)1 << 62, (size_t)1 << 48
	};

	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		void *block = CALL(malloc)(sizes[i]);
		REQUIRE(block != NULL);
		size_t usable = CALL(malloc_usable_size)(block);
		fill(block, usable, 1);
		for (size_t j = 0; j < COUNT_OF(impossible); j++) {
			errno = 0;
			EXPECT(CALL(realloc)(block, impossible[j]) == NULL);
			EXPECT(errno == ENOMEM, "realloc from %zu to %#zx: errno %d", sizes[i],
			       impossible[j], errno);
			EXPECT(CALL(reallocarray)(block, impossible[j] / 16 + 1, 17) == NULL);
		}
		EXPECT(CALL(malloc_usable_size)(block) == usable);
		EXPECT(is_intact(block, usable, 1), "%zu bytes", sizes[i]);
		CALL(free)(block);
	}
}

/* A large block made small must not keep its large memory. */
static void shrinking_gives_back(void)
{
	void *blocks[10];
	size_t before = resident_now();

	for (size_t i = 0; i < COUNT_OF(blocks); i++) {
		blocks[i] = CALL(malloc)(20 * MIB);
		REQUIRE(blocks[i] != NULL);
		fill(blocks[i], 20 * MIB, i);
		blocks[i] = resize(blocks[i], 20 * MIB, 20000, i);
	}
	CALL(malloc_trim)(0);
	size_t after = resident_now();
	EXPECT(after < before + 20 * MIB, "%zu bytes resident more for 200 kB", after - before);
	for (size_t i = 0; i < COUNT_OF(blocks); i++) {
		EXPECT(is_intact(blocks[i], 20000, i));
		CALL(free)(blocks[i]);
	}
}

static const struct tap_point points[] = {
	{ "every_pair", every_pair },
	{ "growth_of_one", growth_of_one },
	{ "growth_of_many", growth_of_many },
	{ "growth_by_small_steps", growth_by_small_steps },
	{ "edges_of_realloc", edges_of_realloc },
	{ "realloc_to_zero_frees", realloc_to_zero_frees },
	{ "failure_leaves_the_block", failure_leaves_the_block },
	{ "shrinking_gives_back", shrinking_gives_back },
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, points, NULL);
}
