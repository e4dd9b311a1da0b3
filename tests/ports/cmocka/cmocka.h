/* SPDX-License-Identifier: MIT */
/*
 * cmocka.h: as much of cmocka's interface as the unit tests use, for C libraries that it is not packaged for.
 * One test after the other, in this process; the first that fails ends it.
 */
#ifndef CMOCKA_H
#define CMOCKA_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct CMUnitTest {
	const char *name;
	void (*run)(void **);
	int (*begin)(void **), (*end)(void **);
};

#define cmocka_unit_test(f) \
	{ \
#f, f, NULL, NULL \
	}
#define cmocka_unit_test_setup(f, begin) \
	{ \
#f, f, begin, NULL \
	}
#define cmocka_unit_test_setup_teardown(f, begin, end) \
	{ \
#f, f, begin, end \
	}

static jmp_buf cmocka_skipped;

__attribute__((noreturn)) static inline void cmocka_fail(const char *file, int line, const char *what)
{
	printf("# %s:%d: not so: %s\n", file, line, what);
	fflush(stdout);
	_Exit(1);
}

static inline bool cmocka_is_between(uint64_t n, uint64_t low, uint64_t high)
{
	return low <= n && n <= high;
}

#define skip() longjmp(cmocka_skipped, 1)
#define fail_msg(...) (printf("# " __VA_ARGS__), cmocka_fail(__FILE__, __LINE__, "see above"))
#define cmocka_require(condition, what) ((condition) ? (void)0 : cmocka_fail(__FILE__, __LINE__, what))

#define assert_true(c) cmocka_require(c, #c)
#define assert_false(c) cmocka_require(!(c), "not " #c)
#define assert_null(p) cmocka_require((p) == NULL, #p " is NULL")
#define assert_non_null(p) cmocka_require((p) != NULL, #p " is not NULL")
#define assert_ptr_equal(a, b) \
	cmocka_require((const void *)(uintptr_t)(a) == (const void *)(uintptr_t)(b), #a " is " #b)
#define assert_ptr_not_equal(a, b) \
	cmocka_require((const void *)(uintptr_t)(a) != (const void *)(uintptr_t)(b), #a " is not " #b)
#define assert_int_equal(a, b) cmocka_require((uint64_t)(a) == (uint64_t)(b), #a " is " #b)
#define assert_int_not_equal(a, b) cmocka_require((uint64_t)(a) != (uint64_t)(b), #a " is not " #b)
#define assert_string_equal(a, b) cmocka_require(strcmp(a, b) == 0, #a " reads " #b)
#define assert_memory_equal(a, b, size) \
	cmocka_require(memcmp(a, b, size) == 0, #a " holds what is in " #b)
#define assert_return_code(code, error) cmocka_require((code) >= 0 || !(error), #code)
#define assert_in_range(n, low, high) \
	cmocka_require(cmocka_is_between((uint64_t)(n), (uint64_t)(low), (uint64_t)(high)), \
		       #n " is from " #low " to " #high)

static inline int cmocka_run(const struct CMUnitTest *tests, size_t count, int (*begin)(void **),
			     int (*end)(void **))
{
	void *volatile group = NULL;
	void *state = NULL;

	assert_true(!begin || begin(&state) == 0);
	group = state;
	printf("1..%zu\n", count);
	for (volatile size_t i = 0; i < count; i++) {
		const struct CMUnitTest *test = &tests[i];
		state = group;
		assert_true(!test->begin || test->begin(&state) == 0);
		bool is_skipped = setjmp(cmocka_skipped) != 0;
		if (!is_skipped)
			test->run(&state);
		assert_true(!tests[i].end || tests[i].end(&state) == 0);
		printf("ok %zu - %s%s\n", i + 1, tests[i].name, is_skipped ? " # SKIP" : "");
		fflush(stdout);
	}
	state = group;
	assert_true(!end || end(&state) == 0);
	return 0;
}

#define cmocka_run_group_tests(tests, begin, end) \
	cmocka_run(tests, sizeof(tests) / sizeof((tests)[0]), begin, end)
#define cmocka_run_group_tests_name(name, tests, begin, end) cmocka_run_group_tests(tests, begin, end)

#endif
