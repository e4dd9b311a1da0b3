/* SPDX-License-Identifier: MIT */
/*
 * program.c: a program that asks no more of its C library than POSIX has: blocks of all sizes, resized
 * and aligned, by threads for each other, in children, and zeroed again after a peak.  scripts/ports runs
 * it under the library, built for other machines and C libraries.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 4
#define BLOCKS 2000
#define ROUNDS 40

static struct {
	unsigned char *start;
	size_t size;
} shared[THREADS][BLOCKS];

static void require(int condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "not so: %s\n", what);
	abort();
}

static size_t size_of(size_t i, size_t round)
{
	size_t n = (i * 2654435761u + round * 40503u) % 100000;

	return i % 100 == 0 ? n * 20 : i % 10 == 0 ? n : n % 700;
}

static void put(size_t row, size_t i, size_t round)
{
	size_t size = size_of(i, round) + 1;
	void *aligned = NULL;

	if (i % 7 == 0) {
		require(posix_memalign(&aligned, (size_t)16 << i % 9, size) == 0, "posix_memalign");
		require((uintptr_t)aligned % ((size_t)16 << i % 9) == 0, "it is aligned");
	}
	unsigned char *start = aligned != NULL ? aligned : calloc(1, size);
	require(start != NULL, "there is memory");
	if (aligned == NULL)
		require(start[0] == 0 && start[size / 2] == 0 && start[size - 1] == 0, "it is zeroed");
	memset(start, (int)(i & 255), size);
	shared[row][i].start = start;
	shared[row][i].size = size;
}

static void resize(size_t row, size_t i, size_t round)
{
	size_t size = size_of(i + 1, round) + 1;
	size_t kept = size < shared[row][i].size ? size : shared[row][i].size;
	unsigned char *start = realloc(shared[row][i].start, size);

	require(start != NULL, "there is memory");
	require(start[0] == (i & 255) && start[kept - 1] == (i & 255), "realloc keeps the contents");
	memset(start, (int)(i & 255), size);
	shared[row][i].start = start;
	shared[row][i].size = size;
}

static void *fill_row(void *argument)
{
	size_t row = (size_t)(uintptr_t)argument;

	for (size_t round = 0; round < ROUNDS; round++)
		for (size_t i = round % 3; i < BLOCKS; i += 3) {
			if (shared[row][i].start == NULL) {
				put(row, i, round);
			} else if (i % 2 == 0) {
				resize(row, i, round);
			} else {
				free(shared[row][i].start);
				shared[row][i].start = NULL;
			}
		}
	return NULL;
}

static void *clear_row(void *argument)
{
	size_t row = (size_t)(uintptr_t)argument;

	for (size_t i = 0; i < BLOCKS; i++) {
		unsigned char *start = shared[row][i].start;
		require(start == NULL || start[shared[row][i].size - 1] == (i & 255), "it is whole");
		free(start);
		shared[row][i].start = NULL;
	}
	return NULL;
}

static void in_threads(void *(*body)(void *), size_t shift)
{
	pthread_t threads[THREADS];

	for (size_t i = 0; i < THREADS; i++)
		require(pthread_create(&threads[i], NULL, body,
				       (void *)(uintptr_t)((i + shift) % THREADS)) == 0,
			"a thread begins");
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void work(void)
{
	for (size_t round = 0; round < 2; round++) {
		in_threads(fill_row, 0);
		in_threads(clear_row, 1 + round);
	}
}

int main(void)
{
	require(dlsym(RTLD_DEFAULT, "pyarena_version") != NULL, "the library is preloaded");
	work();
	for (int i = 0; i < 4; i++) {
		int status = 1;
		pid_t child;
		fill_row(NULL);
		child = fork();
		if (child == 0) {
			clear_row(NULL);
			work();
			_exit(0);
		}
		require(waitpid(child, &status, 0) == child && status == 0, "a child does the same");
	}
	clear_row(NULL);
	require(malloc(PTRDIFF_MAX) == NULL, "what cannot be had is refused");
	puts("done");
	return 0;
}
