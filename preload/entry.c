/* SPDX-License-Identifier: MIT */
/*
 * entry.c: the exported functions in C: malloc's family and pyarena.h; start and end of the library.
 * The fast paths are inline from src/heap.h; all else goes through one slow function each, which
 * starts the library, or forwards to the C library where this one stands aside.
 */
#include "preload.h"

#include "large.h"
#include "life.h"
#include "option.h"
#include "os.h"
#include "pyarena.h"
#include "record.h"
#include "report.h"
#include "reserve.h"
#include "stats.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

/* The C library's own, for standing aside. Exported by glibc under these names for such uses. */
extern void *__libc_malloc(size_t bytes) __attribute__((weak));
extern void *__libc_calloc(size_t count, size_t bytes) __attribute__((weak));
extern void *__libc_realloc(void *p, size_t bytes) __attribute__((weak));
extern void *__libc_memalign(size_t align, size_t bytes) __attribute__((weak));
extern void __libc_free(void *p) __attribute__((weak));

/* A sanitizer in the process has to see every request itself. */
extern void __asan_init(void) __attribute__((weak));
extern void __hwasan_init(void) __attribute__((weak));
extern void __lsan_init(void) __attribute__((weak));
extern void __msan_init(void) __attribute__((weak));
extern void __tsan_init(void) __attribute__((weak));

/* [const] after start */
static struct {
	bool is_started;
	enum pa_mode mode;
	bool serves_python;
} process;

static enum pa_mode choose_mode(void)
{
	char version[16];

	if (__asan_init || __hwasan_init || __lsan_init || __msan_init || __tsan_init)
		return PA_MODE_SANITIZER;
	if (pa_options()->disable)
		return PA_MODE_DISABLED;
	if (pa_options()->scope == PA_SCOPE_PYTHON && !pa_python_version(version, sizeof version))
		return PA_MODE_NOT_PYTHON;
	return PA_MODE_SERVE;
}

static PA_COLD void start(char *const *environment)
{
	process.is_started = true; /* what follows may allocate */
	pa_life_start(environment);
	process.mode = choose_mode();
	if (process.mode != PA_MODE_SERVE && !__libc_malloc) { /* musl */
		pa_message_warning(
			"cannot stand aside: the C library has no other name for its malloc");
		process.mode = PA_MODE_SERVE;
	}
	if (process.mode != PA_MODE_SERVE) {
		pa_life_stand_aside();
		pa_thread_heap =
			&pa_no_heap; /* what it served until now is freed as another thread's */
		return;
	}
	pa_record_publish();
}

enum pa_mode pa_preload_mode(void)
{
	if (PA_UNLIKELY(!process.is_started))
		start(environ);
	return process.mode;
}

static bool stands_aside(void)
{
	return pa_preload_mode() != PA_MODE_SERVE;
}

/* A block that this library made, perhaps before it was told to stand aside. */
static bool is_ours(const void *p)
{
	return pa_pagemap_has(p) || pa_large_bytes(p) > 0;
}

/* A function of the C library that this one hides. */
static void *libc_function(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

/* --- start and end --- */

static void tell_start(void)
{
	static const char *const reasons[] = {
		[PA_MODE_DISABLED] = "PYARENA_DISABLE=1",
		[PA_MODE_NOT_PYTHON] = "PYARENA_SCOPE=python and this is not CPython",
		[PA_MODE_SANITIZER] = "a sanitizer is in the process",
	};
	struct pa_text process_id;
	char version[16] = "";
	const char *replaced = process.serves_python ? pa_python_replaced() : NULL;

	pa_text_clear(&process_id);
	pa_text_signed(&process_id, pa_os_process_id());
	if (process.mode != PA_MODE_SERVE)
		pa_message_line(PA_VERSION, " stands aside: ", reasons[process.mode], " (pid ",
				process_id.bytes, ")");
	else if (replaced)
		pa_message_line(PA_VERSION, " serves malloc, but not CPython ",
				pa_python_version(version, sizeof version), ": ", replaced, " (pid ",
				process_id.bytes, ")");
	else if (process.serves_python)
		pa_message_line(PA_VERSION, " serves malloc and CPython ",
				pa_python_version(version, sizeof version), " (pid ", process_id.bytes,
				")");
	else
		pa_message_line(PA_VERSION, " serves malloc (pid ", process_id.bytes, ")");
}

static size_t trim(void)
{
	return pa_python_trim() + pa_malloc_trim();
}

static void trim_before_fork(void)
{
	trim();
}

__attribute__((constructor)) static void begin(void)
{
	start(environ); /* glibc hands it over, musl does not; both have it by now */
	if (process.mode == PA_MODE_SERVE && pa_options()->python == PA_PYTHON_AUTO)
		process.serves_python = pa_python_install();
	if (process.serves_python)
		pa_life_serve_python();
	if (process.mode == PA_MODE_SERVE && pa_options()->trim_fork)
		pthread_atfork(trim_before_fork, NULL, NULL);
	if (pa_options()->verbose)
		tell_start();
}

__attribute__((destructor)) static void end(void)
{
	pa_life_report();
}

/* --- slow ways --- */

PA_COLD static void *libc_malloc(size_t bytes)
{
	/* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): without it, nothing stands aside */
	return __libc_malloc(bytes);
}

PA_NOINLINE void *pa_entry_malloc_slow(size_t bytes)
{
	struct pa_heap *heap = pa_thread_heap;

	if (PA_LIKELY(heap != &pa_no_heap &&
		      process.mode == PA_MODE_SERVE)) /* and it is not hardened */
		return pa_allocate_slow(heap, bytes);
	if (PA_UNLIKELY(stands_aside()))
		return libc_malloc(bytes);
	return pa_malloc(bytes);
}

PA_NOINLINE void pa_entry_free_slow(void *p, const char *function)
{
	if (!p)
		return;
	if (PA_UNLIKELY(stands_aside()) && !is_ours(p)) {
		__libc_free(p);
		return;
	}
	pa_free(p, function);
}

PA_NOINLINE void pa_entry_free_sized_slow(void *p, size_t bytes, const char *function)
{
	if (PA_UNLIKELY(stands_aside()) || !p)
		pa_entry_free_slow(p, function);
	else
		pa_free_sized(p, bytes, function);
}

PA_NOINLINE void pa_entry_settle_slow(const void *p, size_t bytes, struct pa_pool *pool)
{
	__asm__ volatile("" : : "r"(p), "r"(bytes)); /* else the compiler leaves them out */
	pa_heap_settle(pa_thread_heap, pool);
}

void *pa_entry_memalign(size_t align, size_t bytes)
{
	if (PA_UNLIKELY(stands_aside()))
		return __libc_memalign(align, bytes);
	return pa_memalign(align, bytes);
}

static void *reallocate(void *p, size_t bytes, const char *function)
{
	if (PA_UNLIKELY(stands_aside()) && !is_ours(p))
		return __libc_realloc(p, bytes);
	if (bytes == 0) {
		pa_free(p, function);
		return NULL;
	}
	return pa_realloc(p, bytes, function);
}

/* --- malloc's family --- */

EXPORT void *malloc(size_t bytes)
{
	return pa_entry_malloc(bytes);
}

EXPORT void free(void *p)
{
	pa_entry_free(p, "free");
}

EXPORT void cfree(void *p);
EXPORT void cfree(void *p)
{
	pa_entry_free(p, "cfree");
}

/* The sizes are hints that this allocator has no need of; hardened, it makes sure of them. */
EXPORT void free_sized(void *p, size_t bytes);
EXPORT void free_sized(void *p, size_t bytes)
{
	pa_entry_free_sized(p, bytes, "free_sized");
}

EXPORT void free_aligned_sized(void *p, size_t align, size_t bytes);
EXPORT void free_aligned_sized(void *p, size_t align, size_t bytes)
{
	(void)align;
	pa_entry_free_sized(p, bytes, "free_aligned_sized");
}

EXPORT void *calloc(size_t count, size_t each)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, each, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	void *p = pa_malloc_fast(bytes);
	if (PA_LIKELY(p != NULL))
		return memset(p, 0, bytes);
	if (PA_UNLIKELY(stands_aside()))
		return __libc_calloc(count, each);
	return pa_calloc(bytes);
}

EXPORT void *realloc(void *p, size_t bytes)
{
	return p ? reallocate(p, bytes, "realloc") : pa_entry_malloc(bytes);
}

EXPORT void *reallocarray(void *p, size_t count, size_t each)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, each, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return p ? reallocate(p, bytes, "reallocarray") : pa_entry_malloc(bytes);
}

static void *bad_alignment(void)
{
	errno = EINVAL;
	return NULL;
}

/* As glibc does, an alignment that is no power of two is rounded up to one. */
EXPORT void *memalign(size_t align, size_t bytes)
{
	if (align > SIZE_MAX / 2 + 1)
		return bad_alignment();
	if (!pa_is_power_of_two(align))
		align = align ? (size_t)2 << pa_highest_bit(align) : 1;
	return pa_entry_memalign(align, bytes);
}

EXPORT void *aligned_alloc(size_t align, size_t bytes)
{
	return pa_is_power_of_two(align) ? pa_entry_memalign(align, bytes) : bad_alignment();
}

EXPORT int posix_memalign(void **result, size_t align, size_t bytes)
{
	if (!pa_is_power_of_two(align) || align % sizeof(void *) != 0)
		return EINVAL;
	int saved = errno;
	void *p = pa_entry_memalign(align, bytes);
	errno = saved;
	if (!p)
		return ENOMEM;
	*result = p;
	return 0;
}

EXPORT void *valloc(size_t bytes)
{
	return pa_entry_memalign(pa_os_page_bytes(), bytes);
}

EXPORT void *pvalloc(size_t bytes)
{
	size_t page = pa_os_page_bytes();

	if (bytes > PA_REQUEST_MAX - page) {
		errno = ENOMEM;
		return NULL;
	}
	return pa_entry_memalign(page, pa_round_up(bytes, page));
}

EXPORT size_t malloc_usable_size(void *p)
{
	if (!p)
		return 0;
	if (PA_UNLIKELY(stands_aside()) && !is_ours(p)) {
		size_t (*function)(void *) = (size_t(*)(void *))libc_function("malloc_usable_size");
		return function ? function(p) : 0;
	}
	return pa_usable_bytes(p, "malloc_usable_size");
}

/* --- statistics and tuning as glibc has them --- */

EXPORT int malloc_trim(size_t pad)
{
	if (stands_aside()) {
		int (*function)(size_t) = (int (*)(size_t))libc_function("malloc_trim");
		return function ? function(pad) : 0;
	}
	return trim() > 0;
}

/* None of glibc's parameters has a meaning here, so none is taken. */
EXPORT int mallopt(int parameter, int value)
{
	if (stands_aside()) {
		int (*function)(int, int) = (int (*)(int, int))libc_function("mallopt");
		return function ? function(parameter, value) : 0;
	}
	return 0;
}

/* glibc's struct mallinfo2, and with int its struct mallinfo. */
#define MALLINFO(type) \
	{ \
		type arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, \
			keepcost; \
	}
struct pa_mallinfo MALLINFO(int);
struct pa_mallinfo2 MALLINFO(size_t);

static struct pa_mallinfo2 info(void)
{
	struct pa_snapshot snapshot;

	pa_stats_take(&snapshot);
	const struct pyarena_stats *stats = &snapshot.stats;
	size_t small = stats->live_bytes - stats->large_bytes;
	size_t arena = stats->mapped_bytes - stats->large_bytes;
	return (struct pa_mallinfo2){
		.arena = arena,
		.hblks = stats->large_blocks,
		.hblkhd = stats->large_bytes,
		.uordblks = small,
		.fordblks = arena - pa_min(arena, small),
		.keepcost = stats->dirty_bytes,
	};
}

EXPORT struct pa_mallinfo2 mallinfo2(void);
EXPORT struct pa_mallinfo2 mallinfo2(void)
{
	if (stands_aside()) {
		struct pa_mallinfo2 (*function)(void) =
			(struct pa_mallinfo2(*)(void))libc_function("mallinfo2");
		return function ? function() : (struct pa_mallinfo2){ 0 };
	}
	return info();
}

static int to_int(size_t n)
{
	return n > INT32_MAX ? INT32_MAX : (int)n;
}

EXPORT struct pa_mallinfo mallinfo(void);
EXPORT struct pa_mallinfo mallinfo(void)
{
	struct pa_mallinfo2 wide = mallinfo2();

	return (struct pa_mallinfo){
		.arena = to_int(wide.arena),
		.ordblks = to_int(wide.ordblks),
		.smblks = to_int(wide.smblks),
		.hblks = to_int(wide.hblks),
		.hblkhd = to_int(wide.hblkhd),
		.usmblks = to_int(wide.usmblks),
		.fsmblks = to_int(wide.fsmblks),
		.uordblks = to_int(wide.uordblks),
		.fordblks = to_int(wide.fordblks),
		.keepcost = to_int(wide.keepcost),
	};
}

static void write_to_stream(void *stream, const char *text, size_t bytes)
{
	fwrite(text, 1, bytes, stream);
}

static void write_to_stderr(void *context, const char *text, size_t bytes)
{
	(void)context;
	pa_os_write(STDERR_FILENO, text, bytes);
}

EXPORT int malloc_info(int options, FILE *stream);
EXPORT int malloc_info(int options, FILE *stream)
{
	if (stands_aside()) {
		int (*function)(int, FILE *) = (int (*)(int, FILE *))libc_function("malloc_info");
		return function ? function(options, stream) : EINVAL;
	}
	if (options != 0)
		return EINVAL;
	pa_life_format(pa_report_xml, write_to_stream, stream);
	return 0;
}

EXPORT void malloc_stats(void);
EXPORT void malloc_stats(void)
{
	if (stands_aside()) {
		void (*function)(void) = (void (*)(void))libc_function("malloc_stats");
		if (function)
			function();
		return;
	}
	pa_life_format(pa_report_text, write_to_stderr, NULL);
}

/* --- pyarena.h --- */

EXPORT const char *pyarena_version(void)
{
	return PA_VERSION;
}

EXPORT int pyarena_is_active(void)
{
	return !stands_aside();
}

EXPORT int pyarena_stats(struct pyarena_stats *stats)
{
	struct pa_snapshot snapshot = { 0 };

	if (!stats || stats->size < sizeof stats->size + sizeof stats->mapped_bytes)
		return EINVAL;
	if (!stands_aside())
		pa_stats_take(&snapshot);
	snapshot.stats.size = stats->size; /* as the caller said it */
	memcpy(stats, &snapshot.stats, pa_min(stats->size, sizeof *stats));
	return 0;
}

EXPORT size_t pyarena_class_stats(struct pyarena_class_stats *classes, size_t count)
{
	struct pa_snapshot snapshot;
	size_t n = sizeof snapshot.classes / sizeof snapshot.classes[0];

	if (stands_aside())
		return 0;
	pa_stats_take(&snapshot);
	if (count > 0)
		memcpy(classes, snapshot.classes, pa_min(count, n) * sizeof *classes);
	return n;
}

EXPORT size_t pyarena_heap_stats(struct pyarena_heap_stats *heaps, size_t count)
{
	return stands_aside() ? 0 : pa_stats_heaps(heaps, count);
}

EXPORT size_t pyarena_trim(void)
{
	return stands_aside() ? 0 : trim();
}

EXPORT void pyarena_keep_free(size_t bytes)
{
	struct pa_keep_option keep = { .mode = PA_KEEP_BYTES, .value = bytes };

	if (bytes == SIZE_MAX)
		keep = (struct pa_keep_option){ .mode = PA_KEEP_AUTO };
	if (!stands_aside())
		pa_reserve_set(&keep);
}

EXPORT void pyarena_report(void)
{
	if (!stands_aside())
		pa_life_report();
}
