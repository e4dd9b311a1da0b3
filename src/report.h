/* SPDX-License-Identifier: MIT */
/*
 * report.h: one snapshot of the statistics as text for people, as JSON and as malloc_info's XML.
 * Pure formatting: it allocates nothing, uses less than 4 KiB of stack and keeps errno if the sink
 * does.  The fields are those of pyarena-stats.def, under the same names in all three.
 */
#ifndef PA_REPORT_H
#define PA_REPORT_H

#include "base.h"
#include "option.h"
#include "pyarena.h"

struct pa_report {
	const char *version;
	int process_id;
	const struct pyarena_stats *stats;
	const struct pyarena_class_stats *classes; /* ascending; unused ones may be left out */
	size_t class_count;
	const struct pyarena_heap_stats *heaps;
	size_t heap_count;
	const struct pa_options *options;
};

/* Takes the report piece by piece, in order; a piece is at most 1 KiB and is no string. */
struct pa_report_sink {
	void (*write)(void *context, const char *text, size_t bytes);
	void *context;
};

/* A table of all fields, of the size classes that hold pools, of the heaps and of the options. */
void pa_report_text(const struct pa_report *report, const struct pa_report_sink *sink);

/* One object: pyarena (the version), pid, stats, classes, heaps, options; valid UTF-8 always. */
void pa_report_json(const struct pa_report *report, const struct pa_report_sink *sink);

/*
 * The elements of the C library's malloc_info(3), version 1, as far as their meaning carries over:
 * "rest" is dirty memory counted in 4 KiB units, "mmap" the large objects, "system" what the arenas
 * map.  Then an element pyarena with every field and size class.
 */
void pa_report_xml(const struct pa_report *report, const struct pa_report_sink *sink);

#endif
