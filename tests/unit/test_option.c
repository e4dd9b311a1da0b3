/* SPDX-License-Identifier: MIT */
/* test_option.c: every kind of value, the exact warnings, and the way back from value to text. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "capture.h"
#include "option.h"

#define NAME_LONGEST 64

/* What parsing these settings, at most three, writes to standard error. */
static const char *told(const char *first, const char *second, const char *third)
{
	static struct capture capture;
	char *const environment[] = { (char *)first, (char *)second, (char *)third, NULL };

	capture_begin(&capture);
	pa_option_parse(environment, false);
	return capture_end(&capture);
}

static const char *in_effect(unsigned index)
{
	static struct pa_text value;

	pa_text_clear(&value);
	pa_option_describe(index, pa_options(), &value);
	return value.bytes;
}

#define assert_keep(keep_mode, keep_value) \
	do { \
		assert_int_equal(pa_options()->keep_free.mode, (keep_mode)); \
		assert_int_equal(pa_options()->keep_free.value, (keep_value)); \
	} while (0)

/* Must run first: nothing is parsed yet. */
static void test_before_the_parse_all_is_default(void **state)
{
	const struct pa_options before = *pa_options();
	(void)state;

	pa_option_parse(NULL, false);
	assert_memory_equal(&before, pa_options(), sizeof before);
	assert_keep(PA_KEEP_AUTO, 0);
	assert_int_equal(pa_options()->python, PA_PYTHON_AUTO);
	assert_false(pa_options()->disable);
	assert_int_equal(pa_options()->scope, PA_SCOPE_ALL);
	assert_int_equal(pa_options()->stats.format, PA_STATS_NONE);
	assert_string_equal(pa_options()->stats.file, "");
	assert_false(pa_options()->verbose);
}

static void test_defaults_are_described_as_in_the_table(void **state)
{
	static const char *const defaults[][2] = {
#define PA_OPTION(field, name, kind, by_default, values, help) { "PYARENA_" name, by_default },
#include "option.def"
#undef PA_OPTION
	};
	(void)state;

	pa_option_parse(NULL, false);
	for (unsigned i = 0; i < PA_OPTION_COUNT; i++) {
		assert_string_equal(pa_option_name(i), defaults[i][0]);
		assert_string_equal(in_effect(i), defaults[i][1]);
	}
}

static void test_keep(void **state)
{
	static const struct {
		const char *setting;
		enum pa_keep_mode mode;
		size_t value;
	} cases[] = {
		{ "PYARENA_KEEP_FREE=auto", PA_KEEP_AUTO, 0 },
		{ "PYARENA_KEEP_FREE=0", PA_KEEP_BYTES, 0 },
		{ "PYARENA_KEEP_FREE=4097", PA_KEEP_BYTES, 4097 },
		{ "PYARENA_KEEP_FREE=512K", PA_KEEP_BYTES, 524288 },
		{ "PYARENA_KEEP_FREE=512k", PA_KEEP_BYTES, 524288 },
		{ "PYARENA_KEEP_FREE=64M", PA_KEEP_BYTES, 67108864 },
		{ "PYARENA_KEEP_FREE=3g", PA_KEEP_BYTES, 3221225472 },
		{ "PYARENA_KEEP_FREE=18446744073709551615", PA_KEEP_BYTES, SIZE_MAX },
		{ "PYARENA_KEEP_FREE=17179869183G", PA_KEEP_BYTES, SIZE_MAX - 0x3fffffff },
		{ "PYARENA_KEEP_FREE=0%", PA_KEEP_PERCENT, 0 },
		{ "PYARENA_KEEP_FREE=25%", PA_KEEP_PERCENT, 25 },
		{ "PYARENA_KEEP_FREE=1000%", PA_KEEP_PERCENT, 1000 },
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_string_equal(told(cases[i].setting, NULL, NULL), "");
		assert_keep(cases[i].mode, cases[i].value);
	}
}

static void test_wrong_keep(void **state)
{
	/* clang-format off */
	static const char *const values[] = {
		"banana", "AUTO", "auto ", "-1", "+1", " 1", "1 ", "K", "%", "1KB", "1T", "1.5G", "0x10", "1001%",
		"99999999999999999999%", "10%%", "10K%", "18446744073709551616", "17179869184G",
		"18014398509481984K",
	};
	/* clang-format on */
	(void)state;

	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
		char setting[128], warning[256];
		told("PYARENA_KEEP_FREE=7", NULL, NULL);
		snprintf(setting, sizeof setting, "PYARENA_KEEP_FREE=%s", values[i]);
		snprintf(warning, sizeof warning,
			 "pyarena: warning: PYARENA_KEEP_FREE=%s is not auto|SIZE|N%%; using auto\n",
			 values[i]);
		assert_string_equal(told(setting, NULL, NULL), warning);
		assert_keep(PA_KEEP_AUTO, 0);
	}
}

static void test_bool(void **state)
{
	static const char *const words[2][4] = { { "0", "no", "off", "false" },
						 { "1", "yes", "on", "true" } };
	(void)state;

	for (int truth = 0; truth <= 1; truth++) {
		for (int i = 0; i < 4; i++) {
			char setting[NAME_LONGEST];
			told(truth ? "PYARENA_DISABLE=0" : "PYARENA_DISABLE=1", NULL, NULL);
			snprintf(setting, sizeof setting, "PYARENA_DISABLE=%s", words[truth][i]);
			assert_string_equal(told(setting, NULL, NULL), "");
			assert_int_equal(pa_options()->disable, truth);
			assert_false(pa_options()->verbose);
		}
	}
	assert_string_equal(told("PYARENA_VERBOSE=2", NULL, NULL),
			    "pyarena: warning: PYARENA_VERBOSE=2 is not 0|1; using 0\n");
	assert_false(pa_options()->verbose);
}

static void test_choice(void **state)
{
	(void)state;

	assert_string_equal(told("PYARENA_PYTHON=off", "PYARENA_SCOPE=python", NULL), "");
	assert_int_equal(pa_options()->python, PA_PYTHON_OFF);
	assert_int_equal(pa_options()->scope, PA_SCOPE_PYTHON);
	assert_string_equal(told("PYARENA_PYTHON=auto", "PYARENA_SCOPE=all", NULL), "");
	assert_int_equal(pa_options()->python, PA_PYTHON_AUTO);
	assert_int_equal(pa_options()->scope, PA_SCOPE_ALL);
	assert_string_equal(
		told("PYARENA_PYTHON=of", "PYARENA_SCOPE=all|python", NULL),
		"pyarena: warning: PYARENA_PYTHON=of is not auto|off; using auto\n"
		"pyarena: warning: PYARENA_SCOPE=all|python is not all|python; using all\n");
	assert_int_equal(pa_options()->python, PA_PYTHON_AUTO);
	assert_int_equal(pa_options()->scope, PA_SCOPE_ALL);
}

static void test_stats(void **state)
{
	const struct pa_stats_option *stats = &pa_options()->stats;
	(void)state;

	assert_string_equal(told("PYARENA_STATS=1", NULL, NULL), "");
	assert_int_equal(stats->format, PA_STATS_TEXT);
	assert_string_equal(stats->file, "");
	assert_string_equal(told("PYARENA_STATS=json", NULL, NULL), "");
	assert_int_equal(stats->format, PA_STATS_JSON);
	assert_string_equal(stats->file, "");
	assert_string_equal(told("PYARENA_STATS=:/tmp/a b%p", NULL, NULL), "");
	assert_int_equal(stats->format, PA_STATS_JSON);
	assert_string_equal(stats->file, "/tmp/a b%p");
	assert_string_equal(told("PYARENA_STATS=map:/tmp/a%p", NULL, NULL), "");
	assert_int_equal(stats->format, PA_STATS_MAP);
	assert_string_equal(stats->file, "/tmp/a%p");
	assert_string_equal(
		told("PYARENA_STATS=map:", NULL, NULL),
		"pyarena: warning: PYARENA_STATS=map: is not 0|1|json|:FILE|map:FILE; using 0\n");
	assert_string_equal(told("PYARENA_STATS=0", NULL, NULL), "");
	assert_int_equal(stats->format, PA_STATS_NONE);
	assert_string_equal(stats->file, "");
	assert_string_equal(
		told("PYARENA_STATS=:", NULL, NULL),
		"pyarena: warning: PYARENA_STATS=: is not 0|1|json|:FILE|map:FILE; using 0\n");
	assert_int_equal(stats->format, PA_STATS_NONE);
}

static void test_the_longest_file_name(void **state)
{
	char setting[512] = "PYARENA_STATS=:";
	size_t head = strlen(setting);
	(void)state;

	memset(setting + head, 'f', PA_STATS_FILE_MAX);
	assert_string_equal(told(setting, NULL, NULL), "");
	assert_int_equal(strlen(pa_options()->stats.file), PA_STATS_FILE_MAX);

	/* One more is wrong, and a value so long is shown by its beginning. */
	char warning[512];
	setting[head + PA_STATS_FILE_MAX] = 'f';
	snprintf(warning, sizeof warning,
		 "pyarena: warning: PYARENA_STATS=:%.79s... is not 0|1|json|:FILE|map:FILE; using 0\n",
		 setting + head);
	assert_string_equal(told(setting, NULL, NULL), warning);
	assert_int_equal(pa_options()->stats.format, PA_STATS_NONE);
	assert_string_equal(pa_options()->stats.file, "");
}

static void test_an_empty_value_is_the_default(void **state)
{
	(void)state;

	assert_string_equal(told("PYARENA_KEEP_FREE=", "PYARENA_STATS=", "PYARENA_DISABLE="), "");
	assert_keep(PA_KEEP_AUTO, 0);
	assert_int_equal(pa_options()->stats.format, PA_STATS_NONE);
	assert_false(pa_options()->disable);
}

static void test_the_first_of_two_settings_counts(void **state)
{
	(void)state;

	assert_string_equal(told("PYARENA_DISABLE=1", "PYARENA_DISABLE=0", "PYARENA_DISABLE=banana"),
			    "");
	assert_true(pa_options()->disable);
	assert_string_equal(told("PYARENA_DISABLE=", "PYARENA_DISABLE=1", NULL), "");
	assert_false(pa_options()->disable);
}

static void test_secure_programs_ignore_all(void **state)
{
	char *const environment[] = { "PYARENA_DISABLE=1", "PYARENA_KEEP_FREE=banana",
				      "PYARENA_KEPFREE=1", "PYARENA_STATS=:/etc/passwd", NULL };
	struct capture capture;
	(void)state;

	told("PYARENA_DISABLE=1", "PYARENA_STATS=:file", NULL);
	capture_begin(&capture);
	pa_option_parse(environment, true);
	assert_string_equal(capture_end(&capture), "");
	assert_false(pa_options()->disable);
	assert_keep(PA_KEEP_AUTO, 0);
	assert_int_equal(pa_options()->stats.format, PA_STATS_NONE);
	assert_string_equal(pa_options()->stats.file, "");
}

static void test_unknown_names(void **state)
{
	static const struct {
		const char *setting;
		const char *warning;
	} cases[] = {
		{ "PYARENA_KEPFREE=1",
		  "PYARENA_KEPFREE is not an option; did you mean PYARENA_KEEP_FREE?" },
		{ "PYARENA_KEEPFREE=",
		  "PYARENA_KEEPFREE is not an option; did you mean PYARENA_KEEP_FREE?" },
		{ "PYARENA_stats=1", "PYARENA_stats is not an option; did you mean PYARENA_STATS?" },
		{ "PYARENA_STAT=1", "PYARENA_STAT is not an option; did you mean PYARENA_STATS?" },
		{ "PYARENA_SOCPE=all", "PYARENA_SOCPE is not an option; did you mean PYARENA_SCOPE?" },
		{ "PYARENA_VERBOSITY=1",
		  "PYARENA_VERBOSITY is not an option; did you mean PYARENA_VERBOSE?" },
		{ "PYARENA_DISABLED=1",
		  "PYARENA_DISABLED is not an option; did you mean PYARENA_DISABLE?" },
		{ "PYARENA_STAXYZ=1", "PYARENA_STAXYZ is not an option" },
		{ "PYARENA_XYZZY=1", "PYARENA_XYZZY is not an option" },
		{ "PYARENA_=1", "PYARENA_ is not an option" },
		{ "PYARENA_PURGE_DELAY=0", "PYARENA_PURGE_DELAY is not an option" },
		{ "PYARENA_NAME_OF_MORE_THAN_THIRTY_TWO_CHARACTERS=0",
		  "PYARENA_NAME_OF_MORE_THAN_THIRTY_TWO_CHARACTERS is not an option" },
		{ "PYARENA_A\nB\033=0", "PYARENA_A?B? is not an option" },
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char warning[256];
		snprintf(warning, sizeof warning, "pyarena: warning: %s\n", cases[i].warning);
		assert_string_equal(told(cases[i].setting, NULL, NULL), warning);
	}
}

static void test_other_names_are_not_ours(void **state)
{
	(void)state;

	assert_string_equal(told("PYARENA=1", "pyarena_stats=1", "PYARENAS_STATS=1"), "");
	assert_string_equal(told("MY_PYARENA_X=1", "PYARENA_NO_EQUALS_SIGN", "=PYARENA_X=1"), "");
}

static void test_a_control_character_does_not_break_the_line(void **state)
{
	(void)state;

	assert_string_equal(told("PYARENA_SCOPE=a\nb", NULL, NULL),
			    "pyarena: warning: PYARENA_SCOPE=a?b is not all|python; using all\n");
}

static void test_what_is_described_parses_to_the_same(void **state)
{
	static const struct {
		const char *setting;
		unsigned index;
		const char *described;
	} cases[] = {
		{ "PYARENA_KEEP_FREE=0", PA_OPTION_INDEX_keep_free, "0" },
		{ "PYARENA_KEEP_FREE=1025", PA_OPTION_INDEX_keep_free, "1025" },
		{ "PYARENA_KEEP_FREE=1536K", PA_OPTION_INDEX_keep_free, "1536K" },
		{ "PYARENA_KEEP_FREE=67108864", PA_OPTION_INDEX_keep_free, "64M" },
		{ "PYARENA_KEEP_FREE=4096G", PA_OPTION_INDEX_keep_free, "4096G" },
		{ "PYARENA_KEEP_FREE=25%", PA_OPTION_INDEX_keep_free, "25%" },
		{ "PYARENA_PYTHON=off", PA_OPTION_INDEX_python, "off" },
		{ "PYARENA_SCOPE=python", PA_OPTION_INDEX_scope, "python" },
		{ "PYARENA_DISABLE=true", PA_OPTION_INDEX_disable, "1" },
		{ "PYARENA_STATS=yes", PA_OPTION_INDEX_stats, "1" },
		{ "PYARENA_STATS=json", PA_OPTION_INDEX_stats, "json" },
		{ "PYARENA_STATS=:x%p", PA_OPTION_INDEX_stats, ":x%p" },
		{ "PYARENA_STATS=map:x%p", PA_OPTION_INDEX_stats, "map:x%p" },
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		told(cases[i].setting, NULL, NULL);
		assert_string_equal(in_effect(cases[i].index), cases[i].described);
	}
}

static void test_report_path(void **state)
{
	struct pa_stats_option stats = { .format = PA_STATS_JSON };
	char path[64], expected[64];
	(void)state;

	strcpy(stats.file, "/tmp/%p-%x-%p%");
	snprintf(expected, sizeof expected, "/tmp/%d-%%x-%d%%", (int)getpid(), (int)getpid());
	size_t needed = strlen(expected) + 1;
	assert_int_equal(pa_option_stats_path(&stats, path, sizeof path), 0);
	assert_string_equal(path, expected);
	memset(path, '#', sizeof path);
	assert_int_equal(pa_option_stats_path(&stats, path, needed), 0);
	assert_string_equal(path, expected);
	memset(path, '#', sizeof path);
	assert_int_equal(pa_option_stats_path(&stats, path, needed - 1), ENAMETOOLONG);
	assert_int_equal(path[needed - 1], '#');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_before_the_parse_all_is_default),
		cmocka_unit_test(test_defaults_are_described_as_in_the_table),
		cmocka_unit_test(test_keep),
		cmocka_unit_test(test_wrong_keep),
		cmocka_unit_test(test_bool),
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_stats),
		cmocka_unit_test(test_the_longest_file_name),
		cmocka_unit_test(test_an_empty_value_is_the_default),
		cmocka_unit_test(test_the_first_of_two_settings_counts),
		cmocka_unit_test(test_secure_programs_ignore_all),
		cmocka_unit_test(test_unknown_names),
		cmocka_unit_test(test_other_names_are_not_ours),
		cmocka_unit_test(test_a_control_character_does_not_break_the_line),
		cmocka_unit_test(test_what_is_described_parses_to_the_same),
		cmocka_unit_test(test_report_path),
	};

	return cmocka_run_group_tests_name("option", tests, NULL, NULL);
}
