/* SPDX-License-Identifier: MIT */
/*
 * Memory returns: after a peak of which few blocks survive, resident memory falls to little more
 * than the pages of the survivors.  Sizes small, medium and large, one thread and many, with the
 * self-tuned reserve, with a fixed one and with none.
 */
#include "../lib/blocks.h"

#include <pthread.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#define HUGE_PAGE (2 * MIB)
#define SLACK (2 * MIB) /* records, a stack that grew, the C library's own pages */

struct peak {
	size_t count;
	size_t size;      /* of each block */
	size_t survivor;  /* every so many lives on; 0 is none */
	bool random_size; /* 1 to size */
};

static void **blocks;
static size_t base_bytes;

static bool survives(const struct peak *peak, size_t i)
{
	return peak->survivor != 0 && i % peak->survivor == peak->survivor / 2;
}

static size_t size_of(const struct peak *peak, size_t i)
{
	return peak->random_size ? mix(i) % peak->size + 1 : peak->size;
}

static void prepare(size_t count)
{
	tap_need_library();
	blocks = (void **)table_of(count, sizeof(void *));
	memset(blocks, 0, count * sizeof(void *));
	CALL(free)(CALL(malloc)(10));
	base_bytes = resident_now();
}

static void rise(const struct peak *peak)
{
	for (size_t i = 0; i < peak->count; i++) {
		blocks[i] = CALL(malloc)(size_of(peak, i));
		REQUIRE(blocks[i] != NULL);
		fill(blocks[i], size_of(peak, i), i);
	}
}

static void fall(const struct peak *peak)
{
	for (size_t i = 0; i < peak->count; i++)
		if (!survives(peak, i))
			CALL(free)(blocks[i]);
}

/* Whole pages under the survivors, counted once each: blocks come in any order, so sort of a set. */
static size_t survivors_bytes(const struct peak *peak)
{
	size_t page = page_bytes();
	size_t room = 1;
	size_t pages = 0;

	while (room < peak->count * (peak->size / page + 2) * 2)
		room *= 2;
	uintptr_t *set = (uintptr_t *)table_of(room, sizeof(uintptr_t));
	for (size_t i = 0; i < peak->count; i++) {
		if (!survives(peak, i))
			continue;
		uintptr_t last = ((uintptr_t)blocks[i] + size_of(peak, i) - 1) / page;
		for (uintptr_t at = (uintptr_t)blocks[i] / page; at <= last; at++) {
			size_t slot = mix(at) & (room - 1);
			while (set[slot] != 0 && set[slot] != at)
				slot = (slot + 1) & (room - 1);
			pages += set[slot] == 0 ? 1 : 0;
			set[slot] = at;
		}
	}
	munmap(set, room * sizeof(uintptr_t));
	return pages * page;
}

static void check_survivors(const struct peak *peak)
{
	for (size_t i = 0; i < peak->count; i++) {
		if (!survives(peak, i))
			continue;
		EXPECT(is_intact(blocks[i], size_of(peak, i), i), "survivor %zu", i);
		CALL(free)(blocks[i]);
	}
}

/* Resident memory above the base is at most so many times what the survivors' pages need. */
static void check_resident(const char *when, size_t needed, size_t times, size_t more)
{
	size_t now = resident_now();
	size_t grown = now > base_bytes ? now - base_bytes : 0;
	size_t limit = needed * times + more;

	tap_note("%s: %zu KiB above the base; the survivors' pages are %zu KiB", when, grown / KIB,
		 needed / KIB);
	EXPECT(grown <= limit, "%s: %zu KiB above the base, limit %zu KiB", when, grown / KIB,
	       limit / KIB);
}

static void check_peak(const struct peak *peak, size_t slack)
{
	rise(peak);
	fall(peak);
	size_t needed = survivors_bytes(peak);
	check_resident("after", needed, 3, slack);
	sleep_ms(2000);
	check_resident("settled", needed, 3, slack);
	check_survivors(peak);
}

static void every_1024th_kibibyte_survives(void)
{
	static const struct peak peak = { .count = 300000, .size = 1024, .survivor = 1024 };

	prepare(peak.count);
	check_peak(&peak, 256 * KIB); /* three times the survivors' pages, as promised, and a stack */
}

static void few_of_many_small_survive(void)
{
	static const struct peak peak = { .count = 2000000, .size = 56, .survivor = 1000 };

	prepare(peak.count);
	check_peak(&peak, SLACK);
}

static void few_of_medium_survive(void)
{
	static const struct peak peak = { .count = 2000, .size = 100000, .survivor = 100 };

	prepare(peak.count);
	check_peak(&peak, SLACK);
}

static void few_of_random_sizes_survive(void)
{
	static const struct peak peak = {
		.count = 30000, .size = 16000, .survivor = 500, .random_size = true
	};

	prepare(peak.count);
	check_peak(&peak, SLACK);
}

static void no_large_survives(void)
{
	static const struct peak peak = { .count = 60, .size = 5 * MIB };

	prepare(peak.count);
	check_peak(&peak, SLACK);
}

static void nothing_survives(void)
{
	static const struct peak peak = { .count = 1000000, .size = 200 };

	prepare(peak.count);
	rise(&peak);
	fall(&peak);
	sleep_ms(2000);
	check_resident("settled", 0, 1, 4 * MIB);
}

static void keep_free_0_gives_back_at_once(void)
{
	static const struct peak peak = { .count = 200000, .size = 1000, .survivor = 2000 };

	tap_restart_with("PYARENA_KEEP_FREE", "0");
	prepare(peak.count);
	rise(&peak);
	fall(&peak);
	check_resident("after", survivors_bytes(&peak), 2, SLACK);
	check_survivors(&peak);
}

/* Between half of it and all of it stays: the option is no mere upper limit. */
static void keep_free_64M_keeps_that_much(void)
{
	static const struct peak peak = { .count = 300000, .size = 1000 };

	tap_restart_with("PYARENA_KEEP_FREE", "64M");
	prepare(peak.count);
	rise(&peak);
	fall(&peak);
	check_resident("after", 0, 1, 64 * MIB + SLACK);
	EXPECT(resident_now() > base_bytes + 32 * MIB, "%zu KiB above the base",
	       (resident_now() - base_bytes) / KIB);
}

static void *rise_in_a_thread(void *peak)
{
	rise((const struct peak *)peak);
	return NULL;
}

static void *fall_in_a_thread(void *peak)
{
	fall((const struct peak *)peak);
	return NULL;
}

static void run_thread(void *(*body)(void *), const struct peak *peak)
{
	pthread_t thread;

	REQUIRE(pthread_create(&thread, NULL, body, (void *)(uintptr_t)peak) == 0);
	pthread_join(thread, NULL);
}

/* Made by a thread that has ended, freed here. */
static void blocks_of_an_ended_thread(void)
{
	static const struct peak peak = { .count = 200000, .size = 1000, .survivor = 2000 };

	prepare(peak.count);
	run_thread(rise_in_a_thread, &peak);
	fall(&peak);
	CALL(malloc_trim)(0);
	check_resident("after", survivors_bytes(&peak), 3, SLACK);
	check_survivors(&peak);
}

/* Made here, freed by a thread, then this thread allocates a little. */
static void blocks_freed_by_another_thread(void)
{
	static const struct peak peak = { .count = 200000, .size = 1000, .survivor = 2000 };

	prepare(peak.count);
	rise(&peak);
	run_thread(fall_in_a_thread, &peak);
	for (size_t i = 0; i < 2000; i++)
		CALL(free)(CALL(malloc)(1000));
	CALL(malloc_trim)(0);
	check_resident("after", survivors_bytes(&peak), 3, SLACK);
	check_survivors(&peak);
}

static void *rise_and_fall(void *argument)
{
	enum { COUNT = 20000 };
	void **own = (void **)table_of(COUNT, sizeof(void *));

	for (size_t i = 0; i < COUNT; i++) {
		own[i] = CALL(malloc)(1000);
		REQUIRE(own[i] != NULL);
		memset(own[i], 1, 1000);
	}
	for (size_t i = 0; i < COUNT; i++)
		CALL(free)(own[i]);
	munmap(own, COUNT * sizeof(void *));
	return argument;
}

static void ended_threads_keep_little(void)
{
	pthread_t threads[12];

	prepare(1);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < COUNT_OF(threads); i++)
			REQUIRE(pthread_create(&threads[i], NULL, rise_and_fall, NULL) == 0);
		for (size_t i = 0; i < COUNT_OF(threads); i++)
			pthread_join(threads[i], NULL);
	}
	sleep_ms(3000);
	/* They swing enough for a reserve, which a program without an idle watch keeps until its next call. */
	check_resident("settled", 0, 1, 28 * MIB);
}

/* The process does nothing more, and in a forked child too the reserve goes back. */
static void idle_child_gives_back(void)
{
	static const struct peak peak = { .count = 200000, .size = 500 };

	prepare(peak.count);
	rise(&peak);
	fall(&peak);
	pid_t child = fork();
	if (child == 0) {
		rise(&peak);
		fall(&peak);
		sleep_ms(3000);
		check_resident("settled in the child", 0, 1, 4 * MIB);
		_exit(tap_status());
	}
	EXPECT(tap_child_succeeded(child, "child"));
}

/* Address space too: cycles of peaks of different sizes do not pile up. */
static void cycles_do_not_grow(void)
{
	size_t mapped_first = 0;

	prepare(400000);
	for (size_t round = 0; round < 24; round++) {
		struct peak peak = { .size = 16 + 61 * round * round };
		peak.count = 40 * MIB / peak.size < 400000 ? 40 * MIB / peak.size : 400000;
		rise(&peak);
		fall(&peak);
		if (round == 3)
			mapped_first = mapped_now();
	}
	EXPECT(mapped_now() < mapped_first + 100 * MIB, "mapped %zu MiB, then %zu MiB",
	       mapped_first / MIB, mapped_now() / MIB);
	CALL(malloc_trim)(0);
	check_resident("after", 0, 1, 4 * MIB);
}

/* What a program has earned by its habits goes when it takes memory of another kind. */
static void a_reserve_makes_no_new_peak(void)
{
	static const struct peak habit = { .count = 10000, .size = 1000 };
	static const struct peak other = { .count = 6, .size = 1500 * KIB };
	enum { ROUNDS = 400, EARNED = 5 * MIB };
	size_t highest = 0;
	bool is_earned = false;
	double began = seconds_now();

	prepare(habit.count);
	for (int round = 0; round < ROUNDS && !is_earned; round++) {
		rise(&habit);
		highest = resident_now() > highest ? resident_now() : highest;
		fall(&habit);
		is_earned = resident_now() > base_bytes + EARNED;
	}
	if (!is_earned && seconds_now() - began > ROUNDS * 0.05)
		tap_skip(
			"the machine is too slow for a habit: what is used again after 0.1 s counts for nothing");
	EXPECT(is_earned, "no reserve after %d rounds", ROUNDS);
	rise(&other);
	size_t now = resident_now();
	EXPECT(now <= highest + SLACK, "%zu KiB above the base, by habit %zu KiB",
	       (now - base_bytes) / KIB, (highest - base_bytes) / KIB);
	fall(&other);
}

/* What khugepaged does under the setting "always", asked for by the process itself, and at once. */
static bool collapse_around(const void *p)
{
	return madvise((void *)((uintptr_t)p & ~(HUGE_PAGE - 1)), HUGE_PAGE, MADV_COLLAPSE) == 0;
}

static void huge_pages_fill_no_holes(void)
{
	static const struct peak peak = { .count = 100000, .size = 1000, .survivor = 1000 };
	char *own =
		mmap(NULL, 2 * HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	REQUIRE(own != MAP_FAILED);
	memset(own, 1, 2 * HUGE_PAGE);
	if (!collapse_around(own + HUGE_PAGE))
		tap_skip("this kernel does not make huge pages when asked to (MADV_COLLAPSE)");
	prepare(peak.count);
	rise(&peak);
	fall(&peak);
	CALL(malloc_trim)(0);
	size_t needed = survivors_bytes(&peak);
	check_resident("before", needed, 3, SLACK);
	for (size_t i = 0; i < peak.count; i++)
		if (survives(&peak, i))
			collapse_around(blocks[i]);
	check_resident("after", needed, 3, SLACK);
	check_survivors(&peak);
}

static const struct tap_point points[] = {
	{ "every_1024th_kibibyte_survives", every_1024th_kibibyte_survives },
	{ "few_of_many_small_survive", few_of_many_small_survive },
	{ "few_of_medium_survive", few_of_medium_survive },
	{ "few_of_random_sizes_survive", few_of_random_sizes_survive },
	{ "no_large_survives", no_large_survives },
	{ "nothing_survives", nothing_survives },
	{ "keep_free_0_gives_back_at_once", keep_free_0_gives_back_at_once },
	{ "keep_free_64M_keeps_that_much", keep_free_64M_keeps_that_much },
	{ "blocks_of_an_ended_thread", blocks_of_an_ended_thread },
	{ "blocks_freed_by_another_thread", blocks_freed_by_another_thread },
	{ "ended_threads_keep_little", ended_threads_keep_little },
	{ "idle_child_gives_back", idle_child_gives_back },
	{ "cycles_do_not_grow", cycles_do_not_grow },
	{ "a_reserve_makes_no_new_peak", a_reserve_makes_no_new_peak },
	{ "huge_pages_fill_no_holes", huge_pages_fill_no_holes },
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, points, NULL);
}
