/* SPDX-License-Identifier: MIT */
/*
 * pyarena.h: the public interface of libpyarena.so.
 *
 * Every function here may be called from any thread at any time, also in a forked child, and also
 * when the library stands aside (PYARENA_DISABLE=1): it then reports zeros and does nothing.
 * None is async-signal-safe.  Sizes are bytes unless a name says otherwise.  See pyarena(3).
 */
#ifndef PYARENA_H
#define PYARENA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A snapshot of the allocator.  The caller sets size to sizeof(struct pyarena_stats) before the
 * call, so that a program compiled against an older header keeps working with a newer library.
 * Fields are only ever appended.  The list of fields with one line of help each is pyarena-stats.def.
 */
struct pyarena_stats {
	uint64_t size;
#define PYARENA_STAT(name, help) uint64_t name;
#include "pyarena-stats.def"
#undef PYARENA_STAT
};

/* One size class, or one heap, of the same snapshot. */
struct pyarena_class_stats {
	uint64_t block_bytes; /* size of one block */
	uint64_t live_blocks; /* blocks in use */
	uint64_t pools;       /* pools of this class */
	uint64_t pool_bytes;  /* address space of these pools */
};

struct pyarena_heap_stats {
	uint64_t id;             /* 1 is the first heap of the process */
	uint64_t is_interpreter; /* 1: serves CPython's objects; 0: serves malloc */
	uint64_t is_abandoned;   /* 1: its thread has ended and no other has adopted it yet */
	uint64_t arenas;         /* arenas that the heap owns */
	uint64_t live_bytes;     /* bytes of the blocks in use, rounded up to their size class */
	uint64_t dirty_bytes;    /* resident and free */
};

/* Version of the library that is loaded, such as "0.1.0".  Never NULL. */
const char *pyarena_version(void);

/* 1 if this library serves malloc in this process, 0 if it stands aside. */
int pyarena_is_active(void);

/*
 * Fill *stats.  Returns 0, or EINVAL if stats is NULL or stats->size is smaller than one field.
 * Fields that the caller's size does not cover are not written.  Cost: walks the records of all
 * pools under the arena manager's lock, about a microsecond for each MiB of heap.
 */
int pyarena_stats(struct pyarena_stats *stats);

/* Fill at most count entries; return how many there are (which may be more than count). */
size_t pyarena_class_stats(struct pyarena_class_stats *classes, size_t count);
size_t pyarena_heap_stats(struct pyarena_heap_stats *heaps, size_t count);

/*
 * Give back every page that holds nothing live and that the calling thread may reach: its own heap,
 * the interpreter's heap when the caller holds the GIL, heaps of threads that have ended, and the
 * caches.  Returns the bytes given back.  Heaps of other running threads give back by themselves.
 */
size_t pyarena_trim(void);

/*
 * Replace PYARENA_KEEP_FREE at run time: keep at most this many bytes of free memory resident.
 * SIZE_MAX returns to the self-tuned amount.  Takes effect at the next free; see pyarena_trim.
 */
void pyarena_keep_free(size_t bytes);

/*
 * Write the report that PYARENA_STATS asks for now instead of at exit, where a program's objects may have
 * been freed.  Does nothing where none is asked for, or this process has written it.
 */
void pyarena_report(void);

#ifdef __cplusplus
}
#endif

#endif
