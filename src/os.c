/* SPDX-License-Identifier: MIT */
/*
 * os.c: system calls.  Owns what was learnt about the kernel (page size, which calls it refuses), all
 * of it written with the same value by whoever comes first.  Called by every module above.
 */
#include "os.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#ifndef PIDFD_SELF_THREAD /* the caller itself; no descriptor that a child would inherit */
#define PIDFD_SELF_THREAD (-10000)
#endif

#define NS_PER_S 1000000000u
#define PAGE_BYTES_MIN 4096u
#define RESIDENT_PIECE PA_MIB /* asked for at once */

/* What the kernel refused once is not asked for again. */
static struct {
	_Atomic(size_t) page_bytes;
	_Atomic(bool) no_populate;
	_Atomic(bool) no_batch_purge;
	_Atomic(uintptr_t) next_hint; /* where the next aligned mapping probably fits */
	_Atomic(bool) no_huge_pages;  /* the kernel has none at all */
} os;

size_t pa_os_page_bytes(void)
{
	size_t bytes = pa_load_relaxed(&os.page_bytes);

	if (PA_UNLIKELY(bytes == 0)) {
		bytes = getauxval(AT_PAGESZ);
		if (!pa_is_power_of_two(bytes))
			bytes = PAGE_BYTES_MIN;
		pa_store_relaxed(&os.page_bytes, bytes);
	}
	return bytes;
}

static void *map_at(void *hint, size_t bytes, int flags)
{
	void *p = mmap(hint, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static bool map_exactly(char *start, size_t bytes)
{
	char *p = map_at(start, bytes, MAP_FIXED_NOREPLACE);

	if (p == start)
		pa_store_relaxed(&os.next_hint, (uintptr_t)start);
	else if (p) /* a kernel older than 4.17 takes the flag for a mere hint */
		munmap(p, bytes);
	return p == start;
}

/*
 * Aligned mappings are laid below each other, where the kernel would put the next one anyway, so that
 * they join to one VMA and cost one system call.  Where the place is taken, map more and trim.  What is
 * aligned lies so many bytes behind the mapping's start.
 */
static char *map_aligned(size_t bytes, size_t align, size_t lead)
{
	uintptr_t hint = pa_load_relaxed(&os.next_hint);
	hint = hint > bytes ? pa_round_down(hint - bytes + lead, align) : 0;
	if (hint > lead) {
		hint -= lead;
		if (map_exactly((char *)hint, bytes))
			return (char *)hint;
	}

	size_t room = bytes + align - pa_os_page_bytes();
	if (room < bytes)
		return NULL;
	char *start = map_at(NULL, room, 0);
	if (!start)
		return NULL;
	char *p = (char *)pa_round_up((uintptr_t)start + lead, align) - lead;
	size_t before = (size_t)(p - start);
	size_t after = room - before - bytes;
	if (before)
		munmap(start, before);
	if (after)
		munmap(p + bytes, after);
	pa_store_relaxed(&os.next_hint, (uintptr_t)p);
	return p;
}

void *pa_os_map_behind(size_t lead, size_t bytes, size_t align)
{
	int saved = errno;
	char *start = align <= pa_os_page_bytes() ? map_at(NULL, lead + bytes, 0)
						  : map_aligned(lead + bytes, align, lead);

	errno = saved;
	return start ? start + lead : NULL;
}

void *pa_os_map(size_t bytes, size_t align)
{
	return pa_os_map_behind(0, bytes, align);
}

bool pa_os_map_at(void *start, size_t bytes)
{
	int saved = errno;
	bool is_mapped = map_exactly(start, bytes);

	errno = saved;
	return is_mapped;
}

void pa_os_guard(void *start, size_t bytes)
{
	int saved = errno;

	mprotect(start, bytes, PROT_NONE);
	errno = saved;
}

void *pa_os_map_guarded(size_t bytes, size_t align)
{
	size_t page = pa_os_page_bytes();
	char *start = pa_os_map_behind(page, bytes + page, align);

	if (start) {
		pa_os_guard(start - page, page);
		pa_os_guard(start + bytes, page);
	}
	return start;
}

void pa_os_unmap_guarded(void *start, size_t bytes)
{
	size_t page = pa_os_page_bytes();

	pa_os_unmap((char *)start - page, bytes + 2 * page);
}

void pa_os_unmap(void *start, size_t bytes)
{
	int saved = errno;

	if (munmap(start, bytes) != 0) /* a VMA could not be split: at least give the pages back */
		madvise(start, bytes, MADV_DONTNEED);
	errno = saved;
}

void *pa_os_remap(void *start, size_t old_bytes, size_t new_bytes, bool may_move)
{
	int saved = errno;
	void *p = mremap(start, old_bytes, new_bytes, may_move ? MREMAP_MAYMOVE : 0);

	errno = saved;
	return p == MAP_FAILED ? NULL : p;
}

static bool purge_one(const struct iovec *run)
{
	return madvise(run->iov_base, run->iov_len, MADV_DONTNEED) == 0;
}

size_t pa_os_purge(const struct pa_run *runs, size_t count, uint64_t *calls)
{
	int saved = errno;
	size_t page = pa_os_page_bytes();
	struct iovec whole[PA_OS_PURGE_MAX];
	size_t n = 0, asked = 0, purged = 0;

	for (size_t i = 0; i < count && n < PA_OS_PURGE_MAX; i++) {
		uintptr_t from = pa_round_up((uintptr_t)runs[i].start, page);
		uintptr_t to = pa_round_down((uintptr_t)runs[i].start + runs[i].bytes, page);
		if (from >= to)
			continue;
		whole[n].iov_base = (void *)from;
		whole[n].iov_len = to - from;
		asked += to - from;
		n++;
	}
	bool is_refused = false;
	if (n > 1 && !pa_load_relaxed(&os.no_batch_purge)) {
		long done = syscall(SYS_process_madvise, PIDFD_SELF_THREAD, whole, n, MADV_DONTNEED, 0);
		++*calls;
		is_refused = done < 0;
		purged = is_refused ? 0 : (size_t)done;
	}
	if (purged < asked) { /* it may end early: then each once more, which is harmless */
		purged = 0;
		for (size_t i = 0; i < n; i++) {
			if (purge_one(&whole[i]))
				purged += whole[i].iov_len;
			++*calls;
		}
		/* Refused for all together, but not one by one: this kernel does not know the call. */
		if (is_refused && purged > 0)
			pa_store_relaxed(&os.no_batch_purge, true);
	}
	errno = saved;
	return purged;
}

void pa_os_populate(void *start, size_t bytes)
{
	int saved = errno;

	if (pa_load_relaxed(&os.no_populate))
		return;
	if (madvise(start, bytes, MADV_POPULATE_WRITE) != 0 && errno == EINVAL)
		pa_store_relaxed(&os.no_populate, true);
	errno = saved;
}

size_t pa_os_resident_bytes(void *start, size_t bytes)
{
	unsigned char pages[RESIDENT_PIECE / PAGE_BYTES_MIN];
	size_t page = pa_os_page_bytes(), resident = 0;
	int saved = errno;

	for (size_t at = 0; at < bytes; at += RESIDENT_PIECE) {
		size_t piece = pa_min(RESIDENT_PIECE, bytes - at);
		if (mincore((char *)start + at, piece, pages) != 0)
			break;
		for (size_t i = 0; i < piece / page; i++)
			resident += (pages[i] & 1) * page;
	}
	errno = saved;
	return resident;
}

bool pa_os_seal(void *start, size_t bytes)
{
	int saved = errno;
	void *p = mmap(start, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
		       -1, 0);

	errno = saved;
	return p != MAP_FAILED;
}

void pa_os_advise_huge_pages(void *start, size_t bytes, bool are_wanted)
{
	int saved = errno;

	if (pa_load_relaxed(&os.no_huge_pages))
		return;
	if (madvise(start, bytes, are_wanted ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) != 0 && errno == EINVAL)
		pa_store_relaxed(&os.no_huge_pages, true);
	errno = saved;
}

bool pa_os_wipe_on_fork(void *start, size_t bytes)
{
	int saved = errno;
	bool done = madvise(start, bytes, MADV_WIPEONFORK) == 0;

	errno = saved;
	return done;
}

static uint64_t clock_ns(clockid_t id)
{
	struct timespec t;
	int saved = errno;

	if (clock_gettime(id, &t) != 0) { /* a sandbox may refuse it */
		errno = saved;
		return 0;
	}
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t pa_os_clock_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t pa_os_cpu_ns(void)
{
	return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

void pa_os_futex_wait(_Atomic(uint32_t) *word, uint32_t expected, uint64_t ns)
{
	int saved = errno;
	struct timespec limit = { .tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S) };

	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, &limit, NULL, 0);
	errno = saved;
}

void pa_os_futex_wake(_Atomic(uint32_t) *word, int count)
{
	int saved = errno;

	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
	errno = saved;
}

bool pa_os_barrier(void)
{
	int saved = errno;
	long error = syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);

	if (error && syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0)
		error = syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
	errno = saved;
	return error == 0;
}

int pa_os_process_id(void)
{
	return (int)getpid();
}

int pa_os_thread_id(void)
{
	return (int)syscall(SYS_gettid);
}

bool pa_os_has_thread(int id)
{
	int saved = errno;
	bool is_there = syscall(SYS_tgkill, pa_os_process_id(), id, 0) == 0;

	errno = saved;
	return is_there;
}

void pa_os_random(uint64_t *words, size_t count)
{
	int saved = errno;
	const void *given = (const void *)getauxval(AT_RANDOM); /* 16 bytes */
	uint64_t start[2] = { 0, 0 };

	if (syscall(SYS_getrandom, words, count * sizeof words[0], GRND_NONBLOCK) !=
	    (long)(count * sizeof words[0])) {
		if (given)
			memcpy(start, given, sizeof start);
		for (size_t i = 0; i < count; i++)
			words[i] = (start[i % 2] ^ (pa_os_clock_ns() << 20)) *
				   (UINT64_C(0x9e3779b97f4a7c15) + 2 * i);
	}
	errno = saved;
}

/*
 * Files, by bare system calls: the C library's functions are cancellation points, and a thread that
 * ends in one of them would keep the locks that its caller holds.
 */

void pa_os_write(int fd, const char *text, size_t bytes)
{
	int saved = errno;

	while (bytes > 0) {
		long n = syscall(SYS_write, fd, text, bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		text += n;
		bytes -= (size_t)n;
	}
	errno = saved;
}

int pa_os_create(const char *path)
{
	return (int)syscall(SYS_openat, AT_FDCWD, path,
			    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
}

void pa_os_close(int fd)
{
	syscall(SYS_close, fd);
}

size_t pa_os_read_file(const char *path, char *buffer, size_t bytes)
{
	int saved = errno;
	size_t total = 0;
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);

	if (fd >= 0) {
		for (;;) {
			long n = syscall(SYS_read, fd, buffer + total, bytes - total);
			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0)
				break;
			total += (size_t)n;
		}
		pa_os_close(fd);
	}
	errno = saved;
	return total;
}
