/* SPDX-License-Identifier: MIT */
/* test_message.c: the formatter to the character, and the exact lines of messages and fatal ends. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "capture.h"
#include "message.h"

static void test_numbers(void **state)
{
	struct pa_text text;
	(void)state;

	pa_text_clear(&text);
	pa_text_unsigned(&text, 0);
	pa_text_string(&text, " ");
	pa_text_unsigned(&text, UINT64_MAX);
	pa_text_string(&text, " ");
	pa_text_signed(&text, -1);
	pa_text_string(&text, " ");
	pa_text_signed(&text, INT64_MIN);
	pa_text_string(&text, " ");
	pa_text_signed(&text, INT64_MAX);
	pa_text_string(&text, " ");
	pa_text_pointer(&text, NULL);
	pa_text_string(&text, " ");
	pa_text_pointer(&text, (void *)(uintptr_t)0x7f00deadbeef);
	assert_string_equal(text.bytes, "0 18446744073709551615 -1 -9223372036854775808 "
					"9223372036854775807 0x0 0x7f00deadbeef");
	assert_int_equal(text.length, strlen(text.bytes));
}

static void test_sizes(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{ 0, "0 B" },
		{ 1, "1 B" },
		{ 1023, "1023 B" },
		{ 1024, "1.0 KiB" },
		{ 1536, "1.5 KiB" },
		{ 102399, "99.9 KiB" },
		{ 102400, "100 KiB" },
		{ 1024 * 1024 - 1, "1023 KiB" },
		{ 1024 * 1024, "1.0 MiB" },
		{ 18350080, "17.5 MiB" },
		{ (uint64_t)5 << 30, "5.0 GiB" },
		{ (uint64_t)7 << 40, "7.0 TiB" },
		{ (uint64_t)1 << 50, "1.0 PiB" },
		{ UINT64_MAX, "15.9 EiB" },
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct pa_text text;
		pa_text_clear(&text);
		pa_text_size(&text, cases[i].bytes);
		assert_string_equal(text.bytes, cases[i].text);
	}
}

static void fill(struct pa_text *text, size_t count)
{
	pa_text_clear(text);
	for (size_t i = 0; i < count; i++)
		pa_text_string(text, "x");
}

static void test_a_full_text_is_not_cut(void **state)
{
	struct pa_text text;
	(void)state;

	fill(&text, PA_TEXT_MAX);
	assert_false(text.is_cut);
	assert_int_equal(text.length, PA_TEXT_MAX);
	assert_int_equal(text.bytes[PA_TEXT_MAX - 1], 'x');
	assert_int_equal(text.bytes[PA_TEXT_MAX], '\0');
	pa_text_string(&text, "");
	assert_false(text.is_cut);
}

static void test_what_does_not_fit_is_cut_visibly(void **state)
{
	struct pa_text text;
	(void)state;

	fill(&text, PA_TEXT_MAX - 1);
	pa_text_string(&text, "yz");
	assert_true(text.is_cut);
	assert_int_equal(text.length, PA_TEXT_MAX);
	assert_string_equal(text.bytes + PA_TEXT_MAX - 5, "xx...");
	pa_text_unsigned(&text, 7);
	assert_int_equal(text.length, PA_TEXT_MAX);
	assert_string_equal(text.bytes + PA_TEXT_MAX - 5, "xx...");
	pa_text_clear(&text);
	assert_string_equal(text.bytes, "");
	pa_text_string(&text, "again");
	assert_string_equal(text.bytes, "again");
}

static void test_foreign_text_stays_on_its_line(void **state)
{
	struct pa_text text;
	(void)state;

	pa_text_clear(&text);
	pa_text_foreign(&text, "a\nb\033[31m\x7f \xc3\xa9!unread", 15);
	assert_string_equal(text.bytes, "a?b?[31m? \xc3\xa9!un");
}

static void test_messages(void **state)
{
	struct capture capture;
	(void)state;

	capture_begin(&capture);
	pa_message_line("0.1.0", " serves malloc");
	pa_message_warning("careful");
	assert_string_equal(capture_end(&capture), "pyarena: 0.1.0 serves malloc\n"
						   "pyarena: warning: careful\n");
}

/* A pipe in packet mode keeps each write apart. */
static void test_a_message_is_one_write(void **state)
{
	char packet[1024];
	int pipe_ends[2], true_error = dup(STDERR_FILENO);
	(void)state;

	assert_return_code(pipe2(pipe_ends, O_DIRECT), errno);
	dup2(pipe_ends[1], STDERR_FILENO);
	pa_message_line("one", " and ", "the same");
	dup2(true_error, STDERR_FILENO);
	close(true_error);
	close(pipe_ends[1]);
	ssize_t n = read(pipe_ends[0], packet, sizeof packet);
	close(pipe_ends[0]);
	assert_int_equal(n, strlen("pyarena: one and the same\n"));
}

static void test_an_overlong_message_is_still_a_line(void **state)
{
	struct capture capture;
	struct pa_text text;
	(void)state;

	fill(&text, PA_TEXT_MAX);
	capture_begin(&capture);
	pa_message_warning(text.bytes, text.bytes);
	const char *line = capture_end(&capture);
	assert_int_equal(strlen(line), PA_TEXT_MAX + 1);
	assert_string_equal(line + PA_TEXT_MAX - 4, "x...\n");
}

static void test_errno_is_kept(void **state)
{
	int true_error = dup(STDERR_FILENO);
	(void)state;

	close(STDERR_FILENO);
	errno = ENOTTY;
	pa_message_line("nobody reads this");
	int kept = errno;
	dup2(true_error, STDERR_FILENO);
	close(true_error);
	assert_int_equal(kept, ENOTTY);
}

static enum pa_fatal_kind kind;

static void end_fatally(void)
{
	pa_fatal(kind, "realloc", (void *)(uintptr_t)0xabc0);
}

static void test_fatal_texts(void **state)
{
	static const char *const lines[PA_FATAL_COUNT] = {
		[PA_FATAL_FOREIGN] =
			"pyarena: fatal: realloc(0xabc0): not a pointer from this allocator\n",
		[PA_FATAL_INSIDE] = "pyarena: fatal: realloc(0xabc0): not at the start of a block\n",
		[PA_FATAL_FREED] = "pyarena: fatal: realloc(0xabc0): freed already\n",
		[PA_FATAL_OVERRUN] = "pyarena: fatal: realloc(0xabc0): written beyond its end\n",
		[PA_FATAL_WRITTEN] = "pyarena: fatal: realloc(0xabc0): written to after it was freed\n",
		[PA_FATAL_SIZE] = "pyarena: fatal: realloc(0xabc0): not of this size\n",
	};
	struct capture capture;
	(void)state;

	for (kind = 0; kind < PA_FATAL_COUNT; kind++) {
		int status = capture_child(end_fatally, &capture);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGABRT);
		assert_non_null(lines[kind]);
		assert_string_equal(capture.text, lines[kind]);
	}
}

static void misuse_again(int signal_number)
{
	(void)signal_number;
	pa_fatal(PA_FATAL_FREED, "free", (void *)(uintptr_t)0x20);
}

static void end_with_a_handler_that_misuses(void)
{
	signal(SIGABRT, misuse_again);
	pa_fatal(PA_FATAL_FREED, "free", (void *)(uintptr_t)0x10);
}

static void test_a_handler_that_misuses_ends_too(void **state)
{
	struct capture capture;
	(void)state;

	int status = capture_child(end_with_a_handler_that_misuses, &capture);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
	assert_string_equal(capture.text, "pyarena: fatal: free(0x10): freed already\n"
					  "pyarena: fatal: free(0x20): freed already\n");
}

static void leave(int signal_number)
{
	(void)signal_number;
	_exit(3);
}

static void end_with_a_handler(void)
{
	signal(SIGABRT, leave);
	pa_fatal(PA_FATAL_INSIDE, "free", (void *)(uintptr_t)0x18);
}

static void test_a_handler_of_the_program_runs(void **state)
{
	struct capture capture;
	(void)state;

	int status = capture_child(end_with_a_handler, &capture);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 3);
}

#ifdef PA_DEBUG
static void fail_an_assertion(void)
{
	pa_assert_failed("pool.c", 42, "a freed block was counted");
}

static void test_assertion(void **state)
{
	struct capture capture;
	(void)state;

	int status = capture_child(fail_an_assertion, &capture);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
	assert_string_equal(capture.text,
			    "pyarena: fatal: pool.c:42: not so: a freed block was counted\n");
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_a_full_text_is_not_cut),
		cmocka_unit_test(test_what_does_not_fit_is_cut_visibly),
		cmocka_unit_test(test_foreign_text_stays_on_its_line),
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_a_message_is_one_write),
		cmocka_unit_test(test_an_overlong_message_is_still_a_line),
		cmocka_unit_test(test_errno_is_kept),
		cmocka_unit_test(test_fatal_texts),
		cmocka_unit_test(test_a_handler_that_misuses_ends_too),
		cmocka_unit_test(test_a_handler_of_the_program_runs),
#ifdef PA_DEBUG
		cmocka_unit_test(test_assertion),
#endif
	};

	return cmocka_run_group_tests_name("message", tests, NULL, NULL);
}
