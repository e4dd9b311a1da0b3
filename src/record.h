/* SPDX-License-Identifier: MIT */
/*
 * record.h: what another process needs in order to read this one's statistics: where the counters and
 * the arenas are, and how their records are laid out.  Nothing is counted or copied for it, so a
 * process that nobody looks at pays nothing, and one that is looked at does not notice: pyarena(1)
 * reads through /proc/PID/mem, stops no thread and takes no lock.  One field is there to be written:
 * reserve.trim_request, see request.h.
 *
 * The record is the exported symbol pyarena_record.  A reader finds the library in /proc/PID/maps and the
 * symbol in the file's symbol table.  It checks magic and version, follows places to structures, and
 * takes offsets and widths of their fields from the layout; so it need not be built from the same
 * source.  What it reads is in motion: a sum may be off by what happened meanwhile, and a structure that
 * has just gone cannot be read any more.
 *
 *   R1  The version changes when a name changes its meaning or a documented form changes.  Names that a
 *       reader does not know are no reason: they are passed by.
 *   R2  Before is_published is set all places are valid, and they stay so.
 */
#ifndef PA_RECORD_H
#define PA_RECORD_H

#include "base.h"

#define PA_RECORD_MAGIC "pyarena"
#define PA_RECORD_VERSION 2u

/*
 * Free blocks: pool.list and pool.remote are the addresses of the first ones, and a free block begins with
 * the address of the next.  A block that touches an absent unit is free and in no list; all others live.
 * The bit of a unit in pool.absent is its address without the unit_shift lowest bits, modulo 16.
 */

/* How the values of a field make one number. */
enum pa_record_kind {
	PA_FIELD_UNSIGNED, /* several are added up */
	PA_FIELD_SIGNED,   /* several are added up */
	PA_FIELD_BITMAP,   /* several follow each other, the lowest bits first */
};

/* A field of a structure: "pool.slack" is one value of two bytes, signed. */
struct pa_record_field {
	char name[22];
	uint8_t kind;    /* enum pa_record_kind */
	uint8_t width;   /* bytes of one value: 1, 2, 4 or 8 */
	uint32_t offset; /* from the structure's beginning */
	uint32_t count;  /* values in a row; 0: only the place is told */
};

/* What record.c gives the address of, in this order. */
enum pa_record_place {
	PA_PLACE_RESERVE, /* struct pa_reserve */
	PA_PLACE_CLASSES, /* struct pa_class, one for each size class, the run's behind them */
	PA_PLACE_MANAGER, /* struct pa_manager_counts */
	PA_PLACE_ARENAS, /* pointer to: capacity, count, then count pointers to arenas (8 bytes each) */
	PA_PLACE_HEAPS,  /* pointer to the first heap */
	PA_PLACE_ADOPTIONS,    /* 8 bytes */
	PA_PLACE_LARGE_COUNT,  /* 8 bytes: large objects */
	PA_PLACE_LARGE_BYTES,  /* 8 bytes: in them */
	PA_PLACE_LARGE_CACHED, /* 8 bytes: in freed mappings that are kept */
	PA_PLACE_LARGE_TABLE, /* pointer to: capacity, then so many pairs of address (0: none) and bytes */
	PA_PLACE_COUNT,
};

struct pa_record {
	char magic[8];
	uint32_t version;
	uint32_t bytes; /* of this structure */
	char library[16];
	_Atomic(uint32_t)
		is_published; /* R2; never set in a process in which the library stands aside */
	uint32_t field_count;
	uint32_t place_count;
	uint32_t unit_shift; /* the geometry of base.h and arena.h */
	uint32_t slot_shift;
	uint32_t arena_shift;
	uint32_t first_slot; /* of an arena that can hold a pool */
	uint32_t last_slot;
	uint32_t class_count; /* the pseudo class of runs has this index */
	uint32_t class_bytes; /* of one structure in PA_PLACE_CLASSES */
	uint32_t pool_bytes;  /* of one record in an arena's header */
	uint32_t unused;
	const struct pa_record_field *fields;
	const void *places[PA_PLACE_COUNT];
};

extern struct pa_record pyarena_record;

/* Fill in the places; once, when the library has started to serve. */
void pa_record_publish(void);

#endif
