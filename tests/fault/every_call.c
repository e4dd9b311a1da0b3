/* SPDX-License-Identifier: MIT */
/*
 * every_call.c: each system call of the engine fails once at its n-th call, or from there on for a
 * while, for n = 1, 2, … until a run comes to its end without having been refused anything.
 *
 * The engine is linked in, with its assertions; the linker turns its calls (--wrap) to the functions
 * here.  They keep a ledger of all address space that the engine has.  A run does everything that the
 * engine can do, in a process of its own.  A request may fail then, with ENOMEM; nothing else may: no
 * block loses its contents, and in the end nothing is live, no address space is forgotten, and all that
 * was asked for before can be had.
 */
#include "../lib/blocks.h"

#include <pthread.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

#include "guarded.h"
#include "idle.h"
#include "life.h"
#include "lock.h"
#include "malloc.h"
#include "option.h"
#include "os.h"
#include "reserve.h"
#include "stats.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif

enum call {
	MMAP,
	MUNMAP,
	MREMAP,
	PURGE,
	BATCH_PURGE,
	POPULATE,
	RESIDENT,
	WIPE_ON_FORK,
	NO_HUGE_PAGES,
	HUGE_PAGES,
	GUARD,
	OTHER, /* is not the engine's own, or depends on the machine */
	FUTEX,
	OPEN,
	READ,
	WRITE,
	CLOSE,
	CLOCK,
	RANDOM,
	AUXV,
	THREAD,
	THREAD_ID,
	KEY,
	ATFORK,
	CALLS,
};

enum mode { PLAIN, HARDENED, HUGE };

/* The plan of a run, and what came of it; in memory that the run shares with who started it. */
struct plan {
	enum call call;
	enum mode mode;
	uint64_t first, last; /* calls of this number are refused */
	int error;
	uint64_t made[CALLS]; /* [atomic] */
	bool is_over;         /* [atomic] nothing is refused any more */
	bool is_complete;     /* the run came to its end */
	uint64_t denied;      /* requests for memory that failed */
};

static struct plan *plan;

/* --- the ledger --- */

#define RANGES 4096

static struct {
	bool lock; /* [atomic] */
	size_t count;
	struct {
		uintptr_t from, to;
	} ranges[RANGES];
	size_t kept; /* bytes that the system refused to take back */
} ledger;

static void ledger_lock(void)
{
	while (__atomic_exchange_n(&ledger.lock, true, __ATOMIC_ACQUIRE))
		;
}

static void ledger_unlock(void)
{
	__atomic_store_n(&ledger.lock, false, __ATOMIC_RELEASE);
}

static void ledger_add(const void *start, size_t bytes)
{
	ledger_lock();
	REQUIRE(ledger.count < RANGES);
	ledger.ranges[ledger.count].from = (uintptr_t)start;
	ledger.ranges[ledger.count].to = (uintptr_t)start + bytes;
	ledger.count++;
	ledger_unlock();
}

static void ledger_remove(const void *start, size_t bytes)
{
	uintptr_t from = (uintptr_t)start, to = from + bytes;

	ledger_lock();
	for (size_t i = ledger.count; i-- > 0;) {
		uintptr_t low = ledger.ranges[i].from, high = ledger.ranges[i].to;
		if (high <= from || low >= to)
			continue;
		bytes -= (high < to ? high : to) - (low > from ? low : from);
		ledger.ranges[i] = ledger.ranges[--ledger.count];
		if (low < from) {
			ledger.ranges[ledger.count].from = low;
			ledger.ranges[ledger.count++].to = from;
		}
		if (high > to) {
			REQUIRE(ledger.count < RANGES);
			ledger.ranges[ledger.count].from = to;
			ledger.ranges[ledger.count++].to = high;
		}
	}
	ledger_unlock();
	REQUIRE(bytes == 0, "%zu bytes are unmapped that were not mapped", bytes);
}

static size_t ledger_bytes(void)
{
	size_t bytes = 0;

	for (size_t i = 0; i < ledger.count; i++)
		bytes += ledger.ranges[i].to - ledger.ranges[i].from;
	return bytes;
}

/* --- what the engine calls instead of the C library --- */

static bool is_refused(enum call call)
{
	if (plan == NULL)
		return false;
	uint64_t number = __atomic_add_fetch(&plan->made[call], 1, __ATOMIC_RELAXED);
	if (call != plan->call || number < plan->first || number > plan->last ||
	    __atomic_load_n(&plan->is_over, __ATOMIC_RELAXED))
		return false;
	errno = plan->error;
	return true;
}

void *__real_mmap(void *, size_t, int, int, int, off_t);
int __real_munmap(void *, size_t);
void *__real_mremap(void *, size_t, size_t, int, ...);
int __real_madvise(void *, size_t, int);
int __real_mincore(void *, size_t, unsigned char *);
int __real_mprotect(void *, size_t, int);
long __real_syscall(long, ...);
int __real_clock_gettime(clockid_t, struct timespec *);
unsigned long __real_getauxval(unsigned long);
int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int __real_pthread_key_create(pthread_key_t *, void (*)(void *));
int __real_pthread_atfork(void (*)(void), void (*)(void), void (*)(void));

void *__wrap_mmap(void *, size_t, int, int, int, off_t);
int __wrap_munmap(void *, size_t);
void *__wrap_mremap(void *, size_t, size_t, int, ...);
int __wrap_madvise(void *, size_t, int);
int __wrap_mincore(void *, size_t, unsigned char *);
int __wrap_mprotect(void *, size_t, int);
long __wrap_syscall(long, ...);
int __wrap_clock_gettime(clockid_t, struct timespec *);
unsigned long __wrap_getauxval(unsigned long);
int __wrap_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int __wrap_pthread_key_create(pthread_key_t *, void (*)(void *));
int __wrap_pthread_atfork(void (*)(void), void (*)(void), void (*)(void));

void *__wrap_mmap(void *hint, size_t bytes, int protection, int flags, int fd, off_t offset)
{
	if (is_refused(MMAP))
		return MAP_FAILED;
	void *start = __real_mmap(hint, bytes, protection, flags, fd, offset);
	if (plan != NULL && start != MAP_FAILED && !(flags & MAP_FIXED)) /* else it was there before */
		ledger_add(start, bytes);
	return start;
}

int __wrap_munmap(void *start, size_t bytes)
{
	if (is_refused(MUNMAP)) {
		__atomic_add_fetch(&ledger.kept, bytes, __ATOMIC_RELAXED);
		return -1;
	}
	if (plan != NULL)
		ledger_remove(start, bytes);
	return __real_munmap(start, bytes);
}

void *__wrap_mremap(void *start, size_t old_bytes, size_t new_bytes, int flags, ...)
{
	if (is_refused(MREMAP))
		return MAP_FAILED;
	void *moved = __real_mremap(start, old_bytes, new_bytes, flags);
	if (plan != NULL && moved != MAP_FAILED) {
		ledger_remove(start, old_bytes);
		ledger_add(moved, new_bytes);
	}
	return moved;
}

int __wrap_madvise(void *start, size_t bytes, int advice)
{
	enum call call = advice == MADV_POPULATE_WRITE ? POPULATE
			 : advice == MADV_WIPEONFORK   ? WIPE_ON_FORK
			 : advice == MADV_NOHUGEPAGE   ? NO_HUGE_PAGES
			 : advice == MADV_HUGEPAGE     ? HUGE_PAGES
			 : advice == MADV_DONTNEED     ? PURGE
						       : OTHER;

	return is_refused(call) ? -1 : __real_madvise(start, bytes, advice);
}

int __wrap_mincore(void *start, size_t bytes, unsigned char *pages)
{
	return is_refused(RESIDENT) ? -1 : __real_mincore(start, bytes, pages);
}

int __wrap_mprotect(void *start, size_t bytes, int protection)
{
	return is_refused(GUARD) ? -1 : __real_mprotect(start, bytes, protection);
}

static enum call call_of(long number)
{
	switch (number) {
	case SYS_process_madvise:
		return BATCH_PURGE;
	case SYS_getrandom:
		return RANDOM;
	case SYS_futex:
		return FUTEX;
	case SYS_gettid:
	case SYS_tgkill:
		return THREAD_ID;
	case SYS_openat:
		return OPEN;
	case SYS_read:
		return READ;
	case SYS_write:
		return WRITE;
	case SYS_close:
		return CLOSE;
	default:
		return OTHER;
	}
}

long __wrap_syscall(long number, ...)
{
	long arguments[6];
	va_list list;

	va_start(list, number);
	for (size_t i = 0; i < COUNT_OF(arguments); i++)
		arguments[i] = va_arg(list, long);
	va_end(list);
	if (is_refused(call_of(number)))
		return -1;
	return __real_syscall(number, arguments[0], arguments[1], arguments[2], arguments[3],
			      arguments[4], arguments[5]);
}

int __wrap_clock_gettime(clockid_t id, struct timespec *now)
{
	return is_refused(CLOCK) ? -1 : __real_clock_gettime(id, now);
}

unsigned long __wrap_getauxval(unsigned long type)
{
	return is_refused(AUXV) ? 0 : __real_getauxval(type);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *),
			  void *argument)
{
	return is_refused(THREAD) ? plan->error
				  : __real_pthread_create(thread, attributes, body, argument);
}

int __wrap_pthread_key_create(pthread_key_t *key, void (*destroy)(void *))
{
	return is_refused(KEY) ? plan->error : __real_pthread_key_create(key, destroy);
}

int __wrap_pthread_atfork(void (*before)(void), void (*parent)(void), void (*child)(void))
{
	return is_refused(ATFORK) ? plan->error : __real_pthread_atfork(before, parent, child);
}

/* --- one run --- */

static struct tap_option options[] = {
	{ "spread", 50, "of the refused calls, once their numbers are large; 0 refuses each" },
	{ NULL, 0, NULL },
};

struct item {
	void *block; /* NULL: the request failed */
	size_t size;
};

static const size_t sizes[] = { 0,     1,     24,    100,    512,    513,    700,    2000,   5000,
				16384, 16385, 70000, 200000, 262144, 262145, 700000, 1300000 };
static const size_t alignments[] = { 16, 256, 4096, 16384, 32768, 2 * MIB };

#define ITEMS 300
#define LOOKED_AT (64 * KIB) /* of a block that should be zero: to read it all takes its pages */

static struct item items[ITEMS];

static uint64_t contents_of(const struct item *item)
{
	return (uint64_t)(item - items) * 977;
}

/* Large blocks are looked at where they begin and end. */
static void write_item(const struct item *item)
{
	size_t known = item->size < 4096 ? item->size : 4096;

	fill(item->block, known, contents_of(item));
	if (item->size > known)
		((char *)item->block)[item->size - 1] = 'z';
}

static void check_item(const struct item *item, size_t limit)
{
	size_t size = item->size < limit ? item->size : limit;
	size_t known = size < 4096 ? size : 4096;

	REQUIRE(is_intact(item->block, known, contents_of(item)), "block of %zu bytes", item->size);
	if (size > known && size == item->size)
		REQUIRE(((char *)item->block)[size - 1] == 'z', "end of a block of %zu bytes", size);
}

/* A request may fail only while calls are refused, and then with ENOMEM. */
static void check_answer(const void *block)
{
	if (block != NULL)
		return;
	REQUIRE(errno == ENOMEM, "errno is %d", errno);
	REQUIRE(!plan->is_over, "nothing is refused any more");
	plan->denied++;
}

static void allocate(struct item *item, size_t number)
{
	if (item->block != NULL)
		return;
	item->size = sizes[number % COUNT_OF(sizes)];
	errno = 0;
	switch (number % 5) {
	case 0:
		item->block = pa_calloc(item->size);
		REQUIRE(item->block == NULL ||
				is_zero(item->block, item->size < LOOKED_AT ? item->size : LOOKED_AT),
			"calloc of %zu bytes", item->size);
		break;
	case 1:
		item->block = pa_memalign(alignments[number / 5 % COUNT_OF(alignments)], item->size);
		break;
	default:
		item->block = pa_malloc(item->size);
		break;
	}
	check_answer(item->block);
	if (item->block != NULL)
		write_item(item);
}

static void release(struct item *item)
{
	if (item->block == NULL)
		return;
	check_item(item, SIZE_MAX);
	errno = 77;
	pa_free(item->block, "free");
	REQUIRE(errno == 77, "free sets errno to %d", errno);
	item->block = NULL;
}

static void resize(struct item *item, size_t size)
{
	if (item->block == NULL)
		return;
	check_item(item, SIZE_MAX);
	errno = 0;
	void *block = pa_realloc(item->block, size, "realloc");
	check_answer(block);
	if (block == NULL) {
		REQUIRE(size > item->size, "shrinking from %zu to %zu bytes fails", item->size, size);
		check_item(item, SIZE_MAX);
		return;
	}
	item->block = block;
	check_item(item, size);
	item->size = size;
	write_item(item);
}

/* Each step-th item from first on, as this thread's: made, partly freed, resized. */
static void use_items(size_t first, size_t step)
{
	for (size_t i = first; i < ITEMS; i += step)
		allocate(&items[i], i);
	for (size_t i = first; i < ITEMS; i += step)
		if (i % 8 > 1)
			release(&items[i]);
	pa_malloc_trim();
	for (size_t i = first; i < ITEMS; i += step) {
		if (items[i].block != NULL)
			resize(&items[i], sizes[(i + 5) % COUNT_OF(sizes)] * 5 / 4 + 1);
		else
			allocate(&items[i], i + 3);
	}
	for (size_t i = first; i < ITEMS; i += step)
		if (i % 8 == 1)
			resize(&items[i], 1);
}

/* A thread frees what another made, and leaves a heap behind with blocks in it. */
static void *work_in_a_thread(void *first)
{
	for (size_t i = 0; i < ITEMS; i += 7)
		release(&items[i]);
	use_items((size_t)(uintptr_t)first, 40);
	return NULL;
}

static void in_threads(void)
{
	for (size_t i = 0; i < 3; i++) {
		pthread_t thread;
		REQUIRE(__real_pthread_create(&thread, NULL, work_in_a_thread, (void *)i) == 0);
		pthread_join(thread, NULL);
	}
}

/* Growth that is evident is populated. */
static void grow(void)
{
	void *blocks[400];
	size_t count = 0;

	while (count < COUNT_OF(blocks) && (blocks[count] = pa_malloc(3000)) != NULL)
		memset(blocks[count++], 1, 3000);
	for (size_t i = 0; i < count; i++)
		pa_free(blocks[i], "free");
}

/* An interpreter's heap, with enough to give back that a thread is to watch. */
static void as_an_interpreter(void)
{
	static const char interpreter;
	struct pa_heap *heap = pa_heap_of_interpreter(&interpreter);
	void *blocks[300];
	size_t count = 0;

	if (heap == NULL)
		return;
	pa_idle_enable();
	pa_reserve_set(&(struct pa_keep_option){ .mode = PA_KEEP_BYTES, .value = 64 * MIB });
	/* It may be kept, but not for ever. */
	pa_store_relaxed(&pa_reserve.floor_units, PA_POLICY_FLOOR_UNITS);
	pa_store_relaxed(&pa_reserve.idle_units, 0);
	while (count < COUNT_OF(blocks) && (blocks[count] = pa_allocate(heap, 10000)) != NULL)
		count++;
	for (size_t i = 0; i < count; i++)
		if (!pa_heap_free(heap, blocks[i]))
			pa_heap_free_slow(heap, blocks[i], "free");
	for (size_t i = 0; i < 20; i++) {
		void *block = pa_allocate(heap, 10000 + 1000 * i);
		if (block != NULL && !pa_heap_free(heap, block))
			pa_heap_free_slow(heap, block, "free");
	}
	pa_reserve_set(&pa_options()->keep_free);
	pa_heap_trim(heap);
}

static void in_a_child(void)
{
	pid_t child = fork();

	if (child == 0) {
		alarm(20);
		for (size_t i = 0; i < ITEMS; i += 3)
			release(&items[i]);
		use_items(0, 3);
		_exit(tap_status());
	}
	REQUIRE(child > 0 && tap_child_succeeded(child, "child of the run"));
}

static bool is_held; /* [atomic] */

static void *hold_a_lock(void *argument)
{
	pa_lock(PA_LOCK_LIFE);
	__atomic_store_n(&is_held, true, __ATOMIC_RELEASE);
	sleep_ms(1);
	pa_unlock(PA_LOCK_LIFE);
	return argument;
}

/* Somebody waits for a lock, and is woken. */
static void contend(void)
{
	pthread_t thread;

	REQUIRE(__real_pthread_create(&thread, NULL, hold_a_lock, NULL) == 0);
	while (!__atomic_load_n(&is_held, __ATOMIC_ACQUIRE))
		;
	pa_lock(PA_LOCK_LIFE);
	pa_unlock(PA_LOCK_LIFE);
	pthread_join(thread, NULL);
}

/* What is read is what is there, or a part of it. */
static void use_files(void)
{
	char path[] = "/proc/self/comm";
	char whole[64] = "", part[64] = "";
	int file = open(path, O_RDONLY | O_CLOEXEC);

	REQUIRE(file >= 0 && read(file, whole, sizeof(whole) - 1) > 0 && close(file) == 0);
	size_t length = pa_os_read_file(path, part, sizeof(part) - 1);
	REQUIRE(length <= strlen(whole) && memcmp(part, whole, length) == 0, "%s", part);
	REQUIRE(!plan->is_over || length == strlen(whole), "%zu bytes", length);
	pa_life_report(); /* to nowhere, as the options have it */
}

static void check_all_heaps(void)
{
	pa_lock(PA_LOCK_LIFE);
	struct pa_heap *heap = pa_heap_first_locked();
	pa_unlock(PA_LOCK_LIFE);
	for (; heap != NULL; heap = heap->next) {
		pa_heap_check(heap);
		/* It serves who got no heap; what was freed from it counts as live until it serves again. */
		if (heap->kind == PA_HEAP_SHARED)
			pa_heap_trim(heap);
	}
}

/* All that is mapped is known to the engine, or the system would not take it. */
static void check_nothing_is_lost(void)
{
	static struct pa_snapshot snapshot;
	const struct pyarena_stats *stats = &snapshot.stats;

	pa_stats_take(&snapshot);
	/* Without a key no thread's end is noticed, and what was freed into its heap stays there. */
	if (plan->call != KEY)
		REQUIRE(stats->live_blocks == 0 && stats->live_bytes == 0,
			"%llu blocks, %llu bytes are live", (unsigned long long)stats->live_blocks,
			(unsigned long long)stats->live_bytes);
	uint64_t known = (stats->arenas_made - stats->arenas_released) * MIB + stats->large_bytes +
			 stats->cached_bytes + stats->record_bytes;
	uint64_t rest = 64 * KIB;             /* of the chunk of records, */
	rest += 16 * KIB;                     /* and of one before, with no room for a heap */
	rest += 9 * page_bytes();             /* that which forks wipe; guards in front of records */
	rest += plan->mode == HUGE ? MIB : 0; /* half of a huge page, for the next arena */
	uint64_t mapped = ledger_bytes();
	REQUIRE(mapped <= known + rest + ledger.kept,
		"%llu KiB are mapped, %llu are known, %llu were refused",
		(unsigned long long)mapped / 1024, (unsigned long long)known / 1024,
		(unsigned long long)ledger.kept / 1024);
}

static void run(void)
{
	static char settings[][20] = { [PLAIN] = "PYARENA_THP=auto",
				       [HARDENED] = "PYARENA_HARDEN=1",
				       [HUGE] = "PYARENA_THP=always" };
	char report[] = "PYARENA_STATS=:/dev/null";
	char *environment[] = { settings[plan->mode], report, NULL };

	alarm(60);
	pa_life_start(environment);
	use_items(0, 1);
	grow();
	in_threads();
	if (plan->mode != HARDENED)
		as_an_interpreter();
	in_a_child();
	contend();
	use_files();
	for (size_t i = 0; i < ITEMS; i++)
		if (i % 3 == 0)
			release(&items[i]);
	pa_malloc_trim();
	__atomic_store_n(&plan->is_over, true, __ATOMIC_RELAXED);
	use_files();
	for (size_t i = 0; i < ITEMS; i++)
		release(&items[i]);
	use_items(0, 1);
	check_all_heaps();
	for (size_t i = 0; i < ITEMS; i++)
		release(&items[i]);
	pa_idle_stop();
	pa_malloc_trim();
	pa_guarded_release();
	check_all_heaps();
	check_nothing_is_lost();
	plan->is_complete = true;
}

/* --- every run --- */

/* Whether the run was refused something. */
static bool run_with(enum call call, uint64_t number, uint64_t count, int error)
{
	enum mode mode = plan->mode;

	memset(plan, 0, sizeof *plan);
	plan->mode = mode;
	plan->call = call;
	plan->first = number;
	plan->last = number + count - 1;
	plan->error = error;
	pid_t child = fork();
	if (child == 0) {
		run();
		_exit(tap_status());
	}
	REQUIRE(child > 0 && tap_child_succeeded(child, "run") && plan->is_complete,
		"%llu refused from call %llu on, errno %d", (unsigned long long)count,
		(unsigned long long)number, error);
	return plan->made[call] >= number;
}

static void fail_every(enum call call, int error, enum mode mode)
{
	static const uint64_t counts[] = { 1, 5, UINT64_MAX / 2 };
	uint64_t spread = tap_value("spread");
	uint64_t runs = 0, denied = 0;

	plan = __real_mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
			   0);
	REQUIRE(plan != MAP_FAILED);
	plan->mode = mode;
	for (size_t c = 0; c < COUNT_OF(counts); c++) {
		uint64_t number = 1;
		while (run_with(call, number, counts[c], error)) {
			runs++;
			denied += plan->denied;
			number += 1 + (counts[c] == 1 ? number * spread / 400 : number * spread / 50);
		}
	}
	REQUIRE(runs > 0, "the engine never makes this call");
	tap_note("figure: %llu runs, %llu requests denied, %llu calls in the last run",
		 (unsigned long long)runs, (unsigned long long)denied,
		 (unsigned long long)plan->made[call]);
}

#define POINT(name, call, error, mode) \
	static void name(void) \
	{ \
		fail_every(call, error, mode); \
	}

POINT(mmap_ENOMEM, MMAP, ENOMEM, PLAIN)
POINT(munmap_ENOMEM, MUNMAP, ENOMEM, PLAIN)
POINT(mremap_ENOMEM, MREMAP, ENOMEM, PLAIN)
POINT(purge_ENOMEM, PURGE, ENOMEM, PLAIN)
POINT(purge_EINVAL, PURGE, EINVAL, PLAIN)
POINT(batch_purge_ENOSYS, BATCH_PURGE, ENOSYS, PLAIN)
POINT(populate_EINVAL, POPULATE, EINVAL, PLAIN)
POINT(populate_ENOMEM, POPULATE, ENOMEM, PLAIN)
POINT(resident_EAGAIN, RESIDENT, EAGAIN, PLAIN)
POINT(wipe_on_fork_EINVAL, WIPE_ON_FORK, EINVAL, PLAIN)
POINT(guard_ENOMEM, GUARD, ENOMEM, PLAIN)
POINT(clock_EINVAL, CLOCK, EINVAL, PLAIN)
POINT(no_huge_pages_EINVAL, NO_HUGE_PAGES, EINVAL, PLAIN)
POINT(no_huge_pages_ENOMEM, NO_HUGE_PAGES, ENOMEM, PLAIN)
POINT(auxv_nothing, AUXV, ENOENT, PLAIN)
POINT(thread_EAGAIN, THREAD, EAGAIN, PLAIN)
POINT(thread_id_EPERM, THREAD_ID, EPERM, PLAIN)
POINT(key_EAGAIN, KEY, EAGAIN, PLAIN)
POINT(atfork_ENOMEM, ATFORK, ENOMEM, PLAIN)
POINT(futex_ENOSYS, FUTEX, ENOSYS, PLAIN)
POINT(open_EMFILE, OPEN, EMFILE, PLAIN)
POINT(read_EIO, READ, EIO, PLAIN)
POINT(write_ENOSPC, WRITE, ENOSPC, PLAIN)
POINT(close_EIO, CLOSE, EIO, PLAIN)

POINT(hardened_mmap_ENOMEM, MMAP, ENOMEM, HARDENED)
POINT(hardened_munmap_ENOMEM, MUNMAP, ENOMEM, HARDENED)
POINT(hardened_guard_ENOMEM, GUARD, ENOMEM, HARDENED)
POINT(hardened_purge_EINVAL, PURGE, EINVAL, HARDENED)
POINT(hardened_random_ENOSYS, RANDOM, ENOSYS, HARDENED)

POINT(huge_mmap_ENOMEM, MMAP, ENOMEM, HUGE)
POINT(huge_munmap_ENOMEM, MUNMAP, ENOMEM, HUGE)
POINT(huge_pages_EINVAL, HUGE_PAGES, EINVAL, HUGE)

static const struct tap_point points[] = {
	{ "mmap_ENOMEM", mmap_ENOMEM },
	{ "munmap_ENOMEM", munmap_ENOMEM },
	{ "mremap_ENOMEM", mremap_ENOMEM },
	{ "purge_ENOMEM", purge_ENOMEM },
	{ "purge_EINVAL", purge_EINVAL },
	{ "batch_purge_ENOSYS", batch_purge_ENOSYS },
	{ "populate_EINVAL", populate_EINVAL },
	{ "populate_ENOMEM", populate_ENOMEM },
	{ "resident_EAGAIN", resident_EAGAIN },
	{ "wipe_on_fork_EINVAL", wipe_on_fork_EINVAL },
	{ "guard_ENOMEM", guard_ENOMEM },
	{ "clock_EINVAL", clock_EINVAL },
	{ "no_huge_pages_EINVAL", no_huge_pages_EINVAL },
	{ "no_huge_pages_ENOMEM", no_huge_pages_ENOMEM },
	{ "auxv_nothing", auxv_nothing },
	{ "thread_EAGAIN", thread_EAGAIN },
	{ "thread_id_EPERM", thread_id_EPERM },
	{ "key_EAGAIN", key_EAGAIN },
	{ "atfork_ENOMEM", atfork_ENOMEM },
	{ "futex_ENOSYS", futex_ENOSYS },
	{ "open_EMFILE", open_EMFILE },
	{ "read_EIO", read_EIO },
	{ "write_ENOSPC", write_ENOSPC },
	{ "close_EIO", close_EIO },
	{ "hardened_mmap_ENOMEM", hardened_mmap_ENOMEM },
	{ "hardened_munmap_ENOMEM", hardened_munmap_ENOMEM },
	{ "hardened_guard_ENOMEM", hardened_guard_ENOMEM },
	{ "hardened_purge_EINVAL", hardened_purge_EINVAL },
	{ "hardened_random_ENOSYS", hardened_random_ENOSYS },
	{ "huge_mmap_ENOMEM", huge_mmap_ENOMEM },
	{ "huge_munmap_ENOMEM", huge_munmap_ENOMEM },
	{ "huge_pages_EINVAL", huge_pages_EINVAL },
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	setenv("PYARENA_LIB", "none", 1); /* the engine is in this program */
	return tap_main(argc, argv, points, options);
}
