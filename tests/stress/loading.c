/* SPDX-License-Identifier: MIT */
/*
 * loading.c: libraries that are loaded and unloaded while threads allocate, a second C library in
 * the same process, and storms of signals whose handlers do not allocate.
 */
#include "../lib/blocks.h"

#include <pthread.h>
#include <sys/time.h>

static struct tap_option options[] = {
	{ "seconds-each", 2, "how long a storm lasts" },
	{ NULL, 0, NULL },
};

static char plugin_path[4096];
static bool stop; /* [atomic] */

static void *allocate_on(void *argument)
{
	uint64_t random = (uint64_t)(uintptr_t)argument;
	struct {
		void *block;
		size_t size;
	} held[200];

	memset(held, 0, sizeof(held));
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		size_t i = random_below(&random, COUNT_OF(held));
		uint64_t power = random_below(&random, random_below(&random, 20) == 0 ? 21 : 12);
		if (held[i].block != NULL) {
			size_t known = held[i].size < 300 ? held[i].size : 300;
			REQUIRE(is_intact(held[i].block, known, i), "%p of %zu bytes", held[i].block,
				held[i].size);
		}
		held[i].size = random_below(&random, (uint64_t)1 << power) + 1;
		if (power % 2 == 0) {
			CALL(free)(held[i].block);
			held[i].block = CALL(malloc)(held[i].size);
		} else {
			held[i].block = CALL(realloc)(held[i].block, held[i].size);
		}
		REQUIRE(held[i].block != NULL);
		fill(held[i].block, held[i].size < 300 ? held[i].size : 300, i);
	}
	for (size_t i = 0; i < COUNT_OF(held); i++)
		CALL(free)(held[i].block);
	return NULL;
}

static void start(pthread_t *threads, size_t count, void *(*body)(void *))
{
	for (size_t i = 0; i < count; i++)
		REQUIRE(pthread_create(&threads[i], NULL, body, (void *)(uintptr_t)(i + 1)) == 0);
}

static void join(pthread_t *threads, size_t count)
{
	for (size_t i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
}

struct plugin {
	void *handle;
	void *(*allocate)(size_t);
	void (*release)(void *);
};

static void use_plugin(struct plugin *plugin)
{
	void *allocate = dlsym(plugin->handle, "plugin_allocate");
	void *release = dlsym(plugin->handle, "plugin_release");

	REQUIRE(allocate != NULL && release != NULL);
	memcpy(&plugin->allocate, &allocate, sizeof(allocate));
	memcpy(&plugin->release, &release, sizeof(release));
}

static void *load_and_unload(void *argument)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		struct plugin plugin = { .handle = dlopen(plugin_path, RTLD_NOW | RTLD_LOCAL) };
		REQUIRE(plugin.handle != NULL, "%s", dlerror());
		use_plugin(&plugin);
		void *block = plugin.allocate(5000);
		REQUIRE(block != NULL);
		CALL(free)(block);
		block = CALL(malloc)(5000);
		plugin.release(block);
		dlclose(plugin.handle);
		CALL(free)(dlopen("/nonexistent/library.so", RTLD_NOW)); /* NULL, and a message */
		REQUIRE(dlerror() != NULL);
	}
	return argument;
}

static void storm_of_dlopen(void)
{
	pthread_t loaders[2];
	pthread_t allocators[3];
	double end = seconds_now() + (double)tap_value("seconds-each");
	int children = 0;

	REQUIRE(tap_built_file(plugin_path, sizeof(plugin_path), "plugin.so"), "no plugin.so");
	start(loaders, COUNT_OF(loaders), load_and_unload);
	start(allocators, COUNT_OF(allocators), allocate_on);
	while (seconds_now() < end) {
		pid_t child = fork();
		if (child == 0) {
			alarm(60);
			CALL(free)(CALL(malloc)(100000));
			_exit(tap_status());
		}
		REQUIRE(child > 0 && tap_child_succeeded(child, "child"));
		children++;
		sleep_ms(10);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	join(loaders, COUNT_OF(loaders));
	join(allocators, COUNT_OF(allocators));
	EXPECT(children > 0);
}

/* A namespace of its own has its own C library, whose malloc lives beside ours. */
static void second_c_library(void)
{
	pthread_t allocators[2];

	REQUIRE(tap_built_file(plugin_path, sizeof(plugin_path), "plugin.so"), "no plugin.so");
	start(allocators, COUNT_OF(allocators), allocate_on);
	for (int i = 0; i < 5; i++) {
		struct plugin plugin = { .handle = dlmopen(LM_ID_NEWLM, plugin_path, RTLD_NOW) };
		REQUIRE(plugin.handle != NULL, "%s", dlerror());
		use_plugin(&plugin);
		void *blocks[300];
		for (size_t j = 0; j < COUNT_OF(blocks); j++) {
			blocks[j] = plugin.allocate(j * 997);
			REQUIRE(blocks[j] != NULL);
		}
		for (size_t j = 0; j < COUNT_OF(blocks); j++)
			plugin.release(blocks[j]);
		dlclose(plugin.handle);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	join(allocators, COUNT_OF(allocators));
}

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
	signals = signals + 1;
	(void)number;
}

/* System calls of the allocator are interrupted, its locks are held meanwhile. */
static void storm_of_signals(void)
{
	pthread_t allocators[4];
	struct sigaction action;
	struct itimerval interval = { { 0, 50 }, { 0, 50 } };
	struct itimerval none = { { 0, 0 }, { 0, 0 } };
	double end = seconds_now() + (double)tap_value("seconds-each");

	memset(&action, 0, sizeof(action));
	action.sa_handler = count_signal; /* without SA_RESTART */
	REQUIRE(sigaction(SIGALRM, &action, NULL) == 0 && sigaction(SIGUSR1, &action, NULL) == 0);
	start(allocators, COUNT_OF(allocators), allocate_on);
	REQUIRE(setitimer(ITIMER_REAL, &interval, NULL) == 0);
	while (seconds_now() < end) {
		for (size_t i = 0; i < COUNT_OF(allocators); i++)
			pthread_kill(allocators[i], SIGUSR1);
		for (size_t i = 0; i < 50; i++)
			CALL(free)(CALL(malloc)(i * i * 500));
		CALL(malloc_trim)(0);
	}
	setitimer(ITIMER_REAL, &none, NULL);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	join(allocators, COUNT_OF(allocators));
	tap_note("%d signals", (int)signals);
	EXPECT(signals > 100);
}

/* The stack of the handlers is itself a block. */
static void handlers_on_another_stack(void)
{
	stack_t other;
	struct sigaction action;
	pthread_t allocators[2];

	memset(&other, 0, sizeof(other));
	other.ss_size = 64 * KIB;
	other.ss_sp = CALL(malloc)(other.ss_size);
	REQUIRE(other.ss_sp != NULL && sigaltstack(&other, NULL) == 0);
	memset(&action, 0, sizeof(action));
	action.sa_handler = count_signal;
	action.sa_flags = SA_ONSTACK;
	REQUIRE(sigaction(SIGUSR1, &action, NULL) == 0);
	start(allocators, COUNT_OF(allocators), allocate_on);
	for (int i = 0; i < 20000; i++) {
		raise(SIGUSR1);
		CALL(free)(CALL(malloc)((size_t)i));
	}
	EXPECT(signals == 20000);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	join(allocators, COUNT_OF(allocators));
	other.ss_flags = SS_DISABLE;
	sigaltstack(&other, NULL);
}

static const struct tap_point points[] = {
	{ "storm_of_dlopen", storm_of_dlopen },
	{ "second_c_library", second_c_library },
	{ "storm_of_signals", storm_of_signals },
	{ "handlers_on_another_stack", handlers_on_another_stack },
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, points, options);
}
