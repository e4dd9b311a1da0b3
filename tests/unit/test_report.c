/* SPDX-License-Identifier: MIT */
/* test_report.c: the three reports of one made-up snapshot, to the letter where machines read them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "report.h"

static struct pyarena_stats stats;
static struct pa_options options;

static const struct pyarena_class_stats classes[] = {
	{ 16, 1000, 1, 16384 },
	{ 32, 0, 0, 0 },
	{ 512, 24, 2, 32768 },
};

static const struct pyarena_heap_stats heaps[] = {
	{ 1, 0, 0, 2, 10240, 4096 },
	{ 2, 1, 0, 3, 3145728, 0 },
	{ 17, 0, 1, 1, 100, 8192 },
};

static const struct pa_report full = { "0.1.0", 4321, &stats, classes, 3, heaps, 3, &options };
static const struct pa_report empty = { "0.1.0", 1, &stats, NULL, 0, NULL, 0, &options };

/* Field number i, counted from 1, is i times a thousand and one: no two are alike. */
static int fill_stats(void **state)
{
	uint64_t i = 1;
	(void)state;

	memset(&stats, 0, sizeof stats);
	stats.size = sizeof stats;
#define PYARENA_STAT(name, help) stats.name = 1001 * i++;
#include "pyarena-stats.def"
#undef PYARENA_STAT
	memset(&options, 0, sizeof options);
	return 0;
}

struct paper {
	size_t length;
	size_t largest_piece;
	char text[65536];
};

static struct paper paper;

static void take(void *context, const char *text, size_t bytes)
{
	struct paper *to = context;

	assert_true(bytes < sizeof to->text - to->length);
	memcpy(to->text + to->length, text, bytes);
	to->length += bytes;
	to->text[to->length] = '\0';
	to->largest_piece = pa_max(to->largest_piece, bytes);
}

typedef void write_report(const struct pa_report *report, const struct pa_report_sink *sink);

static const char *written(write_report *write_one, const struct pa_report *report)
{
	const struct pa_report_sink sink = { take, &paper };

	memset(&paper, 0, sizeof paper);
	write_one(report, &sink);
	assert_int_equal(paper.length, strlen(paper.text));
	assert_in_range(paper.largest_piece, 1, 1024);
	return paper.text;
}

/* Expected text grows here. */
static char expected[65536];

__attribute__((format(printf, 1, 2))) static void expect(const char *format, ...)
{
	size_t length = strlen(expected);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(expected + length, sizeof expected - length, format, arguments);
	va_end(arguments);
}

static void test_json(void **state)
{
	const char *before = "";
	(void)state;

	expected[0] = '\0';
	expect("{\"pyarena\": \"0.1.0\", \"pid\": 4321,\n \"stats\": {");
#define PYARENA_STAT(name, help) \
	expect("%s\"%s\": %llu", before, #name, (unsigned long long)stats.name); \
	before = ",\n  ";
#include "pyarena-stats.def"
#undef PYARENA_STAT
	expect("},\n \"classes\": [\n"
	       "  {\"block_bytes\": 16, \"live_blocks\": 1000, \"pools\": 1, \"pool_bytes\": 16384},\n"
	       "  {\"block_bytes\": 32, \"live_blocks\": 0, \"pools\": 0, \"pool_bytes\": 0},\n"
	       "  {\"block_bytes\": 512, \"live_blocks\": 24, \"pools\": 2, \"pool_bytes\": 32768}],\n"
	       " \"heaps\": [\n"
	       "  {\"id\": 1, \"is_interpreter\": 0, \"is_abandoned\": 0, \"arenas\": 2,"
	       " \"live_bytes\": 10240, \"dirty_bytes\": 4096},\n"
	       "  {\"id\": 2, \"is_interpreter\": 1, \"is_abandoned\": 0, \"arenas\": 3,"
	       " \"live_bytes\": 3145728, \"dirty_bytes\": 0},\n"
	       "  {\"id\": 17, \"is_interpreter\": 0, \"is_abandoned\": 1, \"arenas\": 1,"
	       " \"live_bytes\": 100, \"dirty_bytes\": 8192}],\n"
	       " \"options\": {\"PYARENA_KEEP_FREE\": \"auto\", \"PYARENA_PYTHON\": \"auto\","
	       " \"PYARENA_DISABLE\": \"0\", \"PYARENA_SCOPE\": \"all\", \"PYARENA_IDLE\": \"auto\","
	       " \"PYARENA_THP\": \"auto\","
	       " \"PYARENA_TRIM_FORK\": \"0\", \"PYARENA_HARDEN\": \"0\","
	       " \"PYARENA_STATS\": \"0\", \"PYARENA_VERBOSE\": \"0\"}}\n");
	assert_string_equal(written(pa_report_json, &full), expected);
}

static void test_json_of_nothing(void **state)
{
	(void)state;

	assert_non_null(
		strstr(written(pa_report_json, &empty), ",\n \"classes\": [],\n \"heaps\": [],\n"));
}

/* A file name may hold any byte; the report is valid JSON all the same. */
static void test_json_strings(void **state)
{
	static const struct {
		const char *file;
		const char *string;
	} cases[] = {
		{ "a\"b\\c/d", "a\\\"b\\\\c/d" },
		{ "tab\tnew\nline\x1f\x7f", "tab\\u0009new\\u000aline\\u001f\x7f" },
		{ "\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x8d", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x8d" },
		{ "\xff\x80z", "\\ufffd\\ufffdz" },
		{ "\xc3", "\\ufffd" },
		{ "\xe2\x82", "\\ufffd\\ufffd" },
		{ "\xc0\xaf", "\\ufffd\\ufffd" },            /* overlong */
		{ "\xe0\x9f\xbf", "\\ufffd\\ufffd\\ufffd" }, /* overlong */
		{ "\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd" }, /* surrogate */
		{ "\xf0\x8f\xbf\xbf", "\\ufffd\\ufffd\\ufffd\\ufffd" },
		{ "\xf4\x90\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd" },
		{ "\xed\x9f\xbf\xf4\x8f\xbf\xbf", "\xed\x9f\xbf\xf4\x8f\xbf\xbf" },
	};
	(void)state;

	options.stats.format = PA_STATS_JSON;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char wanted[256];
		strcpy(options.stats.file, cases[i].file);
		snprintf(wanted, sizeof wanted, "\"PYARENA_STATS\": \":%s\",", cases[i].string);
		assert_non_null(strstr(written(pa_report_json, &full), wanted));
	}
}

static void test_xml(void **state)
{
	(void)state;

	stats.mapped_bytes = 5242880;
	stats.large_bytes = 1048576;
	stats.large_blocks = 3;
	stats.dirty_bytes = 12288;
	expected[0] = '\0';
	expect("<malloc version=\"1\">\n");
	for (size_t i = 0; i < 3; i++) {
		static const unsigned dirty[] = { 4096, 0, 8192 },
				      mapped[] = { 2097152, 3145728, 1048576 };
		const struct pyarena_heap_stats *heap = &heaps[i];
		expect("<heap nr=\"%llu\">\n<sizes>\n</sizes>\n", (unsigned long long)heap->id);
		expect("<total type=\"fast\" count=\"0\" size=\"0\"/>\n"
		       "<total type=\"rest\" count=\"%u\" size=\"%u\"/>\n"
		       "<system type=\"current\" size=\"%u\"/>\n"
		       "<aspace type=\"total\" size=\"%u\"/>\n",
		       dirty[i] / 4096, dirty[i], mapped[i], mapped[i]);
		expect("<pyarena id=\"%llu\" is_interpreter=\"%llu\" is_abandoned=\"%llu\" arenas=\"%llu\""
		       " live_bytes=\"%llu\" dirty_bytes=\"%llu\"/>\n</heap>\n",
		       (unsigned long long)heap->id, (unsigned long long)heap->is_interpreter,
		       (unsigned long long)heap->is_abandoned, (unsigned long long)heap->arenas,
		       (unsigned long long)heap->live_bytes, (unsigned long long)heap->dirty_bytes);
	}
	expect("<total type=\"fast\" count=\"0\" size=\"0\"/>\n"
	       "<total type=\"rest\" count=\"3\" size=\"12288\"/>\n"
	       "<total type=\"mmap\" count=\"3\" size=\"1048576\"/>\n"
	       "<system type=\"current\" size=\"4194304\"/>\n"
	       "<aspace type=\"total\" size=\"4194304\"/>\n"
	       "<pyarena version=\"0.1.0\">\n<stats");
#define PYARENA_STAT(name, help) expect(" %s=\"%llu\"", #name, (unsigned long long)stats.name);
#include "pyarena-stats.def"
#undef PYARENA_STAT
	expect("/>\n"
	       "<class block_bytes=\"16\" live_blocks=\"1000\" pools=\"1\" pool_bytes=\"16384\"/>\n"
	       "<class block_bytes=\"32\" live_blocks=\"0\" pools=\"0\" pool_bytes=\"0\"/>\n"
	       "<class block_bytes=\"512\" live_blocks=\"24\" pools=\"2\" pool_bytes=\"32768\"/>\n"
	       "</pyarena>\n</malloc>\n");
	assert_string_equal(written(pa_report_xml, &full), expected);
}

/* Gauges are read one after another: large objects may appear to exceed what is mapped. */
static void test_xml_never_wraps(void **state)
{
	(void)state;

	stats.mapped_bytes = 100;
	stats.large_bytes = 200;
	assert_non_null(
		strstr(written(pa_report_xml, &empty), "<system type=\"current\" size=\"0\"/>"));
}

/* The line that begins with these words, after spaces; it ends at its newline. */
static const char *line_of(const char *report, const char *start)
{
	static char line[512];

	for (const char *p = report; *p; p += strcspn(p, "\n") + 1) {
		if (strncmp(p + strspn(p, " "), start, strlen(start)) == 0) {
			snprintf(line, sizeof line, "%.*s", (int)strcspn(p, "\n"), p);
			return line;
		}
	}
	return "(no such line)";
}

static void test_text(void **state)
{
	(void)state;

	stats.mapped_bytes = 18350080;
	stats.sweeps = UINT64_MAX;
	const char *text = written(pa_report_text, &full);
	assert_string_equal(line_of(text, "pyarena:"), "pyarena: 0.1.0 statistics (pid 4321)");
	assert_string_equal(line_of(text, "mapped_bytes"),
			    "  mapped_bytes        17.5 MiB        18350080  "
			    "Address space in arenas and large mappings");
	assert_string_equal(line_of(text, "sweeps"),
			    "  sweeps                      18446744073709551615  Total arenas swept");
	assert_string_equal(
		line_of(text, "16 "),
		"                 16            1000               1         16.0 KiB       97%");
	assert_string_equal(
		line_of(text, "512 "),
		"                512              24               2         32.0 KiB       37%");
	assert_string_equal(line_of(text, "32 "), "(no such line)");
	assert_string_equal(line_of(text, "1  malloc"),
			    "     1  malloc                 2    10.0 KiB     4.0 KiB");
	assert_string_equal(line_of(text, "2  CPython"),
			    "     2  CPython                3     3.0 MiB         0 B");
	assert_string_equal(line_of(text, "17  no thread"),
			    "    17  no thread              1       100 B     8.0 KiB");
	assert_string_equal(line_of(text, "PYARENA_KEEP_FREE"), "    PYARENA_KEEP_FREE=auto");
}

static void test_text_tells_every_field_with_its_help(void **state)
{
	const char *text = written(pa_report_text, &full);
	(void)state;

#define PYARENA_STAT(name, help) \
	{ \
		char ending[256]; \
		snprintf(ending, sizeof ending, " %llu  %s", (unsigned long long)stats.name, help); \
		const char *line = line_of(text, #name " "); \
		assert_true(strlen(line) > strlen(ending)); \
		assert_string_equal(line + strlen(line) - strlen(ending), ending); \
	}
#include "pyarena-stats.def"
#undef PYARENA_STAT
}

static void test_options_in_effect_are_told(void **state)
{
	(void)state;

	options.keep_free = (struct pa_keep_option){ PA_KEEP_PERCENT, 25 };
	options.scope = PA_SCOPE_PYTHON;
	assert_string_equal(line_of(written(pa_report_text, &full), "PYARENA_KEEP_FREE"),
			    "    PYARENA_KEEP_FREE=25%");
	assert_string_equal(line_of(written(pa_report_text, &full), "PYARENA_SCOPE"),
			    "    PYARENA_SCOPE=python");
	assert_non_null(strstr(written(pa_report_json, &full), "\"PYARENA_KEEP_FREE\": \"25%\""));
}

#define point(test) cmocka_unit_test_setup(test, fill_stats)

int main(void)
{
	const struct CMUnitTest tests[] = {
		point(test_json),
		point(test_json_of_nothing),
		point(test_json_strings),
		point(test_xml),
		point(test_xml_never_wraps),
		point(test_text),
		point(test_text_tells_every_field_with_its_help),
		point(test_options_in_effect_are_told),
	};

	return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
