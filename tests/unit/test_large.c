/* SPDX-License-Identifier: MIT */
/*
 * test_large.c: large objects, their table and the cache of freed mappings.  The module's source is
 * part of this program, in place of the engine's, so that the table can be looked at.
 */
#include "large.c" /* first: the tests' headers have macros of their own */

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "capture.h"
#include "dice.h"
#include "machine.h"

#define OBJECTS 3000u
#define PAGE 4096u

static uint64_t mapped_before, dirty_before;

static void keep(size_t bytes)
{
	pa_reserve_set(&(struct pa_keep_option){ PA_KEEP_BYTES, bytes });
}

static int begin(void **state)
{
	(void)state;
	keep(0);
	pa_large_shrink(PA_RESERVE_NOTHING);
	large.is_guarded = false;
	memset(large.ghosts, 0, sizeof large.ghosts);
	memset(large.filling, 0, sizeof large.filling);
	keep(PA_MIB * 256);
	mapped_before = pa_load_relaxed(&pa_reserve.mapped_units);
	dirty_before = (uint64_t)pa_load_relaxed(&pa_reserve.dirty_units);
	return 0;
}

/* As a heap does. */
static char *make(size_t bytes, size_t align, bool *is_zero)
{
	struct pa_large_new made = pa_large_allocate(bytes, align);

	if (made.start)
		pa_large_populate(&made, is_zero != NULL);
	if (is_zero)
		*is_zero = made.had == 0;
	return made.start;
}

/* Every entry can be found from its home, and the sums are right. */
static void check(void)
{
	size_t count = 0, bytes = 0;

	for (size_t i = 0; large.table && i < large.table->capacity; i++) {
		struct pa_mapping *entry = &large.table->entries[i];
		if (!entry->start)
			continue;
		assert_ptr_equal(probe(large.table, entry->start), entry);
		count++;
		bytes += entry->bytes;
	}
	assert_int_equal(large.count, count);
	assert_int_equal(large.bytes, bytes);
	if (large.table)
		assert_true(2 * large.count <= large.table->capacity);
	size_t cached_bytes = large.freed.bytes;
	assert_int_equal((uint64_t)pa_load_relaxed(&pa_reserve.dirty_units) - dirty_before,
			 cached_bytes / PAGE);
	assert_int_equal(pa_load_relaxed(&pa_reserve.mapped_units), (bytes + cached_bytes) / PAGE);
	assert_int_equal(pa_load_relaxed(&pa_reserve.resident_units), (bytes + cached_bytes) / PAGE);
	assert_int_equal(pa_load_relaxed(&pa_reserve.live_units), bytes / PAGE);
}

static size_t resident_bytes(char *p, size_t bytes)
{
	unsigned char pages[4096];
	size_t count = 0;

	assert_true(bytes / PAGE <= sizeof pages);
	assert_int_equal(mincore(p, bytes, pages), 0);
	for (size_t i = 0; i < bytes / PAGE; i++)
		count += pages[i] & 1;
	return count * PAGE;
}

static bool is_mapped(const void *p)
{
	unsigned char resident;

	return mincore((void *)(uintptr_t)p, PAGE, &resident) == 0;
}

static char *allocate(size_t bytes)
{
	bool is_zero;
	char *p = make(bytes, 1, &is_zero);

	assert_non_null(p);
	assert_int_equal((uintptr_t)p % PAGE, 0);
	return p;
}

/* In a child: whether a write there ends it. */
static bool is_guarded(char *p)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		signal(SIGSEGV, SIG_DFL);
		*(volatile char *)p = 1;
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static void test_table_is_guarded(void **state)
{
	(void)state;

	pa_large_free(allocate(PA_MIB));
	assert_false(is_guarded((char *)large.table));
	assert_true(is_guarded((char *)large.table - 1));
	assert_true(is_guarded((char *)large.table - PAGE));
}

static void test_one_object(void **state)
{
	bool is_zero = false;
	(void)state;
	need_pages_of_at_most(PA_UNIT_BYTES);

	char *p = make(300001, 1, &is_zero);
	assert_non_null(p);
	assert_true(is_zero);
	assert_int_equal(pa_large_bytes(p), 303104);
	assert_int_equal(pa_large_bytes(p + PAGE), 0);
	assert_int_equal(pa_large_bytes(p - PAGE), 0);
	assert_int_equal(pa_large_bytes(p + 1), 0);
	assert_int_equal(pa_large_bytes(NULL), 0);
	for (size_t i = 0; i < 303104; i++)
		assert_int_equal(p[i], 0);
	memset(p, 1, 303104);
	check();
	assert_false(pa_large_free(p + PAGE));
	assert_false(pa_large_free(NULL));
	assert_true(pa_large_free(p));
	assert_false(pa_large_free(p));
	assert_int_equal(pa_large_bytes(p), 0);
	check();
}

static void test_alignment(void **state)
{
	char *p[20];
	unsigned n = 0;
	(void)state;
	need_pages_of_at_most(PA_UNIT_BYTES);

	for (size_t align = 1; align <= 8 * PA_MIB; align *= 2) {
		bool is_zero;
		if (n == 20)
			break;
		p[n] = make(100 + align / 2, align, &is_zero);
		assert_non_null(p[n]);
		assert_int_equal((uintptr_t)p[n] % align, 0);
		assert_int_equal(pa_large_bytes(p[n]), pa_round_up(100 + align / 2, PAGE));
		p[n][0] = p[n][99 + align / 2] = 1;
		n++;
	}
	check();
	while (n > 0)
		assert_true(pa_large_free(p[--n]));
	check();
}

static void test_impossible_sizes(void **state)
{
	bool is_zero;
	(void)state;

	assert_null(make(PA_REQUEST_MAX, 1, &is_zero));
	assert_null(make(SIZE_MAX, 1, &is_zero));
	assert_null(make(PA_REQUEST_MAX - 2 * PAGE, 1, &is_zero));
	assert_null(make(PAGE, (size_t)1 << 62, &is_zero));
	check();
	char *p = allocate(PA_MIB);
	strcpy(p, "still here");
	assert_null(pa_large_resize(p, SIZE_MAX));
	assert_null(pa_large_resize(p, PA_REQUEST_MAX - 2 * PAGE));
	assert_int_equal(pa_large_bytes(p), PA_MIB);
	assert_string_equal(p, "still here");
	check();
	pa_large_free(p);
}

static void shuffle(struct dice *dice, char **p, unsigned count)
{
	for (unsigned i = count; i > 1; i--) {
		unsigned j = dice_below(dice, i);
		char *other = p[i - 1];
		p[i - 1] = p[j];
		p[j] = other;
	}
}

static void test_many_objects(void **state)
{
	static char *p[OBJECTS];
	struct dice dice = { 8 };
	(void)state;
	need_pages_of_at_most(PA_UNIT_BYTES);

	for (unsigned i = 0; i < OBJECTS; i++) {
		p[i] = allocate(PAGE * (1 + i % 7));
		*(unsigned *)p[i] = i % 7;
		if (i % 100 == 0)
			check();
	}
	check();
	shuffle(&dice, p, OBJECTS);
	for (unsigned i = 0; i < OBJECTS; i++) {
		assert_int_equal(pa_large_bytes(p[i]), PAGE * (1 + *(unsigned *)p[i]));
		assert_true(pa_large_free(p[i]));
		assert_int_equal(pa_large_bytes(p[i]), 0);
		if (i % 64 == 0) {
			check();
			for (unsigned j = i + 1; j < OBJECTS; j++)
				assert_int_not_equal(pa_large_bytes(p[j]), 0);
		}
	}
	check();
	assert_int_equal(large.count, 0);
}

/* Entries that all have one home, at the end of the table, so that they go on at its start. */
static void test_removal_across_the_end_of_the_table(void **state)
{
	struct dice dice = { 9 };
	enum { CHAIN = 12 };
	char *starts[CHAIN];
	(void)state;

	if (!large.table)
		pa_large_free(allocate(PA_MIB));
	for (unsigned round = 0; round < 200; round++) {
		unsigned n = 0;
		size_t mask = large.table->capacity - 1;
		/* Addresses that are never used, only entered. */
		for (uintptr_t unit = 1 + dice_below(&dice, 100000); n < CHAIN; unit++) {
			char *start = (char *)(unit << PA_UNIT_SHIFT);
			size_t home = home_of(large.table, start);
			if (((home + 4) & mask) < 6)
				starts[n++] = start;
		}
		for (unsigned i = 0; i < CHAIN; i++)
			insert_locked((struct pa_mapping){ starts[i], PAGE * (i + 1) });
		shuffle(&dice, starts, CHAIN);
		for (unsigned i = 0; i < CHAIN; i++) {
			remove_locked(find_locked(starts[i]));
			for (unsigned j = 0; j < CHAIN; j++)
				assert_int_equal(find_locked(starts[j]) != NULL, j > i);
		}
		check();
	}
}

/* Objects with others between them, so that they are no neighbours once they are freed. */
static void allocate_apart(unsigned count, const size_t *mib, char **p, char **between)
{
	for (unsigned i = 0; i < count; i++) {
		p[i] = allocate(mib[i] * PA_MIB);
		between[i] = allocate(PA_MIB); /* too large for gaps elsewhere */
	}
}

/* An object that its user fills up to a share of it in sixteenths, from the front. */
static char *make_filled(size_t bytes, size_t sixteenths, bool *is_zero)
{
	char *p = make(bytes, 1, is_zero);

	assert_non_null(p);
	assert_int_equal(resident_bytes(p, bytes), 0);
	memset(p, 3, bytes / 16 * sixteenths);
	return p;
}

/* The next one is resident before it is touched, or not at all. */
static void check_next(size_t bytes, bool *is_zero, size_t resident)
{
	char *p = make(bytes, 1, is_zero);

	assert_non_null(p);
	assert_int_equal(resident_bytes(p, bytes), resident);
	for (size_t i = 0; i < resident; i += PAGE / 2)
		assert_int_equal(p[i], 0);
	assert_true(pa_large_free(p));
}

static void test_what_is_filled_is_populated(void **state)
{
	bool is_zero;
	(void)state;

	need_a_kernel();
	need_pages_of_at_most(PA_UNIT_BYTES);
	keep(0);
	for (unsigned i = 0; i < PA_FILLING_EVIDENCE; i++)
		assert_true(pa_large_free(make_filled(PA_MIB, 15, NULL)));
	check_next(PA_MIB, NULL, PA_MIB);
	check_next(3 * PA_MIB / 2, NULL, 3 * PA_MIB / 2); /* the same doubling */
	check_next(2 * PA_MIB, NULL, 0);
	check_next(PA_MIB, &is_zero, 0); /* those that have to be zero are told apart */
	assert_true(is_zero);
	check();
}

static void test_what_is_not_filled_comes_page_by_page(void **state)
{
	(void)state;
	keep(0);
	for (unsigned i = 0; i < 3 * PA_FILLING_INTERVAL; i++) {
		char *p = make(PA_MIB, 1, NULL);
		assert_int_equal(resident_bytes(p, PA_MIB), 0);
		memset(p, 3, PA_MIB / 16 * 15 - PAGE);
		assert_true(pa_large_free(p));
	}
}

/* Filled, and living on: the next one is looked at, and so on.  What grows ends as what it was. */
static void test_filling_is_seen_while_it_lives(void **state)
{
	char *p[PA_FILLING_EVIDENCE];
	bool is_zero;
	(void)state;

	need_a_kernel();
	need_pages_of_at_most(PA_UNIT_BYTES);
	keep(0);
	for (unsigned i = 0; i < PA_FILLING_EVIDENCE; i++)
		p[i] = make_filled(PA_MIB, 16, &is_zero);
	p[0] = pa_large_resize(p[0], 2 * PA_MIB);
	p[1] = pa_large_resize(p[1], 2 * PA_MIB);
	assert_int_equal(resident_bytes(p[1], 2 * PA_MIB), PA_MIB);
	check_next(PA_MIB, &is_zero, PA_MIB);
	assert_true(is_zero);
	for (unsigned i = 0; i < PA_FILLING_EVIDENCE; i++)
		assert_true(pa_large_free(p[i]));
	check();
}

/* Only so much, and of what is cached and grown only the rest. */
static void test_populated_parts(void **state)
{
	(void)state;
	need_a_kernel();
	need_pages_of_at_most(PA_UNIT_BYTES);
	keep(0);
	for (unsigned i = 0; i < PA_FILLING_EVIDENCE; i++) {
		assert_true(pa_large_free(make_filled(POPULATE_MAX, 16, NULL)));
		assert_true(pa_large_free(make_filled(3 * PA_MIB, 16, NULL)));
	}
	char *p = make(POPULATE_MAX + PA_MIB - PAGE, 1, NULL);
	assert_int_equal(resident_bytes(p, POPULATE_MAX), POPULATE_MAX);
	assert_int_equal(resident_bytes(p + POPULATE_MAX, PA_MIB - PAGE), 0);
	assert_true(pa_large_free(p));
	keep(256 * PA_MIB);
	p = allocate(2 * PA_MIB);
	memset(p, 9, 2 * PA_MIB);
	assert_true(pa_large_free(p));
	p = make(3 * PA_MIB, 1, NULL);
	assert_int_equal(p[0], 9);
	assert_int_equal(resident_bytes(p, 3 * PA_MIB), 3 * PA_MIB);
	assert_true(pa_large_free(p));
	check();
}

/* What was cut before it was filled was not filled. */
static void test_what_is_cut_is_not_filled(void **state)
{
	char *p;
	(void)state;

	keep(0);
	for (unsigned i = 0; i < PA_FILLING_EVIDENCE; i++)
		assert_true(pa_large_free(make_filled(PA_MIB, 16, NULL)));
	while (p = make(PA_MIB, 1, NULL), resident_bytes(p, PA_MIB) > 0)
		assert_true(pa_large_free(p));
	memset(p, 3, PA_MIB / 4);
	p = pa_large_resize(p, PA_MIB / 4);
	assert_true(pa_large_free(p));
	check_next(PA_MIB, NULL, 0);
	check();
}

/* An object that is cached beyond what would be populated; and one that is cleared, so tells nothing of its user. */
static void test_grown_from_the_cache(void **state)
{
	bool is_zero;
	(void)state;

	need_a_kernel();
	need_pages_of_at_most(PA_UNIT_BYTES);
	for (unsigned i = 0; i < PA_FILLING_EVIDENCE; i++) {
		keep(0);
		assert_true(pa_large_free(make_filled(POPULATE_MAX, 16, NULL)));
	}
	keep(256 * PA_MIB);
	assert_true(pa_large_free(allocate(POPULATE_MAX + PA_MIB)));
	char *p = make(POPULATE_MAX + 4 * PA_MIB, 1, NULL);
	assert_int_equal(resident_bytes(p + POPULATE_MAX + PA_MIB, 3 * PA_MIB), 0);
	assert_true(pa_large_free(p));
	keep(0);
	pa_large_shrink(PA_RESERVE_LIMIT);
	check_next(POPULATE_MAX, NULL, POPULATE_MAX);

	keep(256 * PA_MIB);
	memset(large.filling, 0, sizeof large.filling);
	assert_true(pa_large_free(make_filled(2 * PA_MIB, 0, NULL)));
	memset(large.filling, 0, sizeof large.filling);
	p = make(3 * PA_MIB, 1, &is_zero);
	assert_false(is_zero);
	assert_null(large.filling[0][3].watched.start);
	assert_null(large.filling[1][3].watched.start);
	assert_true(pa_large_free(p));
	check();
}

static void test_cache_fits_best(void **state)
{
	static const size_t mib[] = { 1, 3, 2 };
	char *p[3], *between[3];
	bool is_zero = true;
	(void)state;

	allocate_apart(3, mib, p, between);
	memset(p[2], 1, 2 * PA_MIB);
	for (unsigned i = 0; i < 3; i++)
		assert_true(pa_large_free(p[i]));
	assert_int_equal(large.freed.bytes, 6 * PA_MIB);
	check();
	/* Just that size. */
	assert_ptr_equal(make(2 * PA_MIB, 1, &is_zero), p[2]);
	assert_false(is_zero);
	/* The smallest that is larger, and its rest stays. */
	assert_ptr_equal(allocate(PA_MIB / 2), p[0]);
	assert_int_equal(large.freed.bytes, PA_MIB / 2 + 3 * PA_MIB);
	assert_ptr_equal(allocate(PA_MIB / 2), p[0] + PA_MIB / 2);
	check();
	/* Both halves, freed, are one again. */
	assert_true(pa_large_free(p[0] + PA_MIB / 2));
	assert_true(pa_large_free(p[0]));
	assert_ptr_equal(allocate(PA_MIB), p[0]);
	assert_true(pa_large_free(p[0]));
	/* The largest of those that are too small grows. */
	char *four = allocate(4 * PA_MIB);
	assert_int_equal(pa_large_bytes(four), 4 * PA_MIB);
	memset(four, 2, 4 * PA_MIB);
	assert_int_equal(large.freed.bytes, PA_MIB);
	check();
	assert_true(pa_large_free(four));
	assert_true(pa_large_free(p[2]));
	for (unsigned i = 0; i < 3; i++)
		assert_true(pa_large_free(between[i]));
	check();
}

/* What would have to grow to more than double is no help. */
static void test_cache_is_not_grown_much(void **state)
{
	bool is_zero = false;
	(void)state;

	assert_true(pa_large_free(allocate(PA_MIB)));
	char *p = make(2 * PA_MIB + 2 * PAGE, 1, &is_zero);
	assert_non_null(p);
	assert_true(is_zero);
	assert_int_equal(large.freed.bytes, PA_MIB);
	check();
	assert_true(pa_large_free(p));
}

/* An object that is cut leaves its end to the cache, and grows into it again: it stays where it is. */
static void test_resize_by_the_cache(void **state)
{
	(void)state;

	char *p = allocate(4 * PA_MIB);
	memset(p, 5, 4 * PA_MIB);
	assert_ptr_equal(pa_large_resize(p, PA_MIB), p);
	assert_int_equal(large.freed.bytes, 3 * PA_MIB);
	check();
	assert_ptr_equal(pa_large_resize(p, 2 * PA_MIB), p);
	assert_int_equal(large.freed.bytes, 2 * PA_MIB);
	assert_int_equal(p[2 * PA_MIB - 1], 5);
	check();
	/* Where nothing may be kept, the end goes at once. */
	keep(0);
	assert_ptr_equal(pa_large_resize(p, PA_MIB), p);
	assert_int_equal(large.freed.bytes, 0);
	assert_false(is_mapped(p + PA_MIB));
	check();
	assert_true(pa_large_free(p));
}

/* Right after it was given back; else it may have been too late to count. */
static void assert_refaults(uint64_t before, uint64_t began_ns, size_t bytes)
{
	uint64_t counted = pa_reserve_refault_units() - before;

	if (pa_os_clock_ns() - began_ns < PA_POLICY_WINDOW_NS / 2)
		assert_int_equal(counted, bytes / PAGE);
}

/* What was given back and would soon have been of use again is a refault, once, also as a part of something. */
static void test_given_back_too_soon(void **state)
{
	(void)state;

	keep(0);
	uint64_t before = pa_reserve_refault_units(), began_ns = pa_os_clock_ns();
	assert_true(pa_large_free(allocate(3 * PA_MIB)));
	char *small = allocate(PA_MIB);
	assert_refaults(before, began_ns, PA_MIB);
	char *large_one = allocate(8 * PA_MIB);
	assert_refaults(before, began_ns, 3 * PA_MIB);
	char *again = allocate(2 * PA_MIB);
	assert_refaults(before, began_ns, 3 * PA_MIB);
	assert_true(pa_large_free(small));
	assert_true(pa_large_free(large_one));
	assert_true(pa_large_free(again));
}

/* An object that takes a freed mapping and more lacks that much. */
static void test_given_back_in_part(void **state)
{
	(void)state;

	keep(4 * PA_MIB);
	uint64_t before = pa_reserve_refault_units(), began_ns = pa_os_clock_ns();
	assert_true(pa_large_free(allocate(6 * PA_MIB)));
	char *p = allocate(6 * PA_MIB);
	assert_refaults(before, began_ns, 2 * PA_MIB);
	assert_true(pa_large_free(p));
}

/* What is guarded is never kept, however much may be. */
static void test_guarded_ones_are_no_refaults(void **state)
{
	(void)state;

	keep(4 * PA_MIB);
	uint64_t before = pa_reserve_refault_units();
	assert_true(pa_large_guard());
	assert_true(pa_large_free(allocate(3 * PA_MIB)));
	assert_true(pa_large_free(allocate(3 * PA_MIB)));
	assert_int_equal(pa_reserve_refault_units(), before);
}

static void test_cache_is_within_the_reserve(void **state)
{
	static const size_t mib[] = { 2, 2, 2, 2 };
	char *p[4], *between[4];
	(void)state;

	keep(dirty_before * PAGE + 5 * PA_MIB);
	allocate_apart(4, mib, p, between);
	uint64_t purged = pa_load_relaxed(&pa_reserve.purged_units);
	for (unsigned i = 0; i < 4; i++)
		assert_true(pa_large_free(p[i]));
	assert_int_equal(large.freed.bytes, 5 * PA_MIB);
	assert_int_equal(pa_load_relaxed(&pa_reserve.purged_units) - purged, 3 * PA_MIB / PAGE);
	assert_false(is_mapped(p[0]));
	assert_true(is_mapped(p[1])); /* the end of it has gone */
	assert_false(is_mapped(p[1] + PA_MIB));
	check();
	/* Less is allowed now: the oldest go until it is enough. */
	keep(dirty_before * PAGE + 3 * PA_MIB);
	assert_int_equal(pa_large_shrink(PA_RESERVE_LIMIT), 2 * PA_MIB / PAGE);
	assert_false(is_mapped(p[1]));
	assert_true(is_mapped(p[3] + PA_MIB));
	assert_int_equal(pa_large_shrink(PA_RESERVE_LIMIT), 0);
	check();
	/* What was asked for in bytes is kept by an idle process too. */
	assert_int_equal(pa_large_shrink(PA_RESERVE_IDLE), 0);
	pa_store_relaxed(&pa_reserve.idle_units, dirty_before);
	assert_int_equal(pa_large_shrink(PA_RESERVE_IDLE), 3 * PA_MIB / PAGE);
	assert_int_equal(pa_large_shrink(PA_RESERVE_NOTHING), 0);
	assert_false(is_mapped(p[3]));
	check();
	for (unsigned i = 0; i < 4; i++)
		assert_true(pa_large_free(between[i]));
	check();
}

static void test_resize(void **state)
{
	struct dice dice = { 10 };
	size_t had = 3 * PA_MIB;
	(void)state;
	need_pages_of_at_most(PA_UNIT_BYTES);

	char *p = allocate(had), *neighbour = allocate(PA_MIB);
	memset(neighbour, 7, PA_MIB);
	for (size_t i = 0; i < had; i += 64)
		p[i] = (char)(i >> 12);
	for (unsigned n = 0; n < 200; n++) {
		size_t bytes = 1 + dice_below(&dice, 8 * PA_MIB), now = pa_round_up(bytes, PAGE);
		p = pa_large_resize(p, bytes);
		assert_non_null(p);
		assert_int_equal(pa_large_bytes(p), now);
		for (size_t i = 0; i < pa_min(had, now); i += PAGE)
			assert_int_equal(p[i], (char)(i >> 12));
		for (size_t i = had; i < now; i += PAGE)
			p[i] = (char)(i >> 12);
		had = now;
		check();
	}
	assert_null(pa_large_resize(p + PAGE, PAGE));
	for (size_t i = 0; i < PA_MIB; i += 256)
		assert_int_equal(neighbour[i], 7);
	assert_true(pa_large_free(p));
	assert_true(pa_large_free(neighbour));
	check();
}

/* What was seen is forgotten when it may have changed: also by a free and a new object in its place. */
static void test_bytes_seen_again(void **state)
{
	struct pa_large_seen seen = { 0 };
	(void)state;
	need_pages_of_at_most(PA_UNIT_BYTES);

	char *p = allocate(2 * PA_MIB);
	assert_int_equal(pa_large_bytes_again(&seen, p), 2 * PA_MIB);
	assert_int_equal(pa_large_bytes_again(&seen, p), 2 * PA_MIB);
	assert_int_equal(pa_large_bytes_again(&seen, p + PAGE), 0);
	assert_int_equal(pa_large_bytes_again(&seen, p), 2 * PA_MIB);
	p = pa_large_resize(p, PA_MIB);
	assert_int_equal(pa_large_bytes_again(&seen, p), PA_MIB);
	assert_true(pa_large_free(p));
	assert_int_equal(pa_large_bytes_again(&seen, p), 0);
	char *q = allocate(PA_MIB - PAGE); /* the cache has its place */
	assert_ptr_equal(q, p);
	assert_int_equal(pa_large_bytes_again(&seen, q), PA_MIB - PAGE);
	assert_true(pa_large_free(q));
}

static void test_counts(void **state)
{
	struct pa_large_counts counts;
	(void)state;

	char *p = allocate(PA_MIB), *q = allocate(2 * PA_MIB);
	pa_large_count(&counts);
	assert_int_equal(counts.objects, 2);
	assert_int_equal(counts.bytes, 3 * PA_MIB);
	assert_int_equal(counts.cached_bytes, 0);
	assert_in_range(counts.record_bytes, TABLE_FIRST * 16, 1024 * PA_KIB);
	assert_true(pa_large_free(p));
	pa_large_count(&counts);
	assert_int_equal(counts.objects, 1);
	assert_int_equal(counts.bytes, 2 * PA_MIB);
	assert_int_equal(counts.cached_bytes, PA_MIB);
	assert_true(pa_large_free(q));
}

/* A removal that a fork has torn: an entry is in two places. */
static void test_recover_from_a_doubled_entry(void **state)
{
	enum { COUNT = 2000 };
	static char *p[COUNT];
	(void)state;
	need_pages_of_at_most(PA_UNIT_BYTES);

	for (unsigned i = 0; i < COUNT; i++)
		p[i] = allocate((i % 9 + 1) * PAGE);
	assert_true(pa_large_free(allocate(5 * PA_MIB)));
	/* Some entry that is not at its home: its double there, where another one has just gone. */
	struct pa_mapping *moved = NULL;
	for (size_t i = 0; i < large.table->capacity && !moved; i++)
		if (large.table->entries[i].start &&
		    home_of(large.table, large.table->entries[i].start) != i)
			moved = &large.table->entries[i];
	assert_non_null(moved);
	struct pa_mapping *home = &large.table->entries[home_of(large.table, moved->start)];
	char *removed = home->start;
	size_t removed_bytes = home->bytes, cached_bytes = large.freed.bytes;
	*home = *moved;
	large.count--;
	large.bytes -= removed_bytes;
	pa_large_recover();
	count(-(int64_t)(removed_bytes + cached_bytes) / PAGE, 0); /* what the cache held is lost */
	check();
	assert_int_equal(large.freed.count, 0);
	assert_int_equal(large.count, COUNT - 1);
	for (unsigned i = 0; i < COUNT; i++) {
		assert_int_equal(pa_large_bytes(p[i]), p[i] == removed ? 0 : (i % 9 + 1) * PAGE);
		assert_int_equal(pa_large_free(p[i]), p[i] != removed);
	}
	check();
}

static _Atomic(bool) is_over;

/* Few sizes, so that the cache serves most: then the lock is held most of the time. */
static void *churn(void *argument)
{
	struct dice dice = { 11 };
	char *p[64] = { 0 };

	while (!pa_load_relaxed(&is_over)) {
		unsigned i = dice_below(&dice, 64);
		if (p[i])
			pa_large_free(p[i]);
		p[i] = p[i] ? NULL : make(PAGE * (4 + i % 2), 1, &(bool){ 0 });
	}
	return argument;
}

static bool is_sound(void)
{
	size_t count = 0, bytes = 0;

	for (size_t i = 0; i < large.table->capacity; i++) {
		struct pa_mapping *entry = &large.table->entries[i];
		if (!entry->start)
			continue;
		if (probe(large.table, entry->start) != entry || !is_mapped(entry->start))
			return false;
		count++;
		bytes += entry->bytes;
	}
	return large.count == count && large.bytes == bytes;
}

static void fork_in_the_midst(void)
{
	pthread_t thread;
	unsigned lost_locks = 0;

	if (pthread_create(&thread, NULL, churn, NULL) != 0)
		_exit(10);
	while (!pa_load_relaxed(&pa_reserve.mapped_units))
		;
	for (unsigned n = 0; n < 2000 && lost_locks < 20; n++) {
		int status;
		pid_t child = fork();
		if (child == 0) {
			bool is_holder;
			alarm(CAPTURE_SECONDS / 2);
			unsigned lost = pa_lock_after_fork_child(&is_holder);
			if (lost & 1u << PA_LOCK_LARGE)
				pa_large_recover();
			if (!is_sound())
				_exit(1);
			char *p = make(PA_MIB, 1, &(bool){ 0 });
			if (!p || !pa_large_free(p) || !is_sound())
				_exit(2);
			_exit(lost ? 3 : 0);
		}
		if (child < 0 || waitpid(child, &status, 0) != child)
			_exit(11);
		if (!WIFEXITED(status))
			_exit(12);
		if (WEXITSTATUS(status) == 3)
			lost_locks++;
		else if (status != 0)
			_exit(WEXITSTATUS(status));
	}
	pa_store_relaxed(&is_over, true);
	pthread_join(thread, NULL);
	_exit(lost_locks > 0 ? 0 : 13);
}

static void test_recover_after_forks(void **state)
{
	struct capture capture;
	(void)state;

	assert_int_equal(capture_child(fork_in_the_midst, &capture), 0);
}

static void *churn_with_contents(void *argument)
{
	struct dice dice = { 12 + (uintptr_t)argument };
	char *p[16] = { 0 };
	size_t bytes[16] = { 0 };

	for (unsigned n = 0; n < 3000; n++) {
		unsigned i = dice_below(&dice, 16);
		size_t whole = pa_round_up(bytes[i], pa_os_page_bytes());
		if (p[i] && (pa_large_bytes(p[i]) != whole || p[i][0] != (char)i ||
			     p[i][bytes[i] - 1] != (char)i || !pa_large_free(p[i])))
			return (void *)1;
		bytes[i] = PAGE * (1 + dice_below(&dice, 100));
		p[i] = make(bytes[i], 1, &(bool){ 0 });
		if (!p[i])
			return (void *)2;
		p[i][0] = p[i][bytes[i] - 1] = (char)i;
	}
	for (unsigned i = 0; i < 16; i++)
		if (p[i] && !pa_large_free(p[i]))
			return (void *)3;
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t threads[4];
	(void)state;

	for (uintptr_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, churn_with_contents, (void *)i), 0);
	for (unsigned i = 0; i < 4; i++) {
		void *failed;
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	check();
	assert_int_equal(large.count, 0);
}

#define point(test) cmocka_unit_test_setup(test, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		point(test_one_object),
		point(test_table_is_guarded),
		point(test_alignment),
		point(test_impossible_sizes),
		point(test_many_objects),
		point(test_removal_across_the_end_of_the_table),
		point(test_what_is_filled_is_populated),
		point(test_what_is_not_filled_comes_page_by_page),
		point(test_filling_is_seen_while_it_lives),
		point(test_populated_parts),
		point(test_what_is_cut_is_not_filled),
		point(test_grown_from_the_cache),
		point(test_cache_fits_best),
		point(test_cache_is_not_grown_much),
		point(test_resize_by_the_cache),
		point(test_given_back_too_soon),
		point(test_given_back_in_part),
		point(test_guarded_ones_are_no_refaults),
		point(test_cache_is_within_the_reserve),
		point(test_resize),
		point(test_bytes_seen_again),
		point(test_counts),
		point(test_recover_from_a_doubled_entry),
		point(test_recover_after_forks),
		point(test_threads),
	};

	return cmocka_run_group_tests_name("large", tests, NULL, NULL);
}
