/* SPDX-License-Identifier: MIT */
/* test_lock.c: exclusion, sleeping and waking, locks lost in a fork, the order of ranks. */
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
#include "machine.h"

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

static _Atomic(unsigned) hooks;

static void count_hook(void)
{
	pa_add_relaxed(&hooks, 1);
}

/* The hook runs once before each lock, and again and again while somebody else has it. */
static void test_hook(void **state)
{
	pthread_t thread;
	struct timespec used;
	(void)state;

	passed = 0;
	pa_lock_set_hook(count_hook);
	pa_lock(PA_LOCK_MANAGER);
	unsigned without_wait = pa_load_relaxed(&hooks);
	int error = pthread_create(&thread, NULL, wait_and_pass, &used);
	for (int i = 0; i < 10000 && pa_load_relaxed(&hooks) < without_wait + 2; i++)
		sleep_ms(1);
	unsigned while_waiting = pa_load_relaxed(&hooks);
	int passed_too_early = pa_load_relaxed(&passed);
	pa_lock_set_hook(NULL);
	pa_unlock(PA_LOCK_MANAGER);
	assert_int_equal(error, 0);
	pthread_join(thread, NULL);
	pa_lock(PA_LOCK_MANAGER);
	pa_unlock(PA_LOCK_MANAGER);
	assert_int_equal(without_wait, 1);
	assert_true(while_waiting >= without_wait + 2); /* again after each sleep */
	assert_int_equal(passed_too_early, 0);
	assert_int_equal(passed, 1);
}

static void test_a_little_wait(void **state)
{
	struct timespec before, after;
	(void)state;

	hooks = 0;
	pa_lock_set_hook(count_hook);
	clock_gettime(CLOCK_MONOTONIC, &before);
	for (int i = 0; i < 10; i++)
		pa_lock_wait_a_little();
	clock_gettime(CLOCK_MONOTONIC, &after);
	pa_lock_set_hook(NULL);
	assert_int_equal(hooks, 10);
	int64_t ns =
		(after.tv_sec - before.tv_sec) * INT64_C(1000000000) + after.tv_nsec - before.tv_nsec;
	assert_in_range(ns, 10 * 10000, INT64_C(10000000000));
}

static void *hold_for_ever(void *argument)
{
	pa_lock(PA_LOCK_LIFE);
	pa_lock(PA_LOCK_LARGE);
	pa_add_relaxed(&passed, 1);
	sleep_ms(1000L * CAPTURE_SECONDS * 2);
	return argument;
}

static void be_in_a_process_with_lost_locks(void)
{
	pthread_t thread;

	passed = 0;
	if (pthread_create(&thread, NULL, hold_for_ever, NULL) != 0)
		_exit(10);
	while (pa_load_relaxed(&passed) == 0)
		sleep_ms(1);
}

/* The locks that others hold: a child sees them as lost. */
static unsigned held_by_others(void)
{
	bool is_holder;
	int status;

	pid_t child = fork();
	if (child == 0)
		_exit((int)pa_lock_after_fork_child(&is_holder));
	if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
		_exit(11);
	return (unsigned)WEXITSTATUS(status);
}

static void end_with_child(pid_t child)
{
	int status;

	if (child < 0 || waitpid(child, &status, 0) != child)
		_exit(11);
	if (!WIFEXITED(status))
		_exit(12);
	if (WEXITSTATUS(status) != 0)
		_exit(WEXITSTATUS(status));
}

/*
 * In a child so that the thread that never lets go harms nobody: its own child has neither that
 * thread nor, after the repair, its locks.  The lock of the thread that forks is held in both.
 */
static void fork_with_locks_of_both(void)
{
	bool is_holder = false;

	be_in_a_process_with_lost_locks();
	pa_lock(PA_LOCK_MANAGER);
	pid_t child = fork();
	if (child == 0) {
		alarm(CAPTURE_SECONDS / 2);
		unsigned lost = pa_lock_after_fork_child(&is_holder);
		if (lost != (1u << PA_LOCK_LIFE | 1u << PA_LOCK_LARGE))
			_exit(1);
		if (!is_holder)
			_exit(2);
		if (pa_lock_after_fork_child(&is_holder) != 0 || !is_holder)
			_exit(3);
		pa_unlock(PA_LOCK_MANAGER);
		for (unsigned rank = 0; rank < PA_LOCK_COUNT; rank++)
			pa_lock(rank);
		_exit(0);
	}
	end_with_child(child);
	pa_unlock(PA_LOCK_MANAGER);
	/* The parent's are held still. */
	if (held_by_others() != (1u << PA_LOCK_LIFE | 1u << PA_LOCK_LARGE))
		_exit(5);
}

/* No lock was held, or only ones of threads that are gone. */
static void fork_without_locks(void)
{
	bool is_holder = true;

	pid_t child = fork();
	if (child == 0)
		_exit(pa_lock_after_fork_child(&is_holder) != 0 || is_holder ? 1 : 0);
	end_with_child(child);
	be_in_a_process_with_lost_locks();
	is_holder = true;
	child = fork();
	if (child == 0)
		_exit(pa_lock_after_fork_child(&is_holder) == 0 || is_holder ? 2 : 0);
	end_with_child(child);
}

static _Atomic(bool) may_go_on;

static void go_on(void)
{
	pa_store_relaxed(&may_go_on, true);
}

static void *wait_for_large(void *argument)
{
	pa_lock(PA_LOCK_LARGE);
	pa_unlock(PA_LOCK_LARGE);
	return argument;
}

/* A lock with a sleeper is lost like any other, and the child's next waiter is woken. */
static void fork_with_a_sleeper(void)
{
	pthread_t thread;
	bool is_holder = false;

	be_in_a_process_with_lost_locks();
	pa_lock_set_hook(go_on);
	if (pthread_create(&thread, NULL, wait_for_large, NULL) != 0)
		_exit(10);
	while (!pa_load_relaxed(&may_go_on))
		sleep_ms(1);
	sleep_ms(20); /* for it to fall asleep */
	pid_t child = fork();
	if (child == 0) {
		alarm(CAPTURE_SECONDS / 2);
		if (!(pa_lock_after_fork_child(&is_holder) & 1u << PA_LOCK_LARGE) || is_holder)
			_exit(1);
		pa_lock(PA_LOCK_LARGE);
		pa_store_relaxed(&may_go_on, false);
		if (pthread_create(&thread, NULL, wait_for_large, NULL) != 0)
			_exit(10);
		while (!pa_load_relaxed(&may_go_on))
			sleep_ms(1);
		sleep_ms(20);
		pa_unlock(PA_LOCK_LARGE);
		pthread_join(thread, NULL);
		_exit(0);
	}
	end_with_child(child);
}

static void test_locks_after_a_fork(void **state)
{
	struct capture capture;
	(void)state;
	need_a_kernel();

	assert_int_equal(capture_child(fork_with_locks_of_both, &capture), 0);
	assert_int_equal(capture_child(fork_without_locks, &capture), 0);
	assert_int_equal(capture_child(fork_with_a_sleeper, &capture), 0);
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
		cmocka_unit_test(test_waiters_sleep_and_all_are_woken),
		cmocka_unit_test(test_hook),
		cmocka_unit_test(test_a_little_wait),
		cmocka_unit_test(test_locks_after_a_fork),
#ifdef PA_DEBUG
		cmocka_unit_test(test_order_is_asserted),
#endif
	};

	return cmocka_run_group_tests_name("lock", tests, NULL, NULL);
}
