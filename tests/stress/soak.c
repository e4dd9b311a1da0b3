/* SPDX-License-Identifier: MIT */
/*
 * soak.c: a mixed load for as long as one likes: threads that allocate for each other, threads that
 * come and go, children that go on, trims.  Every second all stops for a moment.  Then the statistics
 * say what is there; and when all has been freed, nothing has grown.
 */
#include "../lib/slots.h"

#include "../../src/pyarena.h"

#define GROWTH_LIMIT (12 * MIB)
#define WARM_ROUNDS 5

static struct tap_option options[] = {
	{ "rounds", 20, "of a second of forks each, and what it takes to look at the end of each" },
	{ NULL, 0, NULL },
};

static struct pyarena_stats statistics(void)
{
	struct pyarena_stats stats = { .size = sizeof(stats) };
	int (*take)(struct pyarena_stats *);
	void *symbol = dlsym(RTLD_DEFAULT, "pyarena_stats");

	memcpy(&take, &symbol, sizeof(symbol));
	REQUIRE(take(&stats) == 0);
	return stats;
}

static size_t bytes_in_slots(void)
{
	size_t bytes = 0;

	for (size_t i = 0; i < SLOTS; i++)
		if (slots[i].state == FULL)
			bytes += CALL(malloc_usable_size)(slots[i].block);
	return bytes;
}

/* Beside the slots, the C library has blocks of its own: as many as there were at the start. */
static void check_statistics(size_t own)
{
	CALL(malloc_trim)(0); /* collects what was freed for threads that have ended */
	struct pyarena_stats stats = statistics();
	size_t bytes = bytes_in_slots() + own;

	EXPECT(stats.live_bytes >= bytes && stats.live_bytes <= bytes + 64 * KIB,
	       "%llu bytes are live, %zu are in slots", (unsigned long long)stats.live_bytes, bytes);
	EXPECT(stats.live_page_bytes + stats.dirty_bytes + stats.purged_bytes <= stats.mapped_bytes,
	       "%llu live, %llu dirty, %llu purged, %llu mapped",
	       (unsigned long long)stats.live_page_bytes, (unsigned long long)stats.dirty_bytes,
	       (unsigned long long)stats.purged_bytes, (unsigned long long)stats.mapped_bytes);
	EXPECT(stats.arenas <= stats.arenas_made - stats.arenas_released);
	EXPECT(stats.large_bytes <= stats.live_bytes && stats.cached_bytes <= stats.dirty_bytes);
	/* A thread that begins finds no heap of an ended one while another thread is tidying that up. */
	EXPECT(stats.heaps <= 2 * WORKERS + 4, "%llu heaps", (unsigned long long)stats.heaps);
}

static uint64_t fork_for_a_second(uint64_t seed)
{
	double end = seconds_now() + 1;
	uint64_t forks = 0;

	while (seconds_now() < end) {
		pid_t child = fork();
		if (child == 0) {
			live_as_a_child(seed + forks);
			_exit(tap_status());
		}
		REQUIRE(child > 0 && tap_child_succeeded(child, "child"));
		use_slots(&seed, 200);
		forks++;
	}
	return forks;
}

static size_t larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

static void soak(void)
{
	uint64_t wanted = larger(tap_value("rounds"), WARM_ROUNDS + 1);
	size_t own, rest = 0, mapped = 0, most_rest = 0, most_mapped = 0;
	uint64_t forks = 0;

	tap_need_library();
	tap_restart_with("PYARENA_IDLE", "off");
	CALL(free)(CALL(malloc)(1));
	own = (size_t)statistics().live_bytes;
	for (uint64_t round = 0; round < wanted; round++) {
		size_t threads = round % WORKERS + 1;
		__atomic_store_n(&stop, false, __ATOMIC_RELAXED);
		start_workers(threads);
		forks += fork_for_a_second(round);
		stop_workers(threads);
		check_statistics(own);
		free_inherited((void *)0);
		free_inherited((void *)1);
		check_statistics(own);
		most_rest = larger(most_rest, resident_now());
		most_mapped = larger(most_mapped, mapped_now());
		if (round < WARM_ROUNDS) {
			rest = most_rest;
			mapped = most_mapped;
		}
	}
	EXPECT(most_rest < rest + GROWTH_LIMIT, "resident %zu KiB, then %zu KiB", rest / KIB,
	       most_rest / KIB);
	EXPECT(most_mapped < mapped + GROWTH_LIMIT, "mapped %zu KiB, then %zu KiB", mapped / KIB,
	       most_mapped / KIB);
	tap_note(
		"%llu rounds, %llu forks; with nothing in use at most %zu KiB resident, %zu KiB mapped",
		(unsigned long long)wanted, (unsigned long long)forks, most_rest / KIB,
		most_mapped / KIB);
}

static const struct tap_point points[] = {
	{ "soak", soak },
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, points, options);
}
