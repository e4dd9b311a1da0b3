/* SPDX-License-Identifier: MIT */
/*
 * What the library asks of CPython 3.11, and no more: so that a thread can be held between the wait for a
 * claim and the note of its turn, until the idle thread looks for who holds the GIL.  The heap must not be
 * claimed then: the thread would not miss when it comes again.  Prints "done".
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "none.h"

static _Atomic(void *) current;
static _Thread_local char own;
static _Thread_local bool is_ours, is_held;
static atomic_bool is_waiting, may_go, has_gone, is_claimed;

const char *Py_GetVersion(void)
{
	return "3.11.0 (none)";
}
void *PyGILState_GetThisThreadState(void)
{
	if (is_held) {
		atomic_store(&is_waiting, true);
		while (!atomic_load(&may_go))
			usleep(100);
	}
	return is_ours ? &own : NULL;
}
int Py_IsInitialized(void)
{
	if (!is_ours && atomic_load(&has_gone))
		atomic_store(&is_claimed, true);
	return 1;
}
void *_PyThreadState_UncheckedGet(void)
{
	if (!is_ours && atomic_load(&is_waiting) && !atomic_load(&has_gone)) {
		atomic_store(&may_go, true);
		while (!atomic_load(&has_gone))
			usleep(100);
	}
	return atomic_load(&current);
}

static void *come(void *argument)
{
	is_ours = is_held = true;
	atomic_store(&current, &own);
	void *p = object.malloc(object.context, 40);
	is_held = false;
	object.free(object.context, p);
	atomic_store(&current, NULL);
	atomic_store(&has_gone, true);
	return argument;
}

#define ROWS 150000
static void *rows[ROWS];

int main(void)
{
	pthread_t thread;

	is_ours = true;
	atomic_store(&current, &own);
	for (int i = 0; i < ROWS; i++)
		rows[i] = memset(object.malloc(object.context, 400), 1, 400);
	have_a_habit();
	for (int i = 0; i < ROWS; i++)
		if (i % 32)
			object.free(object.context, rows[i]);
	leave_a_block();
	atomic_store(&current, NULL);
	pthread_create(&thread, NULL, come, NULL);
	for (int i = 0; i < 3000 && !atomic_load(&has_gone); i++)
		usleep(10000);
	usleep(100000);
	puts(!atomic_load(&has_gone) ? "never idle" : atomic_load(&is_claimed) ? "claimed" : "done");
	fflush(stdout);
	_exit(0);
}
