/* SPDX-License-Identifier: MIT */
/* test_guarded.c: mappings between guard pages, and the addresses of those that are gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <signal.h>

#include "capture.h"
#include "guarded.h"
#include "os.h"

static char *touched;

static void touch(void)
{
	signal(SIGSEGV, SIG_DFL);
	*(volatile char *)touched = 1;
}

/* In a child: whether a write there ends it. */
static bool is_guarded(char *p)
{
	struct capture capture;

	touched = p;
	int status = capture_child(touch, &capture);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static void test_guards(void **state)
{
	size_t page = pa_os_page_bytes();
	(void)state;

	for (size_t align = 1; align <= 8 * PA_MIB; align *= 64) {
		char *p = pa_guarded_map(3 * page, align);
		assert_non_null(p);
		assert_int_equal((uintptr_t)p % align, 0);
		assert_true(is_guarded(p - 1) && is_guarded(p - page));
		assert_false(is_guarded(p) || is_guarded(p + 3 * page - 1));
		assert_true(is_guarded(p + 3 * page) && is_guarded(p + 4 * page - 1));
		pa_guarded_unmap(p, 3 * page);
		assert_true(is_guarded(p) && is_guarded(p + 3 * page - 1));
		assert_true(pa_guarded_is_kept(p));
		assert_false(pa_guarded_is_kept(p + page));
	}
	assert_null(pa_guarded_map(SIZE_MAX - page, 1));
	assert_null(pa_guarded_map((size_t)1 << 62, 1));
}

/* Nobody gets the addresses again before many others have gone. */
static void test_addresses_stay_taken(void **state)
{
	size_t page = pa_os_page_bytes();
	char *gone = pa_guarded_map(page, 1);
	(void)state;

	pa_guarded_unmap(gone, page);
	for (unsigned i = 0; i < PA_GUARDED_KEPT - 1; i++) {
		char *p = pa_guarded_map(page, 1);
		assert_ptr_not_equal(p, gone);
		pa_guarded_unmap(p, page);
		assert_true(pa_guarded_is_kept(gone));
	}
	char *p = pa_guarded_map(page, 1);
	pa_guarded_unmap(p, page);
	assert_false(pa_guarded_is_kept(gone));
	assert_true(pa_guarded_is_kept(p));
	assert_true(pa_guarded_release());
	assert_false(pa_guarded_is_kept(p));
	assert_false(pa_guarded_release());
}

/* Neither are more bytes than may be. */
static void test_large_ones_go_at_once(void **state)
{
	char *small = pa_guarded_map(PA_MIB, 1);
	(void)state;

	pa_guarded_unmap(small, PA_MIB);
	char *large = pa_guarded_map(2 * PA_GUARDED_KEPT_BYTES, 1);
	pa_guarded_unmap(large, 2 * PA_GUARDED_KEPT_BYTES);
	assert_false(pa_guarded_is_kept(large));
	assert_true(pa_guarded_is_kept(small));
	large = pa_guarded_map(PA_GUARDED_KEPT_BYTES - PA_MIB, 1);
	pa_guarded_unmap(large, PA_GUARDED_KEPT_BYTES - PA_MIB);
	assert_true(pa_guarded_is_kept(large));
	assert_false(pa_guarded_is_kept(small));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_guards),
		cmocka_unit_test(test_addresses_stay_taken),
		cmocka_unit_test(test_large_ones_go_at_once),
	};

	return cmocka_run_group_tests_name("guarded", tests, NULL, NULL);
}
