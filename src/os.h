/* SPDX-License-Identifier: MIT */
/*
 * os.h: the operating system, as one list of documented primitives.  Every system call of the
 * library is made in os.c; there is no policy here.  All are async-signal-safe, thread-safe and
 * usable in a forked child.  Addresses and lengths of mappings are multiples of the page size.
 */
#ifndef PA_OS_H
#define PA_OS_H

#include "atomic.h"
#include "base.h"

/* One run of pages, for pa_os_purge. */
struct pa_run {
	void *start;
	size_t bytes;
};

#define PA_OS_PURGE_MAX 256 /* runs that one pa_os_purge call takes */

/* The kernel's page size in bytes: 4096, 16384 or 65536. Read once, at the first call. */
size_t pa_os_page_bytes(void);

/*
 * Map private zeroed memory, readable and writable, aligned to a power of two.  NULL when the kernel
 * refuses.  Nothing is resident yet.
 */
void *pa_os_map(size_t bytes, size_t align);
void pa_os_unmap(void *start, size_t bytes);

/* The same at an address where nothing is mapped yet; false if there is something. */
bool pa_os_map_at(void *start, size_t bytes);

/* The same with so many bytes before what is aligned and returned; lead is less than align, or align is 1. */
void *pa_os_map_behind(size_t lead, size_t bytes, size_t align);

/* Whoever touches these pages gets SIGSEGV.  It parts the mapping; a refusal is no error. */
void pa_os_guard(void *start, size_t bytes);

/*
 * The same as pa_os_map between two guard pages, so that what runs over the end of something else ends before
 * it gets here.  Mapped and unmapped together with them.
 */
void *pa_os_map_guarded(size_t bytes, size_t align);
void pa_os_unmap_guarded(void *start, size_t bytes);

/* Grow or shrink a mapping; NULL when that is refused (without may_move: when not possible in place). */
void *pa_os_remap(void *start, size_t old_bytes, size_t new_bytes, bool may_move);

/*
 * Give the pages of the runs back: they read as zero when touched again.  Runs are rounded inwards to
 * whole pages.  One system call for all where the kernel can (process_madvise on the own process),
 * else one for each.  Adds the number of calls to *calls.  Returns the bytes given back.
 */
size_t pa_os_purge(const struct pa_run *runs, size_t count, uint64_t *calls);

/* Make a run resident at once; a refusal is no error (the pages come one by one, then). */
void pa_os_populate(void *start, size_t bytes);

/* How much of a mapping is resident; 0 where the kernel does not tell. */
size_t pa_os_resident_bytes(void *start, size_t bytes);

/*
 * Give the pages of a mapping back, and keep its addresses from whoever asks for some: they may not be
 * touched.  False where that is refused; then all is as it was.
 */
bool pa_os_seal(void *start, size_t bytes);

/*
 * Keep transparent huge pages out of a mapping, whatever the system is or will be set to; or ask for them,
 * which the system may be set to refuse.
 */
void pa_os_advise_huge_pages(void *start, size_t bytes, bool are_wanted);

/* Ask for a page that reads as zero in a forked child.  False where the kernel cannot. */
bool pa_os_wipe_on_fork(void *start, size_t bytes);

/* Monotonic time and the CPU time of the whole process, in nanoseconds. */
uint64_t pa_os_clock_ns(void);
uint64_t pa_os_cpu_ns(void);

/*
 * Sleep while *word is expected, at most ns nanoseconds; wake at most count sleepers.  Spurious
 * returns happen.
 */
void pa_os_futex_wait(_Atomic(uint32_t) *word, uint32_t expected, uint64_t ns);
void pa_os_futex_wake(_Atomic(uint32_t) *word, int count);

/*
 * A full memory barrier in all threads of the process that run now, and the caller.  False where the
 * kernel cannot.
 */
bool pa_os_barrier(void);

int pa_os_process_id(void);

/*
 * The kernel's number of the calling thread, and whether the process has one of that number, as far as the
 * kernel tells: it knows a thread for a moment longer than its joiner.
 */
int pa_os_thread_id(void);
bool pa_os_has_thread(int id);

/* Random bytes: the kernel's; where it refuses them, those that it gave the process at its start, and the time. */
void pa_os_random(uint64_t *words, size_t count);

/* Write all bytes to a file descriptor, errno kept; interrupted writes go on, errors end it. */
void pa_os_write(int fd, const char *text, size_t bytes);

/* Create or truncate a file for writing (mode 0644, not through symbolic links); -1 on failure. */
int pa_os_create(const char *path);
void pa_os_close(int fd);

/* The first bytes of a file into buffer; the count read, 0 on failure. */
size_t pa_os_read_file(const char *path, char *buffer, size_t bytes);

#endif
