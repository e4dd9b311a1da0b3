/* SPDX-License-Identifier: MIT */
/*
 * pyarena.h as a program sees it that looks each function up in the preloaded library: snapshots of
 * any size, numbers that follow the program, trimming, the reserve, and what is true when the
 * library stands aside.
 */
#include "../lib/blocks.h"

#include "../../src/pyarena.h"

#include <ctype.h>
#include <pthread.h>

static struct {
	const char *(*version)(void);
	int (*is_active)(void);
	int (*stats)(struct pyarena_stats *);
	size_t (*class_stats)(struct pyarena_class_stats *, size_t);
	size_t (*heap_stats)(struct pyarena_heap_stats *, size_t);
	size_t (*trim)(void);
	void (*keep_free)(size_t);
} library;

static void look_up(const char *name, void *function)
{
	void *symbol = dlsym(RTLD_DEFAULT, name);

	REQUIRE(symbol != NULL, "%s", name);
	memcpy(function, &symbol, sizeof(symbol));
}

static void look_all_up(void)
{
	tap_need_library();
	look_up("pyarena_version", &library.version);
	look_up("pyarena_is_active", &library.is_active);
	look_up("pyarena_stats", &library.stats);
	look_up("pyarena_class_stats", &library.class_stats);
	look_up("pyarena_heap_stats", &library.heap_stats);
	look_up("pyarena_trim", &library.trim);
	look_up("pyarena_keep_free", &library.keep_free);
}

static struct pyarena_stats snapshot(void)
{
	struct pyarena_stats stats;

	memset(&stats, 0xcc, sizeof(stats));
	stats.size = sizeof(stats);
	REQUIRE(library.stats(&stats) == 0);
	return stats;
}

static void version_is_three_numbers(void)
{
	look_all_up();
	const char *version = library.version();
	int dots = 0;
	for (const char *at = version; *at != '\0'; at++) {
		EXPECT(isdigit((unsigned char)*at) || *at == '.', "%s", version);
		dots += *at == '.' ? 1 : 0;
	}
	EXPECT(dots == 2, "%s", version);
	EXPECT(library.is_active() == 1);
}

static void snapshots_of_other_sizes(void)
{
	struct {
		struct pyarena_stats stats;
		uint64_t later_fields[4];
	} big;
	uint64_t small[3] = { sizeof(small), 1, 1 };

	look_all_up();
	EXPECT(library.stats(NULL) == EINVAL);
	memset(&big, 0, sizeof(big));
	for (uint64_t size = 0; size < 2 * sizeof(uint64_t); size++) {
		big.stats.size = size;
		EXPECT(library.stats(&big.stats) == EINVAL, "size %llu", (unsigned long long)size);
	}
	/* A newer caller: fields that this library does not know. */
	memset(&big, 0xcc, sizeof(big));
	big.stats.size = sizeof(big);
	EXPECT(library.stats(&big.stats) == 0);
	for (size_t i = 0; i < COUNT_OF(big.later_fields); i++)
		EXPECT(big.later_fields[i] == 0 || big.later_fields[i] == UINT64_C(0xcccccccccccccccc),
		       "field %zu after the last is %llx", i, (unsigned long long)big.later_fields[i]);
	/* An older caller: what its struct does not have stays unwritten. */
	uint64_t memory[sizeof(struct pyarena_stats) / sizeof(uint64_t)];
	for (size_t fields = 2; fields <= COUNT_OF(memory); fields++) {
		memset(memory, 0xcc, sizeof(memory));
		memory[0] = fields * sizeof(uint64_t);
		EXPECT(library.stats((struct pyarena_stats *)(void *)memory) == 0);
		for (size_t i = 1; i < COUNT_OF(memory); i++)
			EXPECT((memory[i] != UINT64_C(0xcccccccccccccccc)) == (i < fields),
			       "%zu fields asked, field %zu", fields, i);
	}
	void *block = CALL(malloc)(1000);
	EXPECT(library.stats((struct pyarena_stats *)(void *)small) == 0);
	CALL(free)(block);
	EXPECT(small[1] > 1 && small[2] > 1);
}

static void check_sums(const struct pyarena_stats *stats)
{
	EXPECT(stats->live_bytes <= stats->mapped_bytes);
	EXPECT(stats->dirty_bytes <= stats->mapped_bytes);
	EXPECT(stats->purged_bytes <= stats->mapped_bytes);
	EXPECT(stats->large_bytes <= stats->mapped_bytes);
	EXPECT(stats->large_blocks <= stats->live_blocks);
	EXPECT(stats->cached_bytes <= stats->dirty_bytes);
	EXPECT(stats->arenas <= stats->arenas_made);
	EXPECT(stats->arenas_released <= stats->arenas_made);
	EXPECT(stats->purged_pages >= stats->purges || stats->purges == 0);
}

/* count blocks of a size appear in live_bytes and live_blocks and vanish from them. */
static void check_follow(size_t size, size_t count, bool large)
{
	void **blocks = (void **)table_of(count, sizeof(void *));
	struct pyarena_stats before = snapshot();

	for (size_t i = 0; i < count; i++) {
		blocks[i] = CALL(malloc)(size);
		REQUIRE(blocks[i] != NULL);
		memset(blocks[i], 1, size);
	}
	struct pyarena_stats peak = snapshot();
	check_sums(&peak);
	EXPECT(peak.live_blocks == before.live_blocks + count, "%zu of %zu bytes: from %llu to %llu",
	       count, size, (unsigned long long)before.live_blocks,
	       (unsigned long long)peak.live_blocks);
	EXPECT(peak.live_bytes >= before.live_bytes + count * size, "%zu of %zu bytes", count, size);
	EXPECT(peak.live_bytes <= before.live_bytes + count * size * 9 / 8 + 64 * count,
	       "%zu of %zu bytes: from %llu to %llu", count, size,
	       (unsigned long long)before.live_bytes, (unsigned long long)peak.live_bytes);
	EXPECT(peak.large_blocks == before.large_blocks + (large ? count : 0),
	       "%zu of %zu bytes: from %llu to %llu", count, size,
	       (unsigned long long)before.large_blocks, (unsigned long long)peak.large_blocks);
	for (size_t i = 0; i < count; i++)
		CALL(free)(blocks[i]);
	struct pyarena_stats after = snapshot();
	check_sums(&after);
	EXPECT(after.live_blocks == before.live_blocks, "%zu of %zu bytes", count, size);
	EXPECT(after.live_bytes == before.live_bytes, "%zu of %zu bytes", count, size);
	EXPECT(after.large_bytes == before.large_bytes, "%zu of %zu bytes", count, size);
	munmap(blocks, count * sizeof(void *));
}

static void numbers_follow_the_program(void)
{
	look_all_up();
	check_follow(100, 10000, false);
	check_follow(1, 5000, false);
	check_follow(5000, 1000, false);
	check_follow(50000, 300, false);
	check_follow(8 * MIB, 10, true);
}

static void classes_add_up(void)
{
	struct pyarena_class_stats classes[512];
	void *blocks[1000];
	uint64_t found = 0;

	look_all_up();
	for (size_t i = 0; i < COUNT_OF(blocks); i++)
		blocks[i] = CALL(malloc)(176);
	size_t count = library.class_stats(classes, COUNT_OF(classes));
	REQUIRE(count > 0 && count <= COUNT_OF(classes), "%zu classes", count);
	EXPECT(library.class_stats(NULL, 0) == count);
	for (size_t i = 0; i < count; i++) {
		bool is_runs = i == count - 1 && classes[i].block_bytes == 0; /* blocks of any size */
		if (!is_runs) {
			EXPECT(classes[i].block_bytes % 16 == 0 && classes[i].block_bytes > 0);
			EXPECT(i == 0 || classes[i].block_bytes >= classes[i - 1].block_bytes);
		}
		EXPECT(classes[i].live_blocks * classes[i].block_bytes <= classes[i].pool_bytes,
		       "class of %llu bytes", (unsigned long long)classes[i].block_bytes);
		EXPECT((classes[i].pools == 0) == (classes[i].pool_bytes == 0));
		if (classes[i].block_bytes >= 176 && found == 0)
			found = classes[i].live_blocks;
	}
	EXPECT(found >= COUNT_OF(blocks), "%llu blocks", (unsigned long long)found);
	struct pyarena_class_stats two[3];
	memset(two, 0xcc, sizeof(two));
	EXPECT(library.class_stats(two, 2) == count);
	EXPECT(two[0].block_bytes == classes[0].block_bytes);
	EXPECT(two[2].block_bytes == UINT64_C(0xcccccccccccccccc), "written past the count");
	for (size_t i = 0; i < COUNT_OF(blocks); i++)
		CALL(free)(blocks[i]);
}

static pthread_barrier_t barrier;

static void *hold_some(void *argument)
{
	void *block = CALL(malloc)(100000);

	REQUIRE(block != NULL);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	CALL(free)(block);
	return argument;
}

static void heaps_are_told(void)
{
	struct pyarena_heap_stats heaps[64];
	pthread_t threads[5];
	uint64_t live = 0;

	look_all_up();
	pthread_barrier_init(&barrier, NULL, COUNT_OF(threads) + 1);
	for (size_t i = 0; i < COUNT_OF(threads); i++)
		REQUIRE(pthread_create(&threads[i], NULL, hold_some, NULL) == 0);
	pthread_barrier_wait(&barrier);
	size_t count = library.heap_stats(heaps, COUNT_OF(heaps));
	REQUIRE(count >= COUNT_OF(threads) + 1 && count <= COUNT_OF(heaps), "%zu heaps", count);
	EXPECT(library.heap_stats(NULL, 0) == count);
	EXPECT(snapshot().heaps == count);
	for (size_t i = 0; i < count; i++) {
		EXPECT(heaps[i].id > 0 && heaps[i].is_interpreter <= 1 && heaps[i].is_abandoned <= 1);
		for (size_t j = 0; j < i; j++)
			EXPECT(heaps[i].id != heaps[j].id);
		live += heaps[i].live_bytes;
	}
	EXPECT(live >= 100000 * COUNT_OF(threads), "%llu bytes", (unsigned long long)live);
	pthread_barrier_wait(&barrier);
	for (size_t i = 0; i < COUNT_OF(threads); i++)
		pthread_join(threads[i], NULL);
}

static void make_garbage(void)
{
	enum { COUNT = 100000 };
	static void *blocks[COUNT];

	for (size_t i = 0; i < COUNT; i++) {
		blocks[i] = CALL(malloc)(1000);
		REQUIRE(blocks[i] != NULL);
		memset(blocks[i], 1, 1000);
	}
	for (size_t i = 0; i < COUNT; i++)
		CALL(free)(blocks[i]);
}

static void trim_tells_what_it_gave_back(void)
{
	tap_restart_with("PYARENA_KEEP_FREE", "1G");
	look_all_up();
	make_garbage();
	size_t before = resident_now();
	EXPECT(snapshot().dirty_bytes > 90 * MIB);
	size_t given = library.trim();
	size_t after = resident_now();
	EXPECT(given > 90 * MIB, "%zu bytes", given);
	EXPECT(before - after > given - given / 16 && before - after < given + given / 16 + MIB,
	       "said %zu, but %zu bytes", given, before - after);
	EXPECT(snapshot().dirty_bytes < MIB, "%llu bytes dirty",
	       (unsigned long long)snapshot().dirty_bytes);
	EXPECT(library.trim() < MIB);
}

static void keep_free_takes_effect(void)
{
	look_all_up();
	library.keep_free(1024 * MIB);
	EXPECT(snapshot().reserve_bytes == 1024 * MIB);
	make_garbage();
	EXPECT(snapshot().dirty_bytes > 90 * MIB);
	library.keep_free(0);
	EXPECT(snapshot().reserve_bytes == 0);
	make_garbage();
	EXPECT(snapshot().dirty_bytes < 2 * MIB, "%llu bytes dirty",
	       (unsigned long long)snapshot().dirty_bytes);
	library.keep_free(20 * MIB);
	make_garbage();
	EXPECT(snapshot().dirty_bytes <= 22 * MIB, "%llu bytes dirty",
	       (unsigned long long)snapshot().dirty_bytes);
	library.keep_free(SIZE_MAX);
	EXPECT(snapshot().reserve_bytes < 1024 * MIB);
	make_garbage();
}

/* pages of blocks in use, of dirty and purged memory: close to what the kernel says. */
static void numbers_match_the_kernel(void)
{
	enum { COUNT = 50000 };
	static void *blocks[COUNT];

	look_all_up();
	struct pyarena_stats before = snapshot();
	size_t resident = resident_now();
	for (size_t i = 0; i < COUNT; i++) {
		blocks[i] = CALL(malloc)(1500);
		REQUIRE(blocks[i] != NULL);
		memset(blocks[i], 1, 1500);
	}
	for (size_t i = 0; i < COUNT; i++)
		if (i % 100 != 0)
			CALL(free)(blocks[i]);
	struct pyarena_stats after = snapshot();
	size_t told = (size_t)(after.live_page_bytes + after.dirty_bytes + after.record_bytes -
			       before.live_page_bytes - before.dirty_bytes - before.record_bytes);
	size_t grown = resident_now() - resident;
	EXPECT(told < grown + grown / 4 + MIB && grown < told + told / 4 + MIB,
	       "told %zu KiB, the kernel says %zu KiB", told / KIB, grown / KIB);
	for (size_t i = 0; i < COUNT; i += 100)
		CALL(free)(blocks[i]);
}

static void *allocate_on(void *argument)
{
	uint64_t random = (uint64_t)(uintptr_t)argument;
	double end = seconds_now() + 1;

	while (seconds_now() < end) {
		void *blocks[100];
		for (size_t i = 0; i < COUNT_OF(blocks); i++)
			blocks[i] = CALL(malloc)(random_below(&random, 30000));
		for (size_t i = 0; i < COUNT_OF(blocks); i++)
			CALL(free)(blocks[i]);
	}
	return NULL;
}

static void snapshots_while_threads_allocate(void)
{
	pthread_t threads[4];
	struct pyarena_class_stats classes[512];
	struct pyarena_heap_stats heaps[64];
	double end = seconds_now() + 1;

	look_all_up();
	for (size_t i = 0; i < COUNT_OF(threads); i++)
		REQUIRE(pthread_create(&threads[i], NULL, allocate_on, (void *)(uintptr_t)(i + 1)) ==
			0);
	while (seconds_now() < end) {
		struct pyarena_stats stats = snapshot();
		EXPECT(stats.mapped_bytes < 1024 * MIB && stats.live_bytes < 1024 * MIB &&
			       stats.dirty_bytes < 1024 * MIB,
		       "mapped %llu, live %llu, dirty %llu", (unsigned long long)stats.mapped_bytes,
		       (unsigned long long)stats.live_bytes, (unsigned long long)stats.dirty_bytes);
		EXPECT(library.class_stats(classes, COUNT_OF(classes)) > 0);
		EXPECT(library.heap_stats(heaps, COUNT_OF(heaps)) > 0);
		library.trim();
	}
	for (size_t i = 0; i < COUNT_OF(threads); i++)
		pthread_join(threads[i], NULL);
}

static void all_zero_when_it_stands_aside(void)
{
	tap_restart_with("PYARENA_DISABLE", "1");
	look_all_up();
	void *block = CALL(malloc)(100000);
	REQUIRE(block != NULL);
	EXPECT(library.is_active() == 0);
	EXPECT(library.version()[0] != '\0');
	struct pyarena_stats stats = snapshot();
	EXPECT(stats.live_bytes == 0 && stats.mapped_bytes == 0 && stats.live_blocks == 0);
	EXPECT(library.trim() == 0);
	library.keep_free(0);
	library.keep_free(SIZE_MAX);
	EXPECT(library.heap_stats(NULL, 0) == 0);
	block = CALL(realloc)(block, 200000);
	REQUIRE(block != NULL);
	CALL(free)(block);
	CALL(free)(CALL(memalign)(4096, 100));
	EXPECT(mallinfo2().arena > 0, "the C library's own malloc serves");
}

static const struct tap_point points[] = {
	{ "version_is_three_numbers", version_is_three_numbers },
	{ "snapshots_of_other_sizes", snapshots_of_other_sizes },
	{ "numbers_follow_the_program", numbers_follow_the_program },
	{ "classes_add_up", classes_add_up },
	{ "heaps_are_told", heaps_are_told },
	{ "trim_tells_what_it_gave_back", trim_tells_what_it_gave_back },
	{ "keep_free_takes_effect", keep_free_takes_effect },
	{ "numbers_match_the_kernel", numbers_match_the_kernel },
	{ "snapshots_while_threads_allocate", snapshots_while_threads_allocate },
	{ "all_zero_when_it_stands_aside", all_zero_when_it_stands_aside },
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, points, NULL);
}
