/* SPDX-License-Identifier: MIT */
/*
 * threads.c: threads that come and go: thousands of them, with destructors that allocate after the
 * allocator's own, cancelled ones, idle ones, and the end of the process among running threads.
 */
#include "../lib/blocks.h"

#include "../../src/pyarena.h"

#include <pthread.h>

#define GROWTH_LIMIT (12 * MIB)

static struct tap_option options[] = {
	{ "threads", 10000, "threads made and ended by a point" },
	{ NULL, 0, NULL },
};

static void start(pthread_t *thread, void *(*body)(void *), void *argument)
{
	int error = pthread_create(thread, NULL, body, argument);

	REQUIRE(error == 0, "pthread_create: %s", strerror(error));
}

/* Some blocks of many sizes, freed in another order; returns one that is still in use. */
static void *allocate_a_little(uint64_t random)
{
	void *blocks[40];

	for (size_t i = 0; i < COUNT_OF(blocks); i++) {
		size_t size = random_below(&random, (size_t)1 << random_below(&random, 15)) + 1;
		blocks[i] = CALL(malloc)(size);
		REQUIRE(blocks[i] != NULL);
		memset(blocks[i], (int)i, size);
	}
	for (size_t i = 1; i < COUNT_OF(blocks); i++)
		CALL(free)(blocks[i * 7 % COUNT_OF(blocks)]);
	return blocks[0];
}

static void *live_briefly(void *argument)
{
	return allocate_a_little((uint64_t)(uintptr_t)argument);
}

/* Threads in groups of four; what each leaves behind is freed here, or by the next one. */
static void run_threads(uint64_t count, void *(*body)(void *))
{
	pthread_t threads[4];

	for (uint64_t i = 0; i < count; i += COUNT_OF(threads)) {
		for (size_t j = 0; j < COUNT_OF(threads); j++)
			start(&threads[j], body, (void *)(uintptr_t)(i + j + 1));
		for (size_t j = 0; j < COUNT_OF(threads); j++) {
			void *left = NULL;
			pthread_join(threads[j], &left);
			CALL(free)(left);
		}
	}
}

static size_t heaps_now(void)
{
	size_t (*heap_stats)(struct pyarena_heap_stats *, size_t);
	void *symbol = dlsym(RTLD_DEFAULT, "pyarena_heap_stats");

	memcpy(&heap_stats, &symbol, sizeof(symbol));
	return symbol == NULL ? 0 : heap_stats(NULL, 0);
}

/* After a first tenth, nothing grows: neither memory nor address space nor heaps. */
static void check_no_growth(uint64_t count, void *(*body)(void *))
{
	run_threads(count / 10, body);
	size_t mapped = mapped_now();
	size_t resident = resident_now();
	run_threads(count - count / 10, body);
	size_t mapped_after = mapped_now();
	size_t resident_after = resident_now();
	/* The C library makes up to eight arenas of 64 MiB for each processor, whenever it likes. */
	size_t limit =
		tap_has_library() ? GROWTH_LIMIT : (size_t)sysconf(_SC_NPROCESSORS_CONF) * 512 * MIB;
	EXPECT(mapped_after < mapped + limit, "mapped %zu KiB, then %zu KiB", mapped / KIB,
	       mapped_after / KIB);
	EXPECT(resident_after < resident + GROWTH_LIMIT, "resident %zu KiB, then %zu KiB",
	       resident / KIB, resident_after / KIB);
	EXPECT(heaps_now() <= 16, "%zu heaps", heaps_now());
}

static void many_threads_come_and_go(void)
{
	check_no_growth(tap_value("threads"), live_briefly);
}

/* Destructors in three forms, each of which allocates and frees, and some set themselves again. */
#define KEYS 8
static pthread_key_t keys[KEYS];
static int destructors_run; /* [atomic] */

struct heritage {
	int rounds;
	size_t key;
	void *block;
};

static void destroy_heritage(void *value)
{
	struct heritage *heritage = (struct heritage *)value;

	__atomic_add_fetch(&destructors_run, 1, __ATOMIC_RELAXED);
	CALL(free)(heritage->block);
	CALL(free)(allocate_a_little((uint64_t)(uintptr_t)heritage));
	if (heritage->rounds == 0) {
		CALL(free)(heritage);
		return;
	}
	struct heritage *next = (struct heritage *)CALL(malloc)(sizeof(*next));
	REQUIRE(next != NULL);
	*next = *heritage;
	next->rounds--;
	next->block = CALL(calloc)(1, 3000);
	CALL(free)(heritage);
	pthread_setspecific(keys[next->key], next);
}

/* As C++ destroys its thread-local objects. */
int __cxa_thread_atexit_impl(void (*destroy)(void *), void *object, void *library);
extern void *__dso_handle;

static void destroy_object(void *object)
{
	__atomic_add_fetch(&destructors_run, 1, __ATOMIC_RELAXED);
	CALL(free)(object);
	CALL(free)(allocate_a_little(5));
}

static void *leave_heritage(void *argument)
{
	for (size_t i = 0; i < KEYS; i++) {
		struct heritage *heritage = (struct heritage *)CALL(malloc)(sizeof(*heritage));
		REQUIRE(heritage != NULL);
		heritage->rounds = (int)(i % 4);
		heritage->key = i;
		heritage->block = CALL(malloc)(100 * i);
		pthread_setspecific(keys[i], heritage);
	}
	for (size_t i = 0; i < 3; i++)
		__cxa_thread_atexit_impl(destroy_object, CALL(malloc)(50), __dso_handle);
	return live_briefly(argument);
}

static void destructors_allocate(void)
{
	uint64_t count = (tap_value("threads") / 5 + 3) / 4 * 4;
	uint64_t each = 3;

	for (size_t i = 0; i < KEYS; i++) {
		REQUIRE(pthread_key_create(&keys[i], destroy_heritage) == 0);
		each += 1 + i % 4;
	}
	check_no_growth(count, leave_heritage);
	EXPECT((uint64_t)destructors_run >= count / 10 * each, "%d destructors", destructors_run);
}

/* A thread whose first and only call of the allocator is in a destructor. */
static void *set_a_key(void *argument)
{
	static int anything;

	pthread_setspecific(keys[0], &anything);
	return argument == NULL ? NULL : NULL;
}

static void allocate_for_the_first_time(void *value)
{
	CALL(free)(allocate_a_little((uint64_t)(uintptr_t)value));
}

static void destructor_is_the_first_call(void)
{
	REQUIRE(pthread_key_create(&keys[0], allocate_for_the_first_time) == 0);
	check_no_growth(tap_value("threads") / 5, set_a_key);
}

static void free_in_cleanup(void *block)
{
	CALL(free)(block);
}

static void allocate_and_test(uint64_t random)
{
	void *block = CALL(malloc)(random % 50000);

	pthread_cleanup_push(free_in_cleanup, block);
	CALL(free)(allocate_a_little(random));
	pthread_testcancel();
	pthread_cleanup_pop(1);
}

static void *allocate_until_cancelled(void *argument)
{
	uint64_t random = (uint64_t)(uintptr_t)argument;

	for (;;)
		allocate_and_test(random_next(&random));
	return NULL;
}

static void cancelled_threads(void)
{
	uint64_t count = tap_value("threads") / 20;
	size_t resident = 0;

	for (uint64_t i = 0; i < count; i++) {
		pthread_t thread;
		void *result = NULL;
		start(&thread, allocate_until_cancelled, (void *)(uintptr_t)(i + 1));
		if (i % 4 != 0)
			sleep_ms(i % 4 == 1 ? 1 : 0);
		REQUIRE(pthread_cancel(thread) == 0);
		REQUIRE(pthread_join(thread, &result) == 0);
		EXPECT(result == PTHREAD_CANCELED);
		if (i == count / 10)
			resident = resident_now();
	}
	EXPECT(resident_now() < resident + GROWTH_LIMIT, "resident %zu KiB, then %zu KiB",
	       resident / KIB, resident_now() / KIB);
}

/* No function of the allocator may act on a cancellation that is pending. */
static bool came_through;

static void *allocate_with_cancellation_pending(void *argument)
{
	void *blocks[200];

	pthread_cancel(pthread_self());
	for (size_t round = 0; round < 4; round++) {
		for (size_t i = 0; i < COUNT_OF(blocks); i++) {
			size_t size = i % 10 == 0 ? 2 * MIB : i * 300;
			blocks[i] = i % 3 == 0 ? CALL(memalign)(256, size) : CALL(calloc)(1, size);
			REQUIRE(blocks[i] != NULL);
			memset(blocks[i], 1, size);
		}
		for (size_t i = 0; i < COUNT_OF(blocks); i++)
			blocks[i] = CALL(realloc)(blocks[i], i * 700 + 1);
		for (size_t i = 0; i < COUNT_OF(blocks); i++)
			CALL(free)(blocks[i]);
		CALL(malloc_trim)(0);
		REQUIRE(mallinfo2().uordblks < (size_t)1 << 40);
	}
	came_through = true;
	pthread_testcancel();
	return argument;
}

static void no_function_is_a_cancellation_point(void)
{
	pthread_t thread;
	void *result = NULL;

	start(&thread, allocate_with_cancellation_pending, NULL);
	pthread_join(thread, &result);
	EXPECT(came_through);
	EXPECT(result == PTHREAD_CANCELED);
}

static pthread_barrier_t barrier;

static void *hold_a_little_and_wait(void *argument)
{
	void *block = CALL(malloc)(1000);

	REQUIRE(block != NULL);
	memset(block, 1, 1000);
	CALL(free)(CALL(malloc)(50));
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	CALL(free)(block);
	return argument;
}

static void *wait_only(void *argument)
{
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	return argument;
}

/* What one of 200 threads costs, all there at the same time. */
static size_t resident_each(void *(*body)(void *))
{
	enum { COUNT = 200 };
	static pthread_t threads[COUNT];
	pthread_attr_t attributes;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 64 * KIB);
	pthread_barrier_init(&barrier, NULL, COUNT + 1);
	size_t before = resident_now();
	for (size_t i = 0; i < COUNT; i++)
		REQUIRE(pthread_create(&threads[i], &attributes, body, NULL) == 0);
	pthread_barrier_wait(&barrier);
	size_t after = resident_now();
	pthread_barrier_wait(&barrier);
	for (size_t i = 0; i < COUNT; i++)
		pthread_join(threads[i], NULL);
	return after > before ? (after - before) / COUNT : 0;
}

static void idle_threads_are_cheap(void)
{
	resident_each(wait_only); /* the stacks are there from now on */
	size_t bare = resident_each(wait_only);
	size_t each = resident_each(hold_a_little_and_wait);

	tap_note("%zu KiB resident for each thread, of which %zu KiB are not the allocator's",
		 each / KIB, bare / KIB);
	EXPECT(each < bare + 48 * KIB);
	EXPECT(heaps_now() <= 208, "%zu heaps", heaps_now());
}

static void *allocate_for_ever(void *argument)
{
	uint64_t random = (uint64_t)(uintptr_t)argument;

	for (;;)
		CALL(free)(allocate_a_little(random_next(&random)));
	return NULL;
}

static void *kept[100];

static void free_at_exit(void)
{
	for (size_t i = 0; i < COUNT_OF(kept); i++)
		CALL(free)(kept[i]);
	CALL(free)(allocate_a_little(9));
	CALL(malloc_trim)(0);
	for (size_t i = 0; i < COUNT_OF(kept); i++)
		kept[i] = CALL(malloc)(i * 1000);
}

/* exit() in a child while its other threads go on allocating; handlers allocate and free. */
static void exit_among_running_threads(void)
{
	for (int i = 0; i < 60; i++) {
		fflush(NULL);
		pid_t child = fork();
		if (child == 0) {
			pthread_t thread;
			alarm(60);
			REQUIRE(atexit(free_at_exit) == 0);
			for (size_t j = 0; j < COUNT_OF(kept); j++)
				kept[j] = CALL(malloc)(j * 500);
			for (int j = 0; j < 4; j++)
				start(&thread, allocate_for_ever, (void *)(uintptr_t)(j + 1));
			sleep_ms(i % 4);
			exit(tap_status());
		}
		REQUIRE(child > 0 && tap_child_succeeded(child, "child"));
	}
}

static void *outlive_main(void *argument)
{
	double end = seconds_now() + 0.05;

	while (seconds_now() < end)
		CALL(free)(allocate_a_little((uint64_t)(uintptr_t)argument));
	return NULL;
}

/* The main thread is the first to end, by pthread_exit. */
static void main_thread_ends_first(void)
{
	for (int i = 0; i < 10; i++) {
		pid_t child = fork();
		if (child == 0) {
			pthread_t thread;
			alarm(60);
			for (int j = 0; j < 3; j++)
				start(&thread, outlive_main, (void *)(uintptr_t)(j + 1));
			pthread_exit(NULL);
		}
		REQUIRE(child > 0 && tap_child_succeeded(child, "child"));
	}
}

static const struct tap_point points[] = {
	{ "many_threads_come_and_go", many_threads_come_and_go },
	{ "destructors_allocate", destructors_allocate },
	{ "destructor_is_the_first_call", destructor_is_the_first_call },
	{ "cancelled_threads", cancelled_threads },
	{ "no_function_is_a_cancellation_point", no_function_is_a_cancellation_point },
	{ "idle_threads_are_cheap", idle_threads_are_cheap },
	{ "exit_among_running_threads", exit_among_running_threads },
	{ "main_thread_ends_first", main_thread_ends_first },
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, points, options);
}
