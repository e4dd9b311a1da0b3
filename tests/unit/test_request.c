/* SPDX-License-Identifier: MIT */
/* test_request.c: a trim that another process asks for: who serves it, and who passes it by. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#include <cmocka.h>

#include "capture.h"
#include "machine.h"
#include "malloc.h"
#include "os.h"
#include "request.h"
#include "reserve.h"

#define BLOCKS 20000u
#define BLOCK_BYTES 400u

static void *blocks[BLOCKS];

static int begin(void **state)
{
	(void)state;
	pa_reserve_set(&(struct pa_keep_option){ PA_KEEP_BYTES, 1024 * PA_MIB });
	return 0;
}

/* Leave some 8 MB free and resident: one block in a hundred stays. */
static void make_holes(void)
{
	for (unsigned i = 0; i < BLOCKS; i++)
		blocks[i] = pa_malloc(BLOCK_BYTES);
	for (unsigned i = 0; i < BLOCKS; i++)
		if (i % 100)
			pa_free(blocks[i], "free");
}

static void free_rest(void)
{
	for (unsigned i = 0; i < BLOCKS; i += 100)
		pa_free(blocks[i], "free");
	pa_malloc_trim();
}

static uint64_t request_for(int process, uint64_t number)
{
	return (uint64_t)process << 32 | number;
}

static void ask(uint64_t request)
{
	pa_store_relaxed(&pa_reserve.trim_request, request);
}

/* Enough requests of one class that a slow path is among them. */
static void allocate_slowly(void)
{
	void *some[200];

	for (unsigned i = 0; i < 200; i++)
		some[i] = pa_malloc(16000);
	for (unsigned i = 0; i < 200; i++)
		pa_free(some[i], "free");
}

static void test_the_owner_trims_on_its_slow_path(void **state)
{
	(void)state;
	need_pages_of_at_most(PA_SLOT_BYTES);
	uint64_t request = request_for(pa_os_process_id(), 1);

	make_holes();
	uint64_t purged = pa_load_relaxed(&pa_reserve.purged_units);
	ask(request);
	void *first = pa_malloc(BLOCK_BYTES); /* the fast path knows nothing of it */
	assert_int_not_equal(pa_thread_heap->trim_served, request);
	allocate_slowly();
	assert_int_equal(pa_thread_heap->trim_served, request);
	assert_in_range(pa_load_relaxed(&pa_reserve.purged_units) - purged, 1000, 10000);
	pa_heap_check(pa_thread_heap);
	pa_free(first, "free");
	free_rest();
}

static void test_once_for_each_request(void **state)
{
	(void)state;
	ask(request_for(pa_os_process_id(), 2));
	allocate_slowly();
	uint64_t sweeps = pa_thread_heap->sweeps;
	make_holes();
	allocate_slowly();
	assert_int_equal(pa_thread_heap->sweeps, sweeps);
	ask(request_for(pa_os_process_id(), 3));
	allocate_slowly();
	assert_true(pa_thread_heap->sweeps > sweeps);
	free_rest();
}

static void *begin_late(void *argument)
{
	void *p = pa_malloc(100);

	*(uint64_t *)argument = pa_thread_heap->trim_served;
	pa_free(p, "free");
	return NULL;
}

/* Both a new heap and one that is adopted. */
static void test_who_comes_later_need_not_serve(void **state)
{
	(void)state;
	for (uint64_t number = 10; number < 13; number++) {
		pthread_t thread;
		uint64_t served = 0;
		ask(request_for(pa_os_process_id(), number));
		assert_int_equal(pthread_create(&thread, NULL, begin_late, &served), 0);
		pthread_join(thread, NULL);
		assert_int_equal(served, request_for(pa_os_process_id(), number));
	}
	allocate_slowly();
}

/* Exits with 1 if the child gives back anything, with 2 if it looks again and again. */
static void serve_what_the_parent_was_asked(void)
{
	uint64_t purged = pa_load_relaxed(&pa_reserve.purged_units);

	allocate_slowly();
	if (pa_load_relaxed(&pa_reserve.purged_units) != purged)
		_exit(1);
	if (pa_load_relaxed(&pa_thread_heap->trim_served) != pa_load_relaxed(&pa_reserve.trim_request))
		_exit(2);
}

static void test_a_child_passes_it_by(void **state)
{
	struct capture capture;
	int status = 0;
	(void)state;
	need_pages_of_at_most(PA_SLOT_BYTES);

	make_holes();
	ask(request_for(pa_os_process_id(), 20));
	assert_int_equal(capture_child(serve_what_the_parent_was_asked, &capture), 0);
	/* A child that runs no handlers. */
	pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	if (child == 0) {
		serve_what_the_parent_was_asked();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);

	uint64_t purged = pa_load_relaxed(&pa_reserve.purged_units);
	allocate_slowly();
	assert_true(pa_load_relaxed(&pa_reserve.purged_units) > purged + 1000);
	free_rest();
}

#define point(test) cmocka_unit_test_setup(test, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		point(test_the_owner_trims_on_its_slow_path),
		point(test_once_for_each_request),
		point(test_who_comes_later_need_not_serve),
		point(test_a_child_passes_it_by),
	};

	return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}
