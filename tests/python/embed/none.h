/* SPDX-License-Identifier: MIT */
/*
 * none.h: what turns.c and gil.c, which are no CPython, have alike: the allocator that the library installs, and a
 * habit by which a reserve is kept.  Each is one program of one main thread, which owns all of this.
 */
#ifndef NONE_H
#define NONE_H

#include <string.h>

struct allocator {
	void *context;
	void *(*malloc)(void *context, size_t bytes);
	void *(*calloc)(void *context, size_t count, size_t each);
	void *(*realloc)(void *context, void *p, size_t bytes);
	void (*free)(void *context, void *p);
};

static struct allocator object;

void PyMem_SetAllocator(int domain, struct allocator *allocator)
{
	(void)domain;
	object = *allocator;
}

#define SWING 60000

static void have_a_habit(void)
{
	static void *swing[SWING];

	for (int turn = 0; turn < 200; turn++) {
		for (int i = 0; i < SWING; i++)
			swing[i] = memset(object.malloc(object.context, 64), 1, 64);
		for (int i = 0; i < SWING; i++)
			object.free(object.context, swing[i]);
	}
}

/* So that the next request of 40 bytes has a block at once, without the heap's lock. */
static void leave_a_block(void)
{
	void *few[3];

	for (int i = 0; i < 3; i++)
		few[i] = object.malloc(object.context, 40);
	object.free(object.context, few[1]);
}

#endif
