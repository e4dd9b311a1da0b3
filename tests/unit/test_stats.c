/* SPDX-License-Identifier: MIT */
/* test_stats.c: the snapshot agrees with what was asked for, and its sums with each other. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dice.h"
#include "machine.h"
#include "malloc.h"
#include "manager.h"
#include "os.h"
#include "reserve.h"
#include "stats.h"

#define HEAPS_MAX 32u
#define BLOCKS 3000u

static struct pa_snapshot before, after;
static struct pyarena_heap_stats heaps[HEAPS_MAX];
static void *blocks[BLOCKS];

static int start(void **state)
{
	(void)state;
	if (!pa_malloc_init())
		return -1;
	pa_reserve_set(&(struct pa_keep_option){ PA_KEEP_BYTES, 256 * PA_MIB });
	pa_free(pa_malloc(1), "free");
	return 0;
}

static void flush(void)
{
	pa_heap_trim(pa_thread_heap);
}

/* What holds for each snapshot while nothing goes on. */
static void take(struct pa_snapshot *snapshot)
{
	const struct pyarena_stats *s = &snapshot->stats;
	uint64_t live_blocks = 0, live_bytes = 0, arenas = 0, heap_live = 0, heap_dirty = 0;

	pa_stats_take(snapshot);
	assert_int_equal(s->size, sizeof *s);
	for (unsigned c = 0; c <= PA_CLASSES; c++) {
		const struct pyarena_class_stats *class = &snapshot->classes[c];
		assert_int_equal(class->block_bytes, c < PA_CLASSES ? pa_classes[c].block_bytes : 0);
		if (c < PA_CLASSES) {
			assert_int_equal(class->pool_bytes,
					 class->pools * pa_classes[c].slots * PA_SLOT_BYTES);
			assert_true(class->live_blocks <= class->pools * pa_classes[c].blocks);
			live_bytes += class->live_blocks * class->block_bytes;
		} else {
			assert_int_equal(class->live_blocks, class->pools);
		}
		live_blocks += class->live_blocks;
	}
	assert_int_equal(s->live_blocks, live_blocks + s->large_blocks);
	uint64_t run_bytes = s->live_bytes - s->large_bytes - live_bytes;
	assert_true(run_bytes <= snapshot->classes[PA_CLASS_RUN].pool_bytes);
	assert_true(run_bytes >= snapshot->classes[PA_CLASS_RUN].live_blocks * PA_UNIT_BYTES);

	size_t count = pa_stats_heaps(heaps, HEAPS_MAX);
	assert_true(count <= HEAPS_MAX);
	assert_int_equal(s->heaps, count);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(heaps[i].id, i + 1);
		arenas += heaps[i].arenas;
		heap_live += heaps[i].live_bytes;
		heap_dirty += heaps[i].dirty_bytes;
	}
	assert_int_equal(s->arenas, arenas);
	assert_int_equal(s->live_bytes, heap_live + s->large_bytes);
	assert_int_equal(s->dirty_bytes, heap_dirty + s->cached_bytes);
	assert_true(s->live_page_bytes >= s->large_bytes);
	assert_true(s->live_bytes + s->dirty_bytes <= s->mapped_bytes);
	assert_true(s->mapped_bytes >= s->arenas * PA_ARENA_USABLE * PA_SLOT_BYTES + s->large_bytes);
	assert_true(s->arenas_made - s->arenas_released >= s->arenas);
	assert_true(s->record_bytes >= (s->arenas + 1) * PA_UNIT_BYTES);
}

static void test_small_blocks(void **state)
{
	unsigned c = pa_class_of(208);
	(void)state;

	flush();
	take(&before);
	for (unsigned i = 0; i < BLOCKS; i++)
		blocks[i] = memset(pa_malloc(200), 1, 200);
	take(&after);
	assert_int_equal(after.stats.live_blocks - before.stats.live_blocks, BLOCKS);
	assert_int_equal(after.stats.live_bytes - before.stats.live_bytes, BLOCKS * 208);
	assert_int_equal(after.classes[c].live_blocks - before.classes[c].live_blocks, BLOCKS);
	uint64_t pages = after.stats.live_page_bytes - before.stats.live_page_bytes;
	assert_in_range(pages, BLOCKS * 208 / 102 * 100, BLOCKS * 208 * 102 / 100 + 2 * PA_SLOT_BYTES);
	for (unsigned i = 0; i < BLOCKS; i++)
		pa_free(blocks[i], "free");
	take(&after);
	assert_int_equal(after.stats.live_blocks, before.stats.live_blocks);
	assert_int_equal(after.stats.live_bytes, before.stats.live_bytes);
	assert_in_range(after.stats.dirty_bytes - before.stats.dirty_bytes, pages - 2 * PA_SLOT_BYTES,
			pages + 2 * PA_SLOT_BYTES);
	assert_true(after.stats.live_page_bytes <= before.stats.live_page_bytes + PA_SLOT_BYTES);
	size_t trimmed = pa_malloc_trim();
	take(&after);
	assert_int_equal(after.stats.dirty_bytes, 0);
	assert_true(trimmed >= pages - 2 * PA_SLOT_BYTES);
	assert_true(after.stats.purges > before.stats.purges);
	assert_true(after.stats.purged_pages > before.stats.purged_pages);
	assert_true(after.stats.sweeps > before.stats.sweeps || after.stats.arenas_released > 0);
}

static void test_runs_and_large_objects(void **state)
{
	(void)state;
	need_pages_of_at_most(PA_UNIT_BYTES);

	take(&before);
	void *run = pa_malloc(50000), *large = pa_malloc(1000000);
	take(&after);
	assert_int_equal(after.classes[PA_CLASS_RUN].live_blocks, 1);
	assert_int_equal(after.classes[PA_CLASS_RUN].pool_bytes, 4 * PA_SLOT_BYTES);
	assert_int_equal(after.stats.large_blocks - before.stats.large_blocks, 1);
	assert_int_equal(after.stats.large_bytes - before.stats.large_bytes, 1003520);
	assert_int_equal(after.stats.live_blocks - before.stats.live_blocks, 2);
	assert_int_equal(after.stats.live_bytes - before.stats.live_bytes, 53248 + 1003520);
	assert_int_equal(after.stats.live_page_bytes - before.stats.live_page_bytes, 53248 + 1003520);
	pa_free(run, "free");
	pa_free(large, "free");
	take(&after);
	assert_int_equal(after.stats.live_bytes, before.stats.live_bytes);
	assert_int_equal(after.stats.large_blocks, before.stats.large_blocks);
	assert_true(after.stats.cached_bytes >= 1003520);
	pa_malloc_trim();
	take(&after);
	assert_int_equal(after.stats.cached_bytes, 0);
	assert_int_equal(after.stats.dirty_bytes, 0);
}

/* Free arenas that the manager keeps are dirty, but nobody's. */
static void test_arenas_come_and_go(void **state)
{
	(void)state;

	pa_malloc_trim();
	take(&before);
	for (unsigned i = 0; i < 100; i++)
		blocks[i] = memset(pa_malloc(200000), 1, 200000);
	take(&after);
	assert_true(after.stats.arenas >= 20);
	assert_int_equal(after.stats.arenas_made - before.stats.arenas_made,
			 after.stats.arenas - before.stats.arenas);
	for (unsigned i = 0; i < 100; i++)
		pa_free(blocks[i], "free");
	take(&after);
	assert_true(after.stats.arenas <= before.stats.arenas + 1);
	assert_true(after.stats.cached_bytes > 15 * PA_MIB);
	pa_malloc_trim();
	take(&after);
	assert_int_equal(after.stats.mapped_bytes, before.stats.mapped_bytes);
	assert_true(after.stats.arenas_released - before.stats.arenas_released >= 20);
}

static void test_purged_pages(void **state)
{
	(void)state;
	need_pages_of_at_most(PA_UNIT_BYTES);

	for (unsigned i = 0; i < BLOCKS; i++)
		blocks[i] = memset(pa_malloc(500), 1, 500);
	uint64_t began_ns = pa_os_clock_ns();
	for (unsigned i = 0; i < BLOCKS; i++)
		if (i % 100)
			pa_free(blocks[i], "free");
	take(&before);
	flush();
	take(&after);
	uint64_t given = after.stats.purged_bytes - before.stats.purged_bytes;
	assert_true(given > BLOCKS * 500 / 2);
	assert_int_equal((after.stats.purged_pages - before.stats.purged_pages) * 4096, given);
	/* Used again at once. */
	for (unsigned i = 0; i < BLOCKS; i++)
		if (i % 100)
			blocks[i] = memset(pa_malloc(500), 1, 500);
	take(&before);
	if (pa_os_clock_ns() - began_ns <
	    PA_POLICY_WINDOW_NS / 2) /* else it may have been too late to count */
		assert_true(before.stats.refault_pages - after.stats.refault_pages > given / 4096 / 2);
	for (unsigned i = 0; i < BLOCKS; i++)
		pa_free(blocks[i], "free");
	pa_malloc_trim();
}

static void *free_half(void *argument)
{
	for (unsigned i = 0; i < BLOCKS; i += 2)
		pa_free(blocks[i], "free");
	pa_free(pa_malloc(10), "free");
	return argument;
}

static void test_other_threads(void **state)
{
	pthread_t thread;
	(void)state;

	take(&before);
	for (unsigned i = 0; i < BLOCKS; i++)
		blocks[i] = pa_malloc(64);
	assert_int_equal(pthread_create(&thread, NULL, free_half, NULL), 0);
	pthread_join(thread, NULL);
	flush(); /* collects */
	take(&after);
	assert_int_equal(after.stats.remote_frees - before.stats.remote_frees, BLOCKS / 2);
	assert_int_equal(after.stats.live_blocks - before.stats.live_blocks, BLOCKS / 2);
	assert_int_equal(after.stats.heaps, 2);
	assert_int_equal(heaps[0].is_abandoned, 0);
	assert_int_equal(heaps[1].is_abandoned, 1);
	assert_int_equal(heaps[1].live_bytes, 0);
	uint64_t adoptions = after.stats.adoptions;
	struct pa_heap *adopted = pa_heap_acquire(PA_HEAP_THREAD);
	take(&after);
	assert_int_equal(after.stats.adoptions, adoptions + 1);
	assert_int_equal(heaps[1].is_abandoned, 0);
	struct pa_heap *python = pa_heap_of_interpreter(&before);
	take(&after);
	assert_int_equal(heaps[2].is_interpreter, 1);
	assert_int_equal(heaps[1].is_interpreter, 0);
	pa_heap_abandon(adopted);
	pa_heap_abandon(python);
	for (unsigned i = 1; i < BLOCKS; i += 2)
		pa_free(blocks[i], "free");
}

static void test_fewer_heaps_are_filled_than_there_are(void **state)
{
	struct pyarena_heap_stats two[2] = { { .id = 90 }, { .id = 91 } };
	(void)state;

	size_t count = pa_stats_heaps(NULL, 0);
	assert_int_equal(pa_stats_heaps(two, 1), count);
	assert_int_equal(two[0].id, 1);
	assert_int_equal(two[1].id, 91);
}

static _Atomic(bool) is_over;
static _Atomic(unsigned) steps;

static void *live_at_random(void *argument)
{
	struct dice dice = { 40 };
	void *mine[300] = { 0 };

	while (!pa_load_relaxed(&is_over)) {
		unsigned i = dice_below(&dice, 300);
		pa_add_relaxed(&steps, 1);
		if (mine[i])
			pa_free(mine[i], "free");
		mine[i] = pa_malloc(dice_below(&dice, 50) ? dice_below(&dice, 2000)
							  : dice_below(&dice, 400000));
	}
	for (unsigned i = 0; i < 300; i++)
		if (mine[i])
			pa_free(mine[i], "free");
	return argument;
}

/* Taken while others go on: no sum is out of all bounds. */
static void test_snapshots_while_others_go_on(void **state)
{
	pthread_t thread;
	(void)state;

	assert_int_equal(pthread_create(&thread, NULL, live_at_random, NULL), 0);
	for (unsigned n = 0; n < 2000 || pa_load_relaxed(&steps) < 30000; n++) {
		pa_stats_take(&after);
		uint64_t blocks_sum = after.stats.large_blocks;
		for (unsigned c = 0; c <= PA_CLASSES; c++)
			blocks_sum += after.classes[c].live_blocks;
		assert_int_equal(after.stats.live_blocks, blocks_sum);
		/* A count of blocks is of two words: a pool that has just become empty may look full. */
		assert_in_range(after.stats.live_blocks, 0, 300 + 2 * 1024);
		assert_in_range(after.stats.live_bytes, 0, 300 * 400000);
		assert_in_range(after.stats.dirty_bytes, 0, 600 * PA_MIB);
		pa_stats_heaps(heaps, HEAPS_MAX);
	}
	pa_store_relaxed(&is_over, true);
	pthread_join(thread, NULL);
	pa_malloc_trim();
	take(&after);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small_blocks),
		cmocka_unit_test(test_runs_and_large_objects),
		cmocka_unit_test(test_arenas_come_and_go),
		cmocka_unit_test(test_purged_pages),
		cmocka_unit_test(test_other_threads),
		cmocka_unit_test(test_fewer_heaps_are_filled_than_there_are),
		cmocka_unit_test(test_snapshots_while_others_go_on),
	};

	return cmocka_run_group_tests_name("stats", tests, start, NULL);
}
