/* SPDX-License-Identifier: MIT */
/*
 * dump.h: the records of the heap as a file, for a reader that comes when the process has gone.  Called
 * by life.
 *
 * The file is a head and pieces of memory, each with its address before it: all that a reader of the
 * running process would read through the record (record.h), and no block.  The piece at address 0 is the
 * command line; the last one has no bytes, so a file that is cut short is known.
 */
#ifndef PA_DUMP_H
#define PA_DUMP_H

#include "report.h"

#define PA_DUMP_MAGIC "pyadump"
#define PA_DUMP_FORM 1u

struct pa_dump_head {
	char magic[8];
	uint64_t form;
	uint64_t process_id;
	uint64_t record; /* address of pyarena_record */
};

struct pa_dump_piece {
	uint64_t address;
	uint64_t bytes; /* that follow */
};

/* Owners are not stopped; no arena goes meanwhile.  The sink gets whole pieces, and must not allocate. */
void pa_dump_write(int process_id, const struct pa_report_sink *sink);

#endif
