/* SPDX-License-Identifier: MIT */
/* test_life.c: start, the report at the end, and what is made good in a child; each in a process of its own. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#include <cmocka.h>

#include "capture.h"
#include "large.h"
#include "life.h"
#include "lock.h"
#include "machine.h"
#include "malloc.h"
#include "reserve.h"

static char directory[] = "/tmp/test_life.XXXXXX";
static char setting[128];

static int make_directory(void **state)
{
	(void)state;
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	(void)state;
	return rmdir(directory);
}

static void start_with(const char *option)
{
	char *environment[] = { setting, NULL };

	snprintf(setting, sizeof setting, "%s", option);
	pa_life_start(environment);
}

static void report_to_standard_error(void)
{
	start_with("PYARENA_STATS=1");
	pa_free(pa_malloc(100), "free");
	pa_life_report();
	pa_life_report(); /* once is enough */
}

static void report_json(void)
{
	start_with("PYARENA_STATS=json");
	if (!pa_malloc(100000))
		_exit(1);
	pa_life_report();
}

static void report_nothing(void)
{
	start_with("PYARENA_STATS=0");
	pa_life_report();
}

static void stand_aside(void)
{
	start_with("PYARENA_STATS=1");
	pa_life_stand_aside();
	pa_life_report();
}

static unsigned occurrences(const char *text, const char *part)
{
	unsigned count = 0;

	for (const char *p = strstr(text, part); p; p = strstr(p + 1, part))
		count++;
	return count;
}

static void test_reports(void **state)
{
	struct capture capture;
	(void)state;

	assert_int_equal(capture_child(report_to_standard_error, &capture), 0);
	assert_int_equal(occurrences(capture.text, "pyarena: " PA_VERSION " statistics (pid "), 1);
	assert_int_equal(capture_child(report_json, &capture), 0);
	assert_int_equal(strncmp(capture.text, "{\"pyarena\": \"" PA_VERSION "\"", 13), 0);
	assert_non_null(strstr(capture.text, "\"live_bytes\": 102400,"));
	assert_int_equal(capture_child(report_nothing, &capture), 0);
	assert_string_equal(capture.text, "");
	assert_int_equal(capture_child(stand_aside, &capture), 0);
	assert_string_equal(capture.text, "");
}

static void report_to_file(void)
{
	char option[128];

	snprintf(option, sizeof option, "PYARENA_STATS=:%s/of-%%p", directory);
	start_with(option);
	if (!pa_malloc(100))
		_exit(1);
	pa_life_report();
	snprintf(option, sizeof option, "%s/of-%d", directory, (int)getpid());
	snprintf(setting, sizeof setting, "%s/report", directory);
	_exit(rename(option, setting) == 0 ? 0 : 2);
}

static void test_report_to_a_file(void **state)
{
	static char text[1 << 16];
	struct capture capture;
	char path[128];
	(void)state;

	assert_int_equal(capture_child(report_to_file, &capture), 0);
	assert_string_equal(capture.text, "");
	snprintf(path, sizeof path, "%s/report", directory);
	int fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	unlink(path);
	assert_in_range(n, 1000, sizeof text - 2);
	text[n] = '\0';
	assert_int_equal(strncmp(text, "{\"pyarena\": \"", 13), 0);
	assert_int_equal(text[n - 1], '\n');
	assert_non_null(strstr(text, "\"live_blocks\": 1,"));
	assert_non_null(strstr(text, "/of-%p\""));
}

static void report_to_nowhere(void)
{
	start_with("PYARENA_STATS=:/nonexistent/directory/report");
	pa_life_report();
}

static void test_unwritable_report(void **state)
{
	struct capture capture;
	(void)state;

	assert_int_equal(capture_child(report_to_nowhere, &capture), 0);
	assert_string_equal(capture.text, "pyarena: warning: PYARENA_STATS: cannot write "
					  "/nonexistent/directory/report\n");
}

/* Too early for an environment: the options come later, and count then. */
static void start_twice(void)
{
	pa_life_start(NULL);
	if (pa_reserve.limit_units != PA_POLICY_FLOOR_UNITS)
		_exit(1);
	start_with("PYARENA_KEEP_FREE=8M");
	if (pa_reserve.limit_units != 2048)
		_exit(2);
	start_with("PYARENA_KEEP_FREE=16M"); /* the first environment counts */
	if (pa_reserve.limit_units != 2048)
		_exit(3);
}

static void test_start_without_an_environment(void **state)
{
	struct capture capture;
	(void)state;

	assert_int_equal(capture_child(start_twice, &capture), 0);
	assert_string_equal(capture.text, "");
}

static _Atomic(int) held;

static void *hold_for_ever(void *rank)
{
	pa_lock((enum pa_lock_rank)(uintptr_t)rank);
	pa_store_release(&held, 1);
	sleep(2 * CAPTURE_SECONDS);
	return NULL;
}

static void *allocate_and_hold(void *rank)
{
	return pa_malloc(500) ? hold_for_ever(rank) : NULL;
}

static void expect_from_child(pid_t child)
{
	int status;

	if (child < 0 || waitpid(child, &status, 0) != child)
		_exit(21);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 22);
}

/* Memory can be had from everywhere. */
static void use_all(void)
{
	alarm(CAPTURE_SECONDS / 2);
	for (unsigned n = 0; n < 20; n++) {
		void *small = pa_malloc(100), *run = pa_malloc(200000), *large = pa_malloc(2000000);
		if (!small || !run || !large)
			_exit(31);
		pa_free(small, "free");
		pa_free(run, "free");
		pa_free(large, "free");
	}
	pa_malloc_trim();
	pa_heap_check(pa_thread_heap);
	_exit(0);
}

static void fork_while_locks_are_held(void)
{
	pthread_t thread;
	struct pa_large_counts counts;

	start_with("PYARENA_KEEP_FREE=64M");
	pa_free(pa_malloc(2000000), "free");
	pa_large_count(&counts);
	if (counts.cached_bytes == 0)
		_exit(1);
	for (uintptr_t rank = 0; rank < PA_LOCK_COUNT; rank++) {
		pa_store_relaxed(&held, 0);
		if (pthread_create(&thread, NULL, hold_for_ever, (void *)rank) != 0)
			_exit(20);
		while (!pa_load_acquire(&held))
			usleep(1000);
	}
	pid_t child = fork();
	if (child == 0) {
		/* Of what a lost holder may have been changing, the cache is forgotten. */
		pa_large_count(&counts);
		if (counts.cached_bytes > 0)
			_exit(2);
		use_all();
	}
	expect_from_child(child);
}

/* A child that runs no handlers finds out when it has to wait. */
static void fork_without_handlers(void)
{
	pthread_t thread;

	start_with("PYARENA_STATS=0");
	pa_free(pa_malloc(10), "free");
	for (uintptr_t rank = PA_LOCK_LIFE; rank < PA_LOCK_COUNT; rank++) {
		pa_store_relaxed(&held, 0);
		if (pthread_create(&thread, NULL, hold_for_ever, (void *)rank) != 0)
			_exit(20);
		while (!pa_load_acquire(&held))
			usleep(1000);
	}
	pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	if (child == 0)
		use_all();
	expect_from_child(child);
}

/* The blocks of threads that are not in the child can be freed there, and their heaps are used again. */
static void fork_and_adopt(void)
{
	pthread_t thread;

	start_with("PYARENA_STATS=0");
	pa_free(pa_malloc(10), "free");
	struct pa_heap *own = pa_thread_heap;
	if (pthread_create(&thread, NULL, allocate_and_hold, (void *)PA_LOCK_LARGE) != 0)
		_exit(20);
	while (!pa_load_acquire(&held))
		usleep(1000);
	pid_t child = fork();
	if (child == 0) {
		if (pa_thread_heap != own || own->state != PA_HEAP_OWNED)
			_exit(1);
		struct pa_heap *adopted = pa_heap_acquire(PA_HEAP_THREAD);
		if (adopted == own || adopted->id != own->id + 1)
			_exit(2);
		use_all();
	}
	expect_from_child(child);
}

static void test_children(void **state)
{
	struct capture capture;
	(void)state;
	need_a_kernel();

	assert_int_equal(capture_child(fork_while_locks_are_held, &capture), 0);
	assert_int_equal(capture_child(fork_without_handlers, &capture), 0);
	assert_int_equal(capture_child(fork_and_adopt, &capture), 0);
	assert_string_equal(capture.text, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reports),
		cmocka_unit_test(test_report_to_a_file),
		cmocka_unit_test(test_unwritable_report),
		cmocka_unit_test(test_start_without_an_environment),
		cmocka_unit_test(test_children),
	};

	return cmocka_run_group_tests_name("life", tests, make_directory, remove_directory);
}
