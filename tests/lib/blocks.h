/* SPDX-License-Identifier: MIT */
/*
 * blocks.h: what test programs of the allocator share: calls that the compiler can neither remove
 * nor warn about, contents that tell a block from any other, random numbers, and what /proc says of
 * this process.  Nothing here allocates.
 */
#ifndef BLOCKS_H
#define BLOCKS_H

#include "tap.h"

#include <malloc.h>
#include <sys/mman.h>

/*
 * CALL(free)(p): through a pointer that the compiler must read each time, and whose type has none of
 * the attributes from which it would draw conclusions.
 */
#define CALL_OF(name) opaque_##name
#define CALL(name) (*CALL_OF(name))
#define DECLARE_CALL(type, name, parameters) \
	static type(*volatile __attribute__((unused)) CALL_OF(name)) parameters = name

#ifdef ENGINE_LINKED
#include "engine.h" /* declares them for the engine that is linked in */
#else
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
DECLARE_CALL(void *, malloc, (size_t));
DECLARE_CALL(void *, calloc, (size_t, size_t));
DECLARE_CALL(void *, realloc, (void *, size_t));
DECLARE_CALL(void *, reallocarray, (void *, size_t, size_t));
DECLARE_CALL(void, free, (void *));
DECLARE_CALL(void *, aligned_alloc, (size_t, size_t));
DECLARE_CALL(void *, memalign, (size_t, size_t));
DECLARE_CALL(int, posix_memalign, (void **, size_t, size_t));
DECLARE_CALL(void *, valloc, (size_t));
DECLARE_CALL(void *, pvalloc, (size_t));
DECLARE_CALL(size_t, malloc_usable_size, (void *));
DECLARE_CALL(int, malloc_trim, (size_t));
DECLARE_CALL(struct mallinfo, mallinfo, (void));
#pragma GCC diagnostic pop
#endif

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static inline uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static inline uint64_t random_next(uint64_t *state)
{
	*state += UINT64_C(0x9e3779b97f4a7c15);
	return mix(*state);
}

/* Below bound; bound is not 0. */
static inline uint64_t random_below(uint64_t *state, uint64_t bound)
{
	return random_next(state) % bound;
}

static inline uint64_t pattern_word(uint64_t seed, size_t index)
{
	return (seed + index) * UINT64_C(0x9e3779b97f4a7c15);
}

/* Bytes [from, to) of a block get the contents that seed gives a block; from is a multiple of 8. */
static inline void fill_range(void *block, size_t from, size_t to, uint64_t seed)
{
	unsigned char *bytes = (unsigned char *)block;
	size_t at = from;

	for (; at + 8 <= to; at += 8) {
		uint64_t word = pattern_word(seed, at / 8);
		memcpy(bytes + at, &word, 8);
	}
	uint64_t word = pattern_word(seed, at / 8);
	memcpy(bytes + at, &word, to > at ? to - at : 0);
}

/* The offset of the first byte that is not what fill_range wrote, or to. */
static inline size_t find_damage(const void *block, size_t from, size_t to, uint64_t seed)
{
	const unsigned char *bytes = (const unsigned char *)block;
	size_t at = from;

	for (; at + 8 <= to; at += 8) {
		uint64_t word;
		memcpy(&word, bytes + at, 8);
		if (word != pattern_word(seed, at / 8))
			break;
	}
	uint64_t wanted = pattern_word(seed, at / 8);
	for (size_t i = 0; at + i < to && i < 8; i++)
		if (bytes[at + i] != (unsigned char)(wanted >> (8 * i)))
			return at + i;
	return to;
}

static inline void fill(void *block, size_t size, uint64_t seed)
{
	fill_range(block, 0, size, seed);
}

static inline bool is_intact(const void *block, size_t size, uint64_t seed)
{
	return find_damage(block, 0, size, seed) == size;
}

static inline bool is_zero(const void *block, size_t size)
{
	const unsigned char *bytes = (const unsigned char *)block;

	return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

static inline bool is_aligned(const void *block, size_t alignment)
{
	return (uintptr_t)block % alignment == 0;
}

static inline size_t page_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/*
 * A field of /proc/self/statm, in bytes: 0 is address space, 1 is what is resident.  The file stays
 * open, for processes that cannot open one later; a child needs its own.
 */
static inline size_t statm_bytes(int field)
{
	static int file = -1;
	static pid_t owner;
	char text[256];
	char *at = text;
	unsigned long pages = 0;

	if (owner != getpid()) {
		file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
		owner = getpid();
	}
	ssize_t length = pread(file, text, sizeof(text) - 1, 0);
	REQUIRE(length > 0, "/proc/self/statm: %s", strerror(errno));
	text[length] = '\0';
	for (int i = 0; i <= field; i++)
		pages = strtoul(at, &at, 10);
	return (size_t)pages * page_bytes();
}

static inline size_t mapped_now(void)
{
	return statm_bytes(0);
}

static inline size_t resident_now(void)
{
	return statm_bytes(1);
}

/* Memory for a test's own tables, which must not disturb what it measures.  Zeroed, never freed. */
static inline void *table_of(size_t count, size_t size)
{
	void *table = mmap(NULL, count * size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	REQUIRE(table != MAP_FAILED, "mmap of a table");
	return table;
}

static inline void sleep_ms(long milliseconds)
{
	struct timespec left = { .tv_sec = milliseconds / 1000,
				 .tv_nsec = milliseconds % 1000 * 1000000 };

	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		;
}

static inline double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

#endif
