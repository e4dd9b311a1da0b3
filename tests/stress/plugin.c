/* SPDX-License-Identifier: MIT */
/*
 * plugin.c: a shared library that makes trouble: it allocates while it is loaded and unloaded, in
 * its fork handlers, and for its thread-local variables.  forks.c preloads it before and after the
 * library under test; loading.c loads and unloads it.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define KEPT 18

static void *kept[KEPT];
static int handlers_run;
static __thread char in_each_thread[20000];

int plugin_handlers_run(void);
void *plugin_allocate(size_t size);
void plugin_release(void *block);

int plugin_handlers_run(void)
{
	return __atomic_load_n(&handlers_run, __ATOMIC_RELAXED);
}

/* The first call in a thread makes the C library allocate the thread-local memory. */
void *plugin_allocate(size_t size)
{
	in_each_thread[size % sizeof(in_each_thread)] = 1;
	char *block = (char *)malloc(size);
	if (block != NULL)
		memset(block, in_each_thread[size % sizeof(in_each_thread)], size);
	return block;
}

void plugin_release(void *block)
{
	free(block);
}

/* Small, medium and large.  Nothing is kept: a handler may run while another thread unloads us. */
static void work(void)
{
	static const size_t sizes[] = { 24, 700, 5000, 60000, 400000, 3000000 };
	void *blocks[sizeof(sizes) / sizeof(sizes[0])] = { NULL };

	for (size_t round = 0; round < 3; round++)
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			blocks[i] = realloc(blocks[i], sizes[i] * (round + 1));
			if (blocks[i] == NULL)
				abort();
			memset(blocks[i], 1, 20);
		}
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		free(blocks[i]);
	__atomic_add_fetch(&handlers_run, 1, __ATOMIC_RELAXED);
}

__attribute__((constructor)) static void begin(void)
{
	work();
	for (size_t i = 0; i < KEPT; i++) {
		kept[i] = malloc(i * i * 100);
		if (kept[i] == NULL)
			abort();
	}
	/* Not when it comes and goes: the C library may run handlers of what is being unloaded. */
	if (getenv("PLUGIN_FORK_HANDLERS") != NULL && pthread_atfork(work, work, work) != 0)
		abort();
	handlers_run = 0;
}

__attribute__((destructor)) static void end(void)
{
	for (size_t i = 0; i < KEPT; i++)
		free(kept[i]);
}
