/* SPDX-License-Identifier: MIT */
/* test_reserve.c: the counters of dirty memory, what is allowed of it, and when it is looked at. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "capture.h"
#include "os.h"
#include "reserve.h"

#define WINDOW_MS ((uint32_t)(PA_POLICY_WINDOW_NS / 1000000))

static const struct pa_keep_option by_itself = { PA_KEEP_AUTO, 0 };

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

static int begin(void **state)
{
	(void)state;
	pa_store_relaxed(&pa_reserve.dirty_units, 0);
	pa_store_relaxed(&pa_reserve.resident_units, 0);
	pa_store_relaxed(&pa_reserve.live_units, 0);
	pa_store_relaxed(&pa_reserve.peak_units, 0);
	pa_store_relaxed(&pa_reserve.is_over_peak, false);
	for (unsigned i = 0; i < PA_POLICY_DISTANCES; i++)
		pa_store_relaxed(&pa_reserve.refault_units[i], 0);
	pa_store_relaxed(&pa_reserve.released_units, 0);
	pa_reserve_set(&by_itself);
	sleep_ms(2); /* so that the next tick is not too early */
	return 0;
}

static void add_dirty(int64_t units)
{
	pa_reserve_add((struct pa_reserve_change){ .dirty = units });
}

static void add_resident(int64_t units)
{
	pa_reserve_add((struct pa_reserve_change){ .resident = units });
}

static void keep_bytes(size_t bytes)
{
	pa_reserve_set(&(struct pa_keep_option){ PA_KEEP_BYTES, bytes });
}

static void test_limit(void **state)
{
	(void)state;

	assert_int_equal(pa_reserve.limit_units, PA_POLICY_FLOOR_UNITS);
	keep_bytes(PA_MIB);
	assert_int_equal(pa_reserve.limit_units, 256);
	add_dirty(256);
	assert_false(pa_reserve_is_exceeded());
	assert_int_equal(pa_reserve_excess(), 0);
	add_dirty(1);
	assert_true(pa_reserve_is_exceeded());
	assert_int_equal(pa_reserve_excess(), 1);
	add_dirty(-200);
	assert_false(pa_reserve_is_exceeded());
	assert_int_equal(pa_reserve_excess(), -199);
	assert_int_equal(pa_reserve.dirty_units, 57);
	keep_bytes(0);
	assert_true(pa_reserve_is_exceeded());
	add_dirty(-57);
	assert_false(pa_reserve_is_exceeded());
	/* Counts kept back by heaps may make it negative for a moment. */
	add_dirty(-5);
	assert_false(pa_reserve_is_exceeded());
	assert_int_equal(pa_reserve_excess(), -5);
}

/* What the policy allows is there as far as more was live before. */
static void test_no_new_peak(void **state)
{
	(void)state;

	pa_store_relaxed(&pa_reserve.allowed_units, 2000);
	pa_reserve_add((struct pa_reserve_change){ .mapped = 6000, .resident = 5000 });
	assert_int_equal(pa_reserve.peak_units, 5000);
	assert_int_equal(pa_reserve.limit_units, PA_POLICY_FLOOR_UNITS);
	assert_true(pa_reserve_is_bound_by_peak());
	add_dirty(1500);
	assert_int_equal(pa_reserve.limit_units, 1500 + PA_POLICY_FLOOR_UNITS);
	assert_false(pa_reserve_is_exceeded());
	/* To use again what is dirty is no growth, and leaves less to be kept. */
	add_dirty(-500);
	assert_int_equal(pa_reserve.limit_units, 1000 + PA_POLICY_FLOOR_UNITS);
	assert_false(pa_reserve_is_exceeded());
	/* Fresh memory in its place is: as much has to go, but for the floor. */
	add_resident(PA_POLICY_FLOOR_UNITS);
	assert_int_equal(pa_reserve_excess(), 0);
	add_resident(300);
	assert_int_equal(pa_reserve_excess(), 300);
	/* The policy has nothing against it: what goes is counted as for the peak. */
	assert_false(pa_reserve_is_for_peak(PA_RESERVE_IDLE));
	assert_true(pa_reserve_is_for_peak(PA_RESERVE_LIMIT));
	pa_reserve_purged(300, 1, true);
	assert_int_equal(pa_reserve.kept_to_units, 300);
	pa_reserve_add((struct pa_reserve_change){ .mapped = -300, .resident = -300, .dirty = -300 });
	assert_int_equal(pa_reserve_excess(), 0);
	assert_int_equal(pa_reserve.peak_units, 5000);
	/* With enough room below, the policy's limit is what counts. */
	add_dirty(2000);
	assert_false(pa_reserve_is_bound_by_peak());
	assert_int_equal(pa_reserve.limit_units, 2000);
	add_dirty(-2700);
	assert_int_equal(pa_reserve.dirty_units, 0);
	add_resident(1000);
	assert_int_equal(pa_reserve.peak_units, 6000 - 300 + PA_POLICY_FLOOR_UNITS + 300);
	/* What was asked for is kept whatever has been live. */
	keep_bytes(PA_MIB);
	assert_int_equal(pa_reserve.limit_units, 256);
	assert_false(pa_reserve_is_bound_by_peak());
}

/* Where it would cost too much to keep to the peak, what is resident makes a new one. */
static void test_a_peak_that_is_dear(void **state)
{
	(void)state;

	pa_store_relaxed(&pa_reserve.allowed_units, 2000);
	add_resident(5000);
	add_dirty(1500);
	pa_reserve_tick();
	assert_false(pa_reserve.is_over_peak);
	/* Twice what it may cost, so that the time of the test does not matter. */
	uint64_t units = 2 * PA_POLICY_PEAK_TIMES * PA_POLICY_FLOOR_UNITS;
	pa_add_relaxed(&pa_reserve.kept_to_units, units);
	pa_add_relaxed(&pa_reserve.refault_units[pa_policy_distance_class(units)], units);
	sleep_ms(2);
	pa_reserve_tick();
	sleep_ms(2);
	pa_reserve_tick();
	assert_true(pa_reserve.is_over_peak);
	pa_store_relaxed(&pa_reserve.allowed_units, 2000); /* the policy itself has no evidence */
	add_resident(500);
	assert_int_equal(pa_reserve.peak_units, 5500);
	assert_int_equal(pa_reserve.limit_units, 1500 + PA_POLICY_FLOOR_UNITS);
	assert_false(pa_reserve_is_exceeded());
	/* What the policy does not allow is no cost of the peak's. */
	add_dirty(1000);
	assert_int_equal(pa_reserve.limit_units, 2000);
	assert_int_equal(pa_reserve_excess(), 500);
	assert_false(pa_reserve_is_for_peak(PA_RESERVE_LIMIT));
	uint64_t before = pa_load_relaxed(&pa_reserve.kept_to_units);
	pa_reserve_purged(500, 1, false);
	assert_int_equal(pa_reserve.kept_to_units, before);
}

static void test_low_water(void **state)
{
	(void)state;

	add_dirty(100);
	pa_reserve_tick();
	assert_int_equal(pa_reserve.low_units, 100);
	add_dirty(50);
	assert_int_equal(pa_reserve.low_units, 100);
	add_dirty(-120);
	assert_int_equal(pa_reserve.low_units, 30);
	add_dirty(40);
	assert_int_equal(pa_reserve.low_units, 30);
	sleep_ms(2);
	pa_reserve_tick();
	assert_int_equal(pa_reserve.low_units, 70);
}

static void test_percentage_of_what_is_live(void **state)
{
	(void)state;

	pa_reserve_set(&(struct pa_keep_option){ PA_KEEP_PERCENT, 10 });
	add_resident(20000);
	add_dirty(10000);
	pa_reserve_tick();
	assert_int_equal(pa_reserve.limit_units, 1000);
	/* A second look within the millisecond is none. */
	uint64_t before = pa_os_clock_ns();
	sleep_ms(2);
	pa_reserve_tick();
	add_resident(10000);
	pa_reserve_tick();
	if (pa_os_clock_ns() - before < 2900000)
		assert_int_equal(pa_reserve.limit_units, 1000);
	sleep_ms(2);
	pa_reserve_tick();
	assert_int_equal(pa_reserve.limit_units, 2000);
	/* More dirty than resident, as races may have it: nothing is live then. */
	add_resident(-25000);
	sleep_ms(2);
	pa_reserve_tick();
	assert_int_equal(pa_reserve.limit_units, 0);
}

static void test_refaults_count_within_the_window(void **state)
{
	(void)state;

	uint32_t mark = pa_reserve_mark();
	pa_reserve_tick();
	pa_add_relaxed(&pa_reserve.purged_units, 3000);
	pa_reserve_refault(7, mark);
	pa_reserve_refault(5, pa_reserve_mark() - 10);
	assert_int_equal(pa_reserve_refault_units(), 12);
	assert_int_equal(pa_reserve.refault_units[pa_policy_distance_class(3000)], 7);
	assert_int_equal(pa_reserve.refault_units[0], 5);
	/* What was purged before the window began is used again too late to count; what is new is not. */
	sleep_ms(WINDOW_MS + 5);
	pa_reserve_refault(100, mark);
	pa_add_relaxed(&pa_reserve.purged_units, 500);
	pa_reserve_refault(100, mark);
	assert_int_equal(pa_reserve_refault_units(), 12);
	pa_reserve_refault(1, pa_reserve_mark() - 400);
	assert_int_equal(pa_reserve_refault_units(), 13);
}

static void test_classes_of_distance(void **state)
{
	(void)state;

	assert_int_equal(pa_policy_distance_class(0), 0);
	assert_int_equal(pa_policy_distance_class(63), 0);
	assert_int_equal(pa_policy_distance_class(64), 1);
	assert_int_equal(pa_policy_distance_class(127), 1);
	assert_int_equal(pa_policy_distance_class(128), 2);
	assert_int_equal(pa_policy_distance_class(UINT64_C(64) << (PA_POLICY_DISTANCES - 2)),
			 PA_POLICY_DISTANCES - 1);
	assert_int_equal(pa_policy_distance_class(UINT64_MAX), PA_POLICY_DISTANCES - 1);
}

/* Address space given back and taken again within the window counts as purged. */
static void test_released_and_taken(void **state)
{
	(void)state;

	uint32_t mark;
	assert_int_equal(pa_reserve_taken(10, &mark), 0);
	pa_reserve_released(100);
	pa_reserve_released(50);
	assert_int_equal(pa_reserve_taken(30, &mark), 30);
	assert_int_equal(pa_reserve_mark() - mark, 150);
	assert_int_equal(pa_reserve_taken(200, &mark), 120);
	assert_int_equal(pa_reserve_taken(200, &mark), 0);
	/* Made older than the window: not taken again, and forgotten at the next release. */
	pa_reserve_released(80);
	pa_sub_relaxed(&pa_reserve.released_ns, PA_POLICY_WINDOW_NS + 1);
	assert_int_equal(pa_reserve_taken(80, &mark), 0);
	pa_reserve_released(20);
	assert_int_equal(pa_reserve_taken(200, &mark), 20);
}

/* The policy learns from the counters: units that are purged and come back at once raise the limit. */
static void test_the_policy_sees_the_counters(void **state)
{
	(void)state;

	add_resident(100000);
	add_dirty(50000);
	pa_reserve_tick();
	assert_int_equal(pa_reserve.limit_units, PA_POLICY_FLOOR_UNITS);
	/* Twice as often as it takes: on a busy machine some come too late to count. */
	for (unsigned n = 0; n < 4 * PA_POLICY_EVIDENCE && pa_reserve.limit_units < 5000; n++) {
		pa_add_relaxed(&pa_reserve.purged_units, 5000);
		sleep_ms(2);
		pa_reserve_tick();
		pa_reserve_refault(5000, pa_reserve_mark() - 5000);
		sleep_ms(2);
		pa_reserve_tick();
	}
	assert_in_range(pa_reserve.limit_units, 5000, 20000);
	pa_reserve_set(&by_itself);
	assert_int_equal(pa_reserve.limit_units, PA_POLICY_FLOOR_UNITS);
}

static _Atomic(bool) is_over;

static void test_costs_are_running_means(void **state)
{
	_Atomic(uint32_t) cost;
	(void)state;

	pa_store_relaxed(&cost, 1000);
	pa_reserve_measured(&cost, 10, 10000); /* as before */
	assert_int_equal(pa_load_relaxed(&cost), 1000);
	for (unsigned n = 0; n < 200; n++)
		pa_reserve_measured(&cost, 4, 12000);
	assert_in_range(pa_load_relaxed(&cost), 2950, 3000);
	/* Once so long that the processor was somewhere else. */
	pa_reserve_measured(&cost, 1, UINT64_C(1000000000));
	assert_in_range(pa_load_relaxed(&cost), 3000, 3600);
	/* Neither a clock that stands still nor an emulator goes out of bounds. */
	for (unsigned n = 0; n < 200; n++)
		pa_reserve_measured(&cost, 1, 0);
	assert_int_equal(pa_load_relaxed(&cost), 50);
	for (unsigned n = 0; n < 200; n++)
		pa_reserve_measured(&cost, 0, 1000000);
	assert_int_equal(pa_load_relaxed(&cost), 10000);

	uint32_t before = pa_load_relaxed(&pa_reserve.touch_ns);
	pa_store_relaxed(&pa_reserve.touch_ns, 700);
	pa_store_relaxed(&pa_reserve.purge_ns, 300);
	assert_int_equal(pa_reserve_unit_ns(), 1000);
	pa_store_relaxed(&pa_reserve.touch_ns, before);
}

static void *set_again_and_again(void *argument)
{
	while (!pa_load_relaxed(&is_over))
		keep_bytes(PA_MIB);
	return argument;
}

/* Some of the forks catch the other thread with the policy in its hands. */
static void fork_while_the_policy_is_taken(void)
{
	pthread_t thread;
	int status = 0;

	if (pthread_create(&thread, NULL, set_again_and_again, NULL) != 0)
		_exit(10);
	for (unsigned n = 0; n < 60 && status == 0; n++) {
		pid_t child = fork();
		if (child == 0) {
			alarm(CAPTURE_SECONDS / 2);
			pa_reserve_after_fork_child();
			keep_bytes(3 * PA_MIB);
			_exit(pa_load_relaxed(&pa_reserve.limit_units) == 768 ? 0 : 1);
		}
		if (child < 0 || waitpid(child, &status, 0) != child)
			_exit(11);
	}
	pa_store_relaxed(&is_over, true);
	pthread_join(thread, NULL);
	_exit(status == 0 ? 0 : 1);
}

static void test_a_fork_frees_the_policy(void **state)
{
	struct capture capture;
	(void)state;

	assert_int_equal(capture_child(fork_while_the_policy_is_taken, &capture), 0);
}

#define point(test) cmocka_unit_test_setup(test, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		point(test_limit),
		point(test_no_new_peak),
		point(test_a_peak_that_is_dear),
		point(test_low_water),
		point(test_percentage_of_what_is_live),
		point(test_refaults_count_within_the_window),
		point(test_classes_of_distance),
		point(test_released_and_taken),
		point(test_the_policy_sees_the_counters),
		point(test_costs_are_running_means),
		point(test_a_fork_frees_the_policy),
	};

	return cmocka_run_group_tests_name("reserve", tests, NULL, NULL);
}
