/* SPDX-License-Identifier: MIT */
/*
 * limits.c: exhaustion.  Address space, data, mappings, file descriptors are limited, before the
 * program starts or while it runs, and it allocates until it gets NULL.  errno is then ENOMEM, what
 * it has stays intact, and what it frees can be had again in blocks of any size.
 */
#include "../lib/blocks.h"

#include <pthread.h>

#define BLOCKS_MAX ((size_t)4 << 20)
#define CHECKED ((size_t)64)
#define START_LIMIT ((size_t)400000 << 10) /* as `ulimit -v 400000` sets it */

struct pile {
	void **blocks;
	size_t count;
	size_t size;
};

static struct pile pile_of(size_t size)
{
	struct pile pile = { .size = size };

	pile.blocks = (void **)table_of(BLOCKS_MAX, sizeof(void *));
	return pile;
}

static size_t checked_bytes(const struct pile *pile)
{
	return pile->size < CHECKED ? pile->size : CHECKED;
}

/* Up to count more blocks, or until there is no more.  Whether all could be had. */
static bool pile_up(struct pile *pile, size_t count)
{
	for (size_t i = 0; i < count && pile->count < BLOCKS_MAX; i++) {
		errno = 0;
		void *block = CALL(malloc)(pile->size);
		if (block == NULL) {
			EXPECT(errno == ENOMEM, "errno is %d", errno);
			return false;
		}
		fill(block, checked_bytes(pile), pile->count);
		pile->blocks[pile->count++] = block;
	}
	return true;
}

static void check_pile(const struct pile *pile)
{
	for (size_t i = 0; i < pile->count; i++)
		if (pile->blocks[i] != NULL)
			EXPECT(is_intact(pile->blocks[i], checked_bytes(pile), i),
			       "block %zu of %zu bytes", i, pile->size);
}

static void clear_pile(struct pile *pile)
{
	while (pile->count > 0)
		CALL(free)(pile->blocks[--pile->count]);
}

/* Every second block goes, and as many of the same size come back. */
static void renew_half(struct pile *pile)
{
	size_t failed = 0;

	for (size_t i = 0; i < pile->count; i += 2)
		CALL(free)(pile->blocks[i]);
	for (size_t i = 0; i < pile->count; i += 2) {
		pile->blocks[i] = CALL(malloc)(pile->size);
		if (pile->blocks[i] == NULL)
			failed++;
		else
			fill(pile->blocks[i], checked_bytes(pile), i);
	}
	EXPECT(failed * 100 <= pile->count, "%zu of %zu blocks of %zu bytes did not come back", failed,
	       pile->count, pile->size);
	check_pile(pile);
}

static const size_t pile_sizes[] = { 100, 1000, 30000, 200000, 5000000 };

/* All there is in blocks of one size after the other; room is what the limit leaves. */
static void exhaust(size_t room)
{
	struct pile piles[COUNT_OF(pile_sizes)];

	for (size_t s = 0; s < COUNT_OF(pile_sizes); s++)
		piles[s] = pile_of(pile_sizes[s]);
	for (size_t s = 0; s < COUNT_OF(pile_sizes); s++) {
		struct pile *pile = &piles[s];
		REQUIRE(!pile_up(pile, SIZE_MAX), "no end after %zu blocks of %zu bytes", pile->count,
			pile->size);
		EXPECT(pile->count * pile->size > room / 20 * 13,
		       "%zu of %zu bytes are %zu MiB of %zu MiB", pile->count, pile->size,
		       pile->count * pile->size / MIB, room / MIB);
		check_pile(pile);
		renew_half(pile);
		for (int again = 0; again < 3; again++) {
			errno = 0;
			EXPECT(CALL(malloc)(room) == NULL && errno == ENOMEM);
			errno = 0;
			EXPECT(CALL(calloc)(room, 1) == NULL && errno == ENOMEM);
			errno = 0;
			EXPECT(CALL(memalign)(MIB, room) == NULL && errno == ENOMEM);
			void *untouched = pile;
			EXPECT(CALL(posix_memalign)(&untouched, 64, room) == ENOMEM &&
			       untouched == pile);
			errno = 0;
			EXPECT(CALL(realloc)(pile->blocks[0], room) == NULL && errno == ENOMEM);
		}
		check_pile(pile);
		clear_pile(pile);
		/* What were pools of this size can be anything now. */
		void *big = CALL(malloc)(room / 2);
		EXPECT(big != NULL, "%zu MiB after blocks of %zu bytes were freed", room / 2 / MIB,
		       pile->size);
		CALL(free)(big);
	}
}

/* The tables have to be there before the limit is. */
static void limit_to(__rlimit_resource_t resource, size_t bytes)
{
	struct rlimit limit = { .rlim_cur = bytes, .rlim_max = bytes };

	REQUIRE(setrlimit(resource, &limit) == 0, "setrlimit: %s", strerror(errno));
}

static size_t tables_bytes(void)
{
	return COUNT_OF(pile_sizes) * BLOCKS_MAX * sizeof(void *);
}

static void address_space_lowered(void)
{
	CALL(free)(CALL(malloc)(100));
	limit_to(RLIMIT_AS, mapped_now() + tables_bytes() + 100 * MIB);
	exhaust(100 * MIB);
}

/* What the library keeps on purpose goes before a request fails. */
static void address_space_lowered_with_all_kept(void)
{
	tap_need_library();
	tap_restart_with("PYARENA_KEEP_FREE", "4G");
	address_space_lowered();
}

static void address_space_lowered_after_a_peak(void)
{
	struct pile pile = pile_of(1000);

	pile_up(&pile, 100000);
	clear_pile(&pile);
	CALL(malloc_trim)(0);
	limit_to(RLIMIT_AS, mapped_now() + tables_bytes() + 60 * MIB);
	exhaust(60 * MIB);
}

/* In this process or one that it becomes: limited before anything of it runs. */
static void start_limited(void)
{
	struct rlimit limit;

	REQUIRE(getrlimit(RLIMIT_AS, &limit) == 0);
	if (limit.rlim_cur == START_LIMIT)
		return;
	limit_to(RLIMIT_AS, START_LIMIT);
	tap_restart();
}

static void address_space_limited_at_start(void)
{
	start_limited();
	REQUIRE(mapped_now() < START_LIMIT / 4, "%zu MiB mapped at start", mapped_now() / MIB);
	exhaust(START_LIMIT - mapped_now() - tables_bytes());
}

static void data_limited(void)
{
	CALL(free)(CALL(malloc)(100));
	limit_to(RLIMIT_DATA, statm_bytes(5) + tables_bytes() + 100 * MIB);
	exhaust(100 * MIB);
}

/* Not one more page. */
static void nothing_left(void)
{
	static const size_t shrinking_sizes[] = { 3000, 30000, 200000, 5000000 };
	void *shrinking[COUNT_OF(shrinking_sizes)];
	struct pile pile = pile_of(100);
	void *untouched = &pile;

	pile_up(&pile, 1000);
	for (size_t s = 0; s < COUNT_OF(shrinking); s++) {
		shrinking[s] = CALL(malloc)(shrinking_sizes[s]);
		REQUIRE(shrinking[s] != NULL);
		fill(shrinking[s], shrinking_sizes[s], s);
	}
	limit_to(RLIMIT_AS, mapped_now());
	EXPECT(!pile_up(&pile, SIZE_MAX));
	EXPECT(CALL(malloc)(100000) == NULL);
	EXPECT(CALL(calloc)(1, 10 * MIB) == NULL);
	EXPECT(CALL(posix_memalign)(&untouched, 4096, 3 * MIB) == ENOMEM && untouched == &pile);
	check_pile(&pile);
	renew_half(&pile);
	for (size_t s = 0; s < COUNT_OF(shrinking); s++) {
		for (size_t size = shrinking_sizes[s] / 2; size > 0; size /= 2) {
			void *smaller = CALL(realloc)(shrinking[s], size);
			EXPECT(smaller != NULL, "%zu bytes shrink to %zu", shrinking_sizes[s], size);
			if (smaller == NULL)
				break;
			shrinking[s] = smaller;
			EXPECT(is_intact(shrinking[s], size / 8 * 8, s), "%zu bytes shrink to %zu",
			       shrinking_sizes[s], size);
		}
	}
	EXPECT(mallinfo2().uordblks > 0);
	CALL(malloc_trim)(0);
	clear_pile(&pile);
	EXPECT(pile_up(&pile, 1000));
	check_pile(&pile);
}

static void growth_fails_and_leaves_the_block(void)
{
	static const size_t sizes[] = { 100, 5000, 40000, 200000, 3 * MIB };
	void *blocks[COUNT_OF(sizes)];

	for (size_t s = 0; s < COUNT_OF(sizes); s++) {
		blocks[s] = CALL(malloc)(sizes[s]);
		REQUIRE(blocks[s] != NULL);
		fill(blocks[s], sizes[s], s);
	}
	limit_to(RLIMIT_AS, mapped_now() + 20 * MIB);
	for (size_t s = 0; s < COUNT_OF(sizes); s++) {
		for (size_t wanted = 24 * MIB; wanted <= 1024 * MIB; wanted *= 2) {
			errno = 0;
			EXPECT(CALL(realloc)(blocks[s], wanted) == NULL && errno == ENOMEM,
			       "to %zu MiB", wanted / MIB);
		}
		EXPECT(is_intact(blocks[s], sizes[s], s), "%zu bytes", sizes[s]);
		void *moved = CALL(realloc)(blocks[s], sizes[s] + sizes[s] / 2);
		REQUIRE(moved != NULL, "%zu bytes grow by half", sizes[s]);
		EXPECT(is_intact(moved, sizes[s], s), "%zu bytes", sizes[s]);
		moved = CALL(realloc)(moved, sizes[s] / 2);
		REQUIRE(moved != NULL, "%zu bytes shrink to half", sizes[s]);
		EXPECT(find_damage(moved, 0, sizes[s] / 2 / 8 * 8, s) == sizes[s] / 2 / 8 * 8);
		CALL(free)(moved);
	}
}

static pthread_barrier_t all_are_made; /* whose stacks would find no room later */

static void *pile_up_and_clear(void *argument)
{
	struct pile *pile = (struct pile *)argument;

	pthread_barrier_wait(&all_are_made);
	for (int round = 0; round < 3; round++) {
		pile_up(pile, SIZE_MAX);
		check_pile(pile);
		clear_pile(pile);
	}
	pile_up(pile, 20);
	return NULL;
}

static void threads_compete_for_the_rest(void)
{
	pthread_t threads[COUNT_OF(pile_sizes)];
	struct pile piles[COUNT_OF(pile_sizes)];

	for (size_t s = 0; s < COUNT_OF(pile_sizes); s++)
		piles[s] = pile_of(pile_sizes[s]);
	pthread_barrier_init(&all_are_made, NULL, COUNT_OF(pile_sizes));
	limit_to(RLIMIT_AS, mapped_now() + COUNT_OF(pile_sizes) * 9 * MIB + 80 * MIB);
	for (size_t s = 0; s < COUNT_OF(pile_sizes); s++)
		REQUIRE(pthread_create(&threads[s], NULL, pile_up_and_clear, &piles[s]) == 0);
	for (size_t s = 0; s < COUNT_OF(pile_sizes); s++)
		pthread_join(threads[s], NULL);
	for (size_t s = 0; s < COUNT_OF(pile_sizes); s++) {
		check_pile(&piles[s]);
		clear_pile(&piles[s]);
	}
	void *big = CALL(malloc)(30 * MIB);
	EXPECT(big != NULL, "30 MiB of 80 MiB when all is free");
	CALL(free)(big);
}

static bool stop; /* [atomic] */

/* A thread that may find nothing left for its heap. */
static void *allocate_if_possible(void *argument)
{
	void *block = CALL(malloc)(3000);

	if (block != NULL)
		memset(block, 1, 3000);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		sleep_ms(10);
	CALL(free)(block);
	return argument;
}

static void *get_nothing(void *argument)
{
	size_t size = (size_t)(uintptr_t)argument;

	for (int i = 0; i < 100; i++)
		CALL(free)(CALL(malloc)(size));
	return NULL;
}

static void threads_until_no_more_can_be_made(void)
{
	enum { COUNT = 3000 };
	static pthread_t threads[COUNT];
	struct pile pile = pile_of(2000);
	pthread_attr_t attributes;
	pthread_t last;

	pile_up(&pile, 1000);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 256 * KIB);
	REQUIRE(pthread_create(&last, &attributes, get_nothing, (void *)10) == 0);
	pthread_join(last, NULL); /* loads what the end of a thread needs */
	limit_to(RLIMIT_AS, mapped_now() + 60 * MIB);
	size_t count = 0;
	while (count < COUNT &&
	       pthread_create(&threads[count], &attributes, allocate_if_possible, NULL) == 0)
		count++;
	EXPECT(count > 20 && count < COUNT, "%zu threads in 60 MiB", count);
	check_pile(&pile);
	renew_half(&pile);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (size_t i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	tap_note("%zu threads", count);
	check_pile(&pile);
	clear_pile(&pile);
}

static void fork_when_nothing_is_left(void)
{
	struct pile pile = pile_of(5000);

	limit_to(RLIMIT_AS, mapped_now() + 40 * MIB);
	pile_up(&pile, SIZE_MAX);
	for (int i = 0; i < 20; i++) {
		pid_t child = fork();
		if (child == 0) {
			alarm(60);
			check_pile(&pile);
			EXPECT(!pile_up(&pile, 10000));
			renew_half(&pile);
			clear_pile(&pile);
			EXPECT(pile_up(&pile, 100));
			_exit(tap_status());
		}
		REQUIRE(child > 0 && tap_child_succeeded(child, "child"));
	}
	renew_half(&pile);
	clear_pile(&pile);
}

static size_t max_map_count(void)
{
	char text[32] = "";
	int file = open("/proc/sys/vm/max_map_count", O_RDONLY);

	if (file < 0 || read(file, text, sizeof(text) - 1) <= 0)
		tap_skip("/proc/sys/vm/max_map_count cannot be read");
	close(file);
	return strtoul(text, NULL, 10);
}

/* With all mappings of the process used up, not even what splits a mapping can be given back. */
static void no_mapping_left(void)
{
	size_t most = max_map_count();
	size_t page = page_bytes();
	struct pile piles[COUNT_OF(pile_sizes)];
	struct pile more = pile_of(3 * MIB);

	if (most > 300000)
		tap_skip("vm.max_map_count is too high to use it up");
	for (size_t s = 0; s < COUNT_OF(pile_sizes); s++) {
		piles[s] = pile_of(pile_sizes[s]);
		pile_up(&piles[s], 20 * MIB / pile_sizes[s]);
	}
	size_t base = resident_now();
	size_t length = 2 * (most + 100) * page;
	char *region = (char *)mmap(NULL, length, PROT_NONE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	REQUIRE(region != MAP_FAILED);
	size_t at = 0;
	while (at < length && mprotect(region + at, page, PROT_READ | PROT_WRITE) == 0)
		at += 2 * page;
	REQUIRE(at < length, "%zu mappings and no end", at / page / 2);
	for (int round = 0; round < 3; round++) {
		for (size_t s = 0; s < COUNT_OF(pile_sizes); s++) {
			check_pile(&piles[s]);
			for (size_t i = (size_t)round; i < piles[s].count; i += 3) {
				CALL(free)(piles[s].blocks[i]);
				piles[s].blocks[i] = NULL;
			}
			CALL(malloc_trim)(0);
		}
		pile_up(&more, 5);
		check_pile(&more);
	}
	munmap(region, length);
	clear_pile(&more);
	for (size_t s = 0; s < COUNT_OF(pile_sizes); s++) {
		piles[s].count = 0;
		EXPECT(pile_up(&piles[s], 20 * MIB / pile_sizes[s]));
		check_pile(&piles[s]);
		clear_pile(&piles[s]);
	}
	if (tap_has_library()) {
		CALL(malloc_trim)(0);
		EXPECT(resident_now() < base, "resident %zu MiB with all blocks, %zu MiB with none",
		       base / MIB, resident_now() / MIB);
	}
}

static void rise_fall_and_calloc(void)
{
	for (size_t s = 0; s < COUNT_OF(pile_sizes); s++) {
		struct pile pile = pile_of(pile_sizes[s]);
		pile_up(&pile, 20 * MIB / pile_sizes[s]);
		for (size_t i = 0; i < pile.count; i++)
			memset(pile.blocks[i], 0xff, pile.size);
		for (size_t i = 0; i < pile.count; i++)
			if (i % 100 != 0)
				CALL(free)(pile.blocks[i]);
		CALL(malloc_trim)(0);
		for (size_t i = 0; i < pile.count; i++) {
			if (i % 100 == 0)
				continue;
			pile.blocks[i] = CALL(calloc)(1, pile.size);
			REQUIRE(pile.blocks[i] != NULL);
			EXPECT(is_zero(pile.blocks[i], pile.size), "block %zu of %zu bytes", i,
			       pile.size);
		}
		clear_pile(&pile);
	}
}

/* Pages that are locked cannot be purged. */
static void memory_is_locked(void)
{
	if (mlockall(MCL_CURRENT) != 0)
		tap_skip("this process may not lock memory");
	rise_fall_and_calloc();
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0)
		rise_fall_and_calloc();
	munlockall();
	rise_fall_and_calloc();
}

/* From now on neither /proc nor anything else can be opened. */
static void no_file_descriptor_left(void)
{
	rise_fall_and_calloc();
	limit_to(RLIMIT_NOFILE, 3);
	rise_fall_and_calloc();
	pthread_t thread;
	REQUIRE(pthread_create(&thread, NULL, get_nothing, (void *)5000) == 0);
	pthread_join(thread, NULL);
	pid_t child = fork();
	if (child == 0) {
		rise_fall_and_calloc();
		_exit(tap_status());
	}
	REQUIRE(child > 0 && tap_child_succeeded(child, "child"));
}

static const struct tap_point points[] = {
	{ "address_space_lowered", address_space_lowered },
	{ "address_space_lowered_with_all_kept", address_space_lowered_with_all_kept },
	{ "address_space_lowered_after_a_peak", address_space_lowered_after_a_peak },
	{ "address_space_limited_at_start", address_space_limited_at_start },
	{ "data_limited", data_limited },
	{ "nothing_left", nothing_left },
	{ "growth_fails_and_leaves_the_block", growth_fails_and_leaves_the_block },
	{ "threads_compete_for_the_rest", threads_compete_for_the_rest },
	{ "threads_until_no_more_can_be_made", threads_until_no_more_can_be_made },
	{ "fork_when_nothing_is_left", fork_when_nothing_is_left },
	{ "no_mapping_left", no_mapping_left },
	{ "memory_is_locked", memory_is_locked },
	{ "no_file_descriptor_left", no_file_descriptor_left },
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, points, NULL);
}
