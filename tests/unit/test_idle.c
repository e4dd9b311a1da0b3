/* SPDX-License-Identifier: MIT */
/* test_idle.c: the thread of an idle process ends before a fork, and for the kernel too, which the test plays. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#include <cmocka.h>

#include "idle.h"
#include "os.h"
#include "reserve.h"

#define DIRTY_UNITS 10000
#define STOP_NS UINT64_C(100000000) /* that pa_idle_stop waits at most */
#define TRIES 100                   /* a busy machine may not let the thread end in that time */

long __real_syscall(long, ...);
long __wrap_syscall(long, ...);

static int lingering; /* so often is a thread known that has ended */
static int asked;

long __wrap_syscall(long number, ...)
{
	long arguments[6];
	va_list list;

	va_start(list, number);
	for (size_t i = 0; i < sizeof arguments / sizeof arguments[0]; i++)
		arguments[i] = va_arg(list, long);
	va_end(list);
	if (number != SYS_tgkill)
		return __real_syscall(number, arguments[0], arguments[1], arguments[2], arguments[3],
				      arguments[4], arguments[5]);
	asked++;
	if (lingering > 0) {
		lingering--;
		return 0;
	}
	errno = ESRCH;
	return -1;
}

/* There is enough that a thread watches. */
static int begin(void **state)
{
	(void)state;
	pa_idle_enable();
	pa_reserve_add((struct pa_reserve_change){ .resident = DIRTY_UNITS, .dirty = DIRTY_UNITS });
	pa_reserve_watch();
	lingering = 0;
	asked = 0;
	return 0;
}

static int end(void **state)
{
	(void)state;
	pa_idle_stop();
	pa_reserve_add((struct pa_reserve_change){ .resident = -DIRTY_UNITS, .dirty = -DIRTY_UNITS });
	pa_store_relaxed(&pa_reserve.wants_watch, false);
	return 0;
}

static void begin_anew(void)
{
	lingering = 0;
	end(NULL);
	begin(NULL);
}

static void test_end_is_waited_for(void **state)
{
	(void)state;

	bool is_late = true;
	for (unsigned n = 0; is_late && n < TRIES; n++) {
		begin_anew();
		uint64_t began_ns = pa_os_clock_ns();
		errno = 0;
		lingering = 3;
		pa_idle_stop();
		is_late = pa_os_clock_ns() - began_ns >= STOP_NS;
	}
	assert_int_equal(asked, 4);
	assert_int_equal(errno, 0);
	assert_true(pa_load_relaxed(
		&pa_reserve.wants_watch)); /* it begins again when there is something to do */
}

static void test_wait_has_an_end(void **state)
{
	uint64_t began_ns = 0;
	(void)state;

	for (unsigned n = 0; asked <= 1 && n < TRIES; n++) {
		begin_anew();
		began_ns = pa_os_clock_ns();
		lingering = INT_MAX;
		pa_idle_stop();
	}
	assert_true(asked > 1);
	assert_true(pa_os_clock_ns() - began_ns >= STOP_NS);
	asked = 0;
	pa_idle_stop();
	assert_int_equal(asked, 0);
}

static void test_child_has_no_thread(void **state)
{
	(void)state;

	pa_idle_stop(); /* which a handler does before the fork */
	asked = 0;
	pa_idle_after_fork_child();
	pa_idle_stop();
	assert_int_equal(asked, 0);
	assert_false(pa_load_relaxed(&pa_reserve.wants_watch));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_end_is_waited_for, begin, end),
		cmocka_unit_test_setup_teardown(test_wait_has_an_end, begin, end),
		cmocka_unit_test_setup_teardown(test_child_has_no_thread, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
