/* SPDX-License-Identifier: MIT */
/*
 * common.h: what the benchmark programs in C share: calls that the compiler cannot follow, random numbers,
 * a clock, their command lines.
 */
#ifndef COMMON_H
#define COMMON_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define RANDOM_SEED UINT64_C(88172645463325252)

static inline _Noreturn void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", program_invocation_short_name, what);
	exit(1);
}

/* Keeps the compiler from removing or joining calls whose results it could follow. */
static inline void *opaque(void *pointer)
{
	__asm__ volatile("" : "+r"(pointer) : : "memory");
	return pointer;
}

static inline void *checked(void *pointer)
{
	if (pointer == NULL)
		fail("out of memory");
	return opaque(pointer);
}

/* A block whose first byte is written, as any user would. */
static inline void *make(size_t size)
{
	char *block = checked(malloc(size));
	*block = 1;
	return block;
}

/* xorshift64*: the same blocks in every run. */
static inline uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(2685821657736338717);
}

static inline void start(pthread_t *thread, void *(*run)(void *), void *argument)
{
	if (pthread_create(thread, NULL, run, argument) != 0)
		fail("a thread cannot be made");
}

static inline uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static inline long resident_bytes(void)
{
	long size = 0, resident = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	if (file == NULL || fscanf(file, "%ld %ld", &size, &resident) != 2)
		fail("/proc/self/statm cannot be read");
	fclose(file);
	return resident * sysconf(_SC_PAGESIZE);
}

/* An argument of the command line that has to be a number above 0. */
static inline uint64_t number(const char *text)
{
	char *end = NULL;
	unsigned long long value = text == NULL ? 0 : strtoull(text, &end, 10);

	if (value == 0 || *end != '\0') {
		fprintf(stderr, "%s: %s is not a number above 0\n", program_invocation_short_name,
			text == NULL ? "nothing" : text);
		exit(2);
	}
	return value;
}

#endif
