/* SPDX-License-Identifier: MIT */
/*
 * report.c: formats a snapshot through a small buffer on the stack.  Owns no state.  Called at exit,
 * by malloc_info and by malloc_stats.
 */
#include "report.h"

#include <string.h>

#include "message.h"

struct field {
	const char *name;
	const char *help;
	size_t offset;
};

static const struct field stats_fields[] = {
#define PYARENA_STAT(name, help) { #name, help, offsetof(struct pyarena_stats, name) },
#include "pyarena-stats.def"
#undef PYARENA_STAT
};

#define FIELD(record, field) \
	{ \
		.name = #field, .help = "", .offset = offsetof(struct record, field) \
	}

static const struct field class_fields[] = {
	FIELD(pyarena_class_stats, block_bytes),
	FIELD(pyarena_class_stats, live_blocks),
	FIELD(pyarena_class_stats, pools),
	FIELD(pyarena_class_stats, pool_bytes),
};

static const struct field heap_fields[] = {
	FIELD(pyarena_heap_stats, id),           FIELD(pyarena_heap_stats, is_interpreter),
	FIELD(pyarena_heap_stats, is_abandoned), FIELD(pyarena_heap_stats, arenas),
	FIELD(pyarena_heap_stats, live_bytes),   FIELD(pyarena_heap_stats, dirty_bytes),
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

_Static_assert(sizeof(struct pyarena_stats) == (COUNT(stats_fields) + 1) * sizeof(uint64_t),
	       "the fields are the whole structure but its size");
_Static_assert(sizeof(struct pyarena_class_stats) == COUNT(class_fields) * sizeof(uint64_t),
	       "each class field is reported");
_Static_assert(sizeof(struct pyarena_heap_stats) == COUNT(heap_fields) * sizeof(uint64_t),
	       "each heap field is reported");

/* Gathers small pieces into larger ones for the sink. */
struct writer {
	const struct pa_report_sink *sink;
	size_t length;
	char bytes[1024];
};

static uint64_t field_value(const void *record, const struct field *field)
{
	uint64_t n;

	memcpy(&n, (const char *)record + field->offset, sizeof n);
	return n;
}

static bool is_bytes(const struct field *field)
{
	static const char ending[] = "_bytes";
	size_t length = strlen(field->name), end = sizeof ending - 1;

	return length > end && strcmp(field->name + length - end, ending) == 0;
}

static void flush(struct writer *to)
{
	if (to->length > 0)
		to->sink->write(to->sink->context, to->bytes, to->length);
	to->length = 0;
}

static void put_span(struct writer *to, const char *start, size_t bytes)
{
	while (bytes > 0) {
		if (to->length == sizeof to->bytes)
			flush(to);
		size_t n = pa_min(bytes, sizeof to->bytes - to->length);
		memcpy(to->bytes + to->length, start, n);
		to->length += n;
		start += n;
		bytes -= n;
	}
}

static void put(struct writer *to, const char *string)
{
	put_span(to, string, strlen(string));
}

static void put_unsigned(struct writer *to, uint64_t n)
{
	struct pa_text digits;

	pa_text_clear(&digits);
	pa_text_unsigned(&digits, n);
	put_span(to, digits.bytes, digits.length);
}

/* ---- Text ------------------------------------------------------------------------------------- */

#define NAME_COLUMNS 17
#define SIZE_COLUMNS 11
#define NUMBER_COLUMNS 16

static void put_spaces(struct writer *to, size_t count)
{
	for (; count > 0; count--)
		put(to, " ");
}

static void put_left(struct writer *to, const char *string, size_t width)
{
	size_t length = strlen(string);

	put(to, string);
	put_spaces(to, width > length ? width - length : 0);
}

static void put_right(struct writer *to, const char *string, size_t width)
{
	size_t length = strlen(string);

	put_spaces(to, width > length ? width - length : 0);
	put(to, string);
}

static void put_number(struct writer *to, uint64_t n, size_t width)
{
	struct pa_text cell;

	pa_text_clear(&cell);
	pa_text_unsigned(&cell, n);
	put_right(to, cell.bytes, width);
}

static void put_size(struct writer *to, uint64_t bytes, size_t width)
{
	struct pa_text cell;

	pa_text_clear(&cell);
	pa_text_size(&cell, bytes);
	put_right(to, cell.bytes, width);
}

static void put_stats_table(struct writer *to, const struct pyarena_stats *stats)
{
	for (size_t i = 0; i < COUNT(stats_fields); i++) {
		const struct field *field = &stats_fields[i];
		uint64_t n = field_value(stats, field);
		put(to, "  ");
		put_left(to, field->name, NAME_COLUMNS);
		if (is_bytes(field))
			put_size(to, n, SIZE_COLUMNS);
		else
			put_spaces(to, SIZE_COLUMNS);
		put_number(to, n, NUMBER_COLUMNS);
		put(to, "  ");
		put(to, field->help);
		put(to, "\n");
	}
}

static void put_class_table(struct writer *to, const struct pa_report *report)
{
	put(to, "\n         block size     live blocks           pools       pools hold    in use\n");
	for (size_t i = 0; i < report->class_count; i++) {
		const struct pyarena_class_stats *class = &report->classes[i];
		if (class->pools == 0)
			continue;
		put_number(to, class->block_bytes, 2 + NAME_COLUMNS);
		put_number(to, class->live_blocks, NUMBER_COLUMNS);
		put_number(to, class->pools, NUMBER_COLUMNS);
		put_size(to, class->pool_bytes, NUMBER_COLUMNS + 1);
		/* Per cent; the product fits: it is bytes of memory that exists. */
		uint64_t live_bytes = class->live_blocks * class->block_bytes;
		put_number(to, class->pool_bytes ? live_bytes * 100 / class->pool_bytes : 0, 9);
		put(to, "%\n");
	}
}

static const char *heap_serves(const struct pyarena_heap_stats *heap)
{
	if (heap->is_abandoned)
		return "no thread";
	return heap->is_interpreter ? "CPython" : "malloc";
}

static void put_heap_table(struct writer *to, const struct pa_report *report)
{
	put(to, "\n  heap  serves            arenas        live       dirty\n");
	for (size_t i = 0; i < report->heap_count; i++) {
		const struct pyarena_heap_stats *heap = &report->heaps[i];
		put_number(to, heap->id, 6);
		put(to, "  ");
		put_left(to, heap_serves(heap), 9);
		put_number(to, heap->arenas, 15);
		put_size(to, heap->live_bytes, 12);
		put_size(to, heap->dirty_bytes, 12);
		put(to, "\n");
	}
}

static void put_option_table(struct writer *to, const struct pa_options *options)
{
	put(to, "\n  options\n");
	for (unsigned i = 0; i < PA_OPTION_COUNT; i++) {
		struct pa_text value;
		pa_text_clear(&value);
		pa_option_describe(i, options, &value);
		put(to, "    ");
		put(to, pa_option_name(i));
		put(to, "=");
		put(to, value.bytes);
		put(to, "\n");
	}
}

void pa_report_text(const struct pa_report *report, const struct pa_report_sink *sink)
{
	struct writer to = { .sink = sink };

	put(&to, "pyarena: ");
	put(&to, report->version);
	put(&to, " statistics (pid ");
	put_unsigned(&to, (uint64_t)report->process_id);
	put(&to, ")\n");
	put_stats_table(&to, report->stats);
	put_class_table(&to, report);
	put_heap_table(&to, report);
	put_option_table(&to, report->options);
	flush(&to);
}

/* ---- JSON ------------------------------------------------------------------------------------- */

/* Bytes of the UTF-8 character at p, none of it beyond the final NUL; 0 if it is not well-formed. */
static size_t utf8_length(const unsigned char *p)
{
	unsigned least = 0x80, most = 0xbf; /* bounds of the second byte */
	size_t length;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		length = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		length = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		length = 4;
	else
		return 0;
	if (p[0] == 0xe0)
		least = 0xa0;
	else if (p[0] == 0xed) /* surrogates */
		most = 0x9f;
	else if (p[0] == 0xf0)
		least = 0x90;
	else if (p[0] == 0xf4) /* beyond U+10FFFF */
		most = 0x8f;
	if (p[1] < least || p[1] > most)
		return 0;
	for (size_t i = 2; i < length; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	return length;
}

static void put_json_string(struct writer *to, const char *string)
{
	const unsigned char *p = (const unsigned char *)string;

	put(to, "\"");
	while (*p) {
		size_t length = utf8_length(p);
		if (length == 0) {
			put(to, "\\ufffd");
			length = 1;
		} else if (*p == '"' || *p == '\\') {
			put(to, "\\");
			put_span(to, (const char *)p, 1);
		} else if (*p < ' ') {
			char escape[] = "\\u00xx";
			escape[4] = "0123456789abcdef"[*p >> 4];
			escape[5] = "0123456789abcdef"[*p & 15];
			put(to, escape);
		} else {
			put_span(to, (const char *)p, length);
		}
		p += length;
	}
	put(to, "\"");
}

static void put_json_record(struct writer *to, const void *record, const struct field *fields,
			    size_t count, const char *between)
{
	put(to, "{");
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			put(to, between);
		put_json_string(to, fields[i].name);
		put(to, ": ");
		put_unsigned(to, field_value(record, &fields[i]));
	}
	put(to, "}");
}

/* A list of records, one a line. */
static void put_json_list(struct writer *to, const char *name, const void *records, size_t count,
			  const struct field *fields, size_t field_count)
{
	size_t record_bytes = field_count * sizeof(uint64_t);

	put(to, ",\n ");
	put_json_string(to, name);
	put(to, ": [");
	for (size_t i = 0; i < count; i++) {
		put(to, i > 0 ? ",\n  " : "\n  ");
		put_json_record(to, (const char *)records + i * record_bytes, fields, field_count,
				", ");
	}
	put(to, "]");
}

void pa_report_json(const struct pa_report *report, const struct pa_report_sink *sink)
{
	struct writer to = { .sink = sink };

	put(&to, "{\"pyarena\": ");
	put_json_string(&to, report->version);
	put(&to, ", \"pid\": ");
	put_unsigned(&to, (uint64_t)report->process_id);
	put(&to, ",\n \"stats\": ");
	put_json_record(&to, report->stats, stats_fields, COUNT(stats_fields), ",\n  ");
	put_json_list(&to, "classes", report->classes, report->class_count, class_fields,
		      COUNT(class_fields));
	put_json_list(&to, "heaps", report->heaps, report->heap_count, heap_fields, COUNT(heap_fields));
	put(&to, ",\n \"options\": {");
	for (unsigned i = 0; i < PA_OPTION_COUNT; i++) {
		struct pa_text value;
		pa_text_clear(&value);
		pa_option_describe(i, report->options, &value);
		put(&to, i > 0 ? ", " : "");
		put_json_string(&to, pa_option_name(i));
		put(&to, ": ");
		put_json_string(&to, value.bytes);
	}
	put(&to, "}}\n");
	flush(&to);
}

/* ---- XML -------------------------------------------------------------------------------------- */

/* An attribute with its leading space. */
static void put_attribute(struct writer *to, const char *name, uint64_t n)
{
	put(to, " ");
	put(to, name);
	put(to, "=\"");
	put_unsigned(to, n);
	put(to, "\"");
}

static void put_xml_total(struct writer *to, const char *type, uint64_t count, uint64_t bytes)
{
	put(to, "<total type=\"");
	put(to, type);
	put(to, "\"");
	put_attribute(to, "count", count);
	put_attribute(to, "size", bytes);
	put(to, "/>\n");
}

static void put_xml_space(struct writer *to, uint64_t bytes)
{
	put(to, "<system type=\"current\"");
	put_attribute(to, "size", bytes);
	put(to, "/>\n<aspace type=\"total\"");
	put_attribute(to, "size", bytes);
	put(to, "/>\n");
}

static void put_xml_record(struct writer *to, const char *element, const void *record,
			   const struct field *fields, size_t count)
{
	put(to, "<");
	put(to, element);
	for (size_t i = 0; i < count; i++)
		put_attribute(to, fields[i].name, field_value(record, &fields[i]));
	put(to, "/>\n");
}

void pa_report_xml(const struct pa_report *report, const struct pa_report_sink *sink)
{
	const struct pyarena_stats *stats = report->stats;
	struct writer to = { .sink = sink };

	put(&to, "<malloc version=\"1\">\n");
	for (size_t i = 0; i < report->heap_count; i++) {
		const struct pyarena_heap_stats *heap = &report->heaps[i];
		put(&to, "<heap");
		put_attribute(&to, "nr", heap->id);
		put(&to, ">\n<sizes>\n</sizes>\n");
		put_xml_total(&to, "fast", 0, 0);
		put_xml_total(&to, "rest", heap->dirty_bytes / PA_UNIT_BYTES, heap->dirty_bytes);
		put_xml_space(&to, heap->arenas * PA_ARENA_BYTES);
		put_xml_record(&to, "pyarena", heap, heap_fields, COUNT(heap_fields));
		put(&to, "</heap>\n");
	}
	put_xml_total(&to, "fast", 0, 0);
	put_xml_total(&to, "rest", stats->dirty_bytes / PA_UNIT_BYTES, stats->dirty_bytes);
	put_xml_total(&to, "mmap", stats->large_blocks, stats->large_bytes);
	put_xml_space(&to, stats->mapped_bytes - pa_min(stats->mapped_bytes, stats->large_bytes));
	put(&to, "<pyarena version=\"");
	put(&to, report->version);
	put(&to, "\">\n");
	put_xml_record(&to, "stats", stats, stats_fields, COUNT(stats_fields));
	for (size_t i = 0; i < report->class_count; i++)
		put_xml_record(&to, "class", &report->classes[i], class_fields, COUNT(class_fields));
	put(&to, "</pyarena>\n</malloc>\n");
	flush(&to);
}
