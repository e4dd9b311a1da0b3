/* SPDX-License-Identifier: MIT */
/* test_lock.c: exclusion, sleeping and waking, the walk around a fork, the order of ranks. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "atomic.h"
#include "capture.h"
#include "lock.h"

#define THREADS 4
#define ROUNDS 50000
#define MS 1000000

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * MS }, NULL);
}

static volatile uint64_t guarded[2]; /* equal whenever the lock is free */
static _Atomic(int) torn;

static void *count_up(void *argument)
{
	for (int i = 0; i < ROUNDS; i++) {
		pa_lock(PA_LOCK_MANAGER);
		if (guarded[0] != guarded[1])
			pa_store_relaxed(&torn, 1);
		guarded[0]++;
		guarded[1]++;
		pa_unlock(PA_LOCK_MANAGER);
	}
	return argument;
}

static void test_one_holder_at_a_time(void **state)
{
	pthread_t threads[THREADS];
	(void)state;

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_up, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(torn, 0);
	assert_int_equal(guarded[0], (uint64_t)THREADS * ROUNDS);
	assert_int_equal(guarded[1], (uint64_t)THREADS * ROUNDS);
}

/* Another thread's try; the lock is left as it was. */
static void *try_once(void *rank)
{
	if (!pa_lock_try((enum pa_lock_rank)(uintptr_t)rank))
		return (void *)1;
	pa_unlock((enum pa_lock_rank)(uintptr_t)rank);
	return (void *)2;
}

static bool is_free(enum pa_lock_rank rank)
{
	pthread_t thread;
	void *answer = NULL;

	if (pthread_create(&thread, NULL, try_once, (void *)(uintptr_t)rank) != 0)
		capture_fail("pthread_create");
	pthread_join(thread, &answer);
	return answer == (void *)2;
}

static void test_try(void **state)
{
	(void)state;

	pa_lock(PA_LOCK_LARGE);
	assert_false(is_free(PA_LOCK_LARGE));
	assert_true(is_free(PA_LOCK_MANAGER));
	pa_unlock(PA_LOCK_LARGE);
	assert_true(is_free(PA_LOCK_LARGE));
	assert_true(pa_lock_try(PA_LOCK_LARGE));
	assert_false(is_free(PA_LOCK_LARGE));
	pa_unlock(PA_LOCK_LARGE);
}

static _Atomic(int) passed;

static void *wait_and_pass(void *argument)
{
	struct timespec *used = argument;

	pa_lock(PA_LOCK_MANAGER);
	pa_add_relaxed(&passed, 1);
	pa_unlock(PA_LOCK_MANAGER);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, used);
	return NULL;
}

static void test_waiters_sleep_and_all_are_woken(void **state)
{
	pthread_t threads[THREADS];
	struct timespec used[THREADS];
	(void)state;

	pa_lock(PA_LOCK_MANAGER);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, wait_and_pass, &used[i]), 0);
	sleep_ms(400);
	int passed_too_early = pa_load_relaxed(&passed);
	pa_unlock(PA_LOCK_MANAGER);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(passed_too_early, 0);
	assert_int_equal(passed, THREADS);
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(used[i].tv_sec, 0);
		assert_in_range(used[i].tv_nsec, 0, 40 * MS); /* a waiter that spins uses more */
	}
}

static void test_all(void **state)
{
	(void)state;

	pa_lock_all();
	for (unsigned rank = 0; rank < PA_LOCK_COUNT; rank++)
		assert_false(is_free(rank));
	pa_unlock_all();
	for (unsigned rank = 0; rank < PA_LOCK_COUNT; rank++)
		assert_true(is_free(rank));
}

static void *hold_for_ever(void *argument)
{
	pa_lock(PA_LOCK_MANAGER);
	pa_add_relaxed(&passed, 1);
	sleep_ms(1000L * CAPTURE_SECONDS * 2);
	return argument;
}

/*
 * In a child so that the thread that never lets go harms nobody: its own child has neither that
 * thread nor, after the reset, its lock.
 */
static void reset_in_a_fork(void)
{
	pthread_t thread;
	int status;

	passed = 0;
	pthread_create(&thread, NULL, hold_for_ever, NULL);
	while (pa_load_relaxed(&passed) == 0)
		sleep_ms(1);
	pid_t child = fork();
	if (child == 0) {
		alarm(CAPTURE_SECONDS / 2);
		if (pa_lock_try(PA_LOCK_MANAGER))
			_exit(1);
		pa_lock_reset_all();
		pa_lock_all();
		pa_unlock_all();
		_exit(0);
	}
	if (waitpid(child, &status, 0) != child || status != 0)
		_exit(2);
	if (pa_lock_try(PA_LOCK_MANAGER)) /* the parent's is held still */
		_exit(3);
	_exit(0);
}

static void test_reset_in_a_forked_child(void **state)
{
	struct capture capture;
	(void)state;

	assert_int_equal(capture_child(reset_in_a_fork, &capture), 0);
}

/* As around every fork: all held, the child starts afresh, the parent goes on. */
static void fork_under_all_locks(void)
{
	int status;

	pa_lock_all();
	pid_t child = fork();
	if (child == 0) {
		alarm(CAPTURE_SECONDS / 2);
		pa_lock_reset_all();
		pa_lock_all();
		pa_unlock_all();
		_exit(0);
	}
	pa_unlock_all();
	if (waitpid(child, &status, 0) != child || status != 0)
		_exit(2);
	pa_lock_all();
	pa_unlock_all();
}

static void test_fork_under_all_locks(void **state)
{
	struct capture capture;
	(void)state;

	assert_int_equal(capture_child(fork_under_all_locks, &capture), 0);
}

#ifdef PA_DEBUG
static void acquire_downwards(void)
{
	pa_lock(PA_LOCK_LARGE);
	pa_lock(PA_LOCK_MANAGER);
}

static void acquire_twice(void)
{
	pa_lock(PA_LOCK_LARGE);
	pa_lock(PA_LOCK_LARGE);
}

static void release_unheld(void)
{
	pa_unlock(PA_LOCK_LARGE);
}

static void test_order_is_asserted(void **state)
{
	struct capture capture;
	(void)state;

	assert_int_equal(WTERMSIG(capture_child(acquire_downwards, &capture)), SIGABRT);
	assert_non_null(strstr(capture.text, "not so: locks are acquired in ascending rank\n"));
	assert_int_equal(WTERMSIG(capture_child(acquire_twice, &capture)), SIGABRT);
	assert_non_null(strstr(capture.text, "not so: locks are acquired in ascending rank\n"));
	assert_int_equal(WTERMSIG(capture_child(release_unheld, &capture)), SIGABRT);
	assert_non_null(strstr(capture.text, "not so: only the holder releases a lock\n"));
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_holder_at_a_time),
		cmocka_unit_test(test_try),
		cmocka_unit_test(test_waiters_sleep_and_all_are_woken),
		cmocka_unit_test(test_all),
		cmocka_unit_test(test_reset_in_a_forked_child),
		cmocka_unit_test(test_fork_under_all_locks),
#ifdef PA_DEBUG
		cmocka_unit_test(test_order_is_asserted),
#endif
	};

	return cmocka_run_group_tests_name("lock", tests, NULL, NULL);
}
