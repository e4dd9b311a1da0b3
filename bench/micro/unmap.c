/* SPDX-License-Identifier: MIT */
/*
 * unmap.c: the longest that single calls take which fill fresh memory and give it back, without any allocator:
 * while nothing else runs, while another thread of the program does, and while another process does.
 *
 * Usage: unmap [TIMES]; 200000 by default.  Prints CSV; times are in microseconds, for 64 KiB.  Calls in which the
 * kernel took the processor from the thread are left out, and counted as lost.  Compile it by cc -O2 -pthread.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BYTES ((size_t)64 * 1024)
#define LONG_NS 1000000

enum beside { NOTHING, A_THREAD, A_PROCESS, BESIDES };

static const char *const names[BESIDES] = { "nothing", "a thread", "a process" };

static volatile int is_over;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void must(int result, const char *what)
{
	if (result != 0) {
		perror(what);
		exit(1);
	}
}

static int processors[2]; /* that the program may use; the same twice where there is one */

static void find_processors(void)
{
	cpu_set_t set;
	int count = 0;

	must(sched_getaffinity(0, sizeof set, &set), "sched_getaffinity");
	for (int i = 0; i < CPU_SETSIZE && count < 2; i++)
		if (CPU_ISSET(i, &set))
			processors[count++] = i;
	if (count == 1)
		processors[1] = processors[0];
}

static void stay_on(int processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	must(sched_setaffinity(0, sizeof set, &set), "sched_setaffinity");
}

static long losses(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nivcsw;
}

static void *spin(void *argument)
{
	stay_on(processors[1]);
	while (!is_over)
		;
	return argument;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void print(const char *what, const char *beside, uint64_t *ns, size_t count, size_t lost)
{
	size_t above = 0;

	qsort(ns, count, sizeof ns[0], by_size);
	for (size_t i = 0; i < count; i++)
		above += ns[i] > LONG_NS;
	printf("%s,%s,%.1f,%.1f,%.1f,%zu,%zu\n", what, beside, (double)ns[count / 2] / 1e3,
	       (double)ns[count - 1 - count / 1000] / 1e3, (double)ns[count - 1] / 1e3, above, lost);
}

static void measure(enum beside beside, size_t times)
{
	uint64_t *fill = calloc(times, sizeof fill[0]), *unmap = calloc(times, sizeof unmap[0]);
	size_t count = 0;

	if (!fill || !unmap)
		must(-1, "calloc");
	for (size_t i = 0; i < times; i++) {
		char *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			must(-1, "mmap");
		long before = losses();
		uint64_t mapped = now_ns();
		memset(p, 1, BYTES);
		uint64_t filled = now_ns();
		must(munmap(p, BYTES), "munmap");
		uint64_t unmapped = now_ns();
		if (losses() != before)
			continue;
		fill[count] = filled - mapped;
		unmap[count++] = unmapped - filled;
	}
	if (count > 0) {
		print("fill", names[beside], fill, count, times - count);
		print("unmap", names[beside], unmap, count, times - count);
	}
	free(fill);
	free(unmap);
}

static void measure_beside(enum beside beside, size_t times)
{
	pthread_t thread;
	pid_t child = 0;

	fflush(stdout);
	is_over = 0;
	if (beside == A_THREAD)
		must(pthread_create(&thread, NULL, spin, NULL), "pthread_create");
	if (beside == A_PROCESS) {
		child = fork();
		if (child == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			spin(NULL);
		}
		must(child > 0 ? 0 : -1, "fork");
	}
	measure(beside, times);
	is_over = 1;
	if (beside == A_THREAD)
		pthread_join(thread, NULL);
	if (beside == A_PROCESS) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
}

int main(int argc, char **argv)
{
	size_t times = argc > 1 ? strtoul(argv[1], NULL, 10) : 200000;

	if (times == 0) {
		fprintf(stderr, "usage: unmap [TIMES]\n");
		return 2;
	}
	find_processors();
	stay_on(processors[0]);
	puts("what,beside,half,99.9 %,longest,above 1 ms,lost");
	for (int beside = NOTHING; beside < BESIDES; beside++)
		measure_beside((enum beside)beside, times);
	return 0;
}
