/* SPDX-License-Identifier: MIT */
/*
 * What the library asks of CPython 3.12, and no more: so that it can be seen when it claims an idle heap.  Not while
 * a thread holds the GIL and does nothing; but when nobody does, and then who takes the GIL meanwhile has to
 * wait.  Prints "done".
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "none.h"

struct state {
	struct state *previous, *next;
	void *interpreter;
};

static struct {
	void *others[48];
	void *gil;
	char more[2000];
	struct {
		unsigned long interval;
		struct state *last_holder;
		atomic_int locked;
	} own_gil;
	char rest[20000];
} interpreter;

static struct state state = { .interpreter = &interpreter };
static _Thread_local struct state *current;
static _Thread_local bool is_ours;
static atomic_bool is_claimed, is_claim_ending;

const char *Py_GetVersion(void)
{
	return "3.12.0 (none)";
}
int Py_IsInitialized(void)
{
	if (!is_ours && !atomic_exchange(&is_claimed, true)) { /* asked last, when it is claimed */
		usleep(100000);
		atomic_store(&is_claim_ending, true);
	}
	return 1;
}
void *_PyThreadState_UncheckedGet(void)
{
	return current;
}
void *PyThreadState_GetInterpreter(struct state *of)
{
	return of->interpreter;
}
void *PyInterpreterState_Main(void)
{
	return &interpreter;
}

static void take_gil(void)
{
	interpreter.own_gil.last_holder = &state;
	atomic_store(&interpreter.own_gil.locked, 1);
	current = &state;
}

static void drop_gil(void)
{
	current = NULL;
	atomic_store(&interpreter.own_gil.locked, 0);
}

/* A habit, for which a reserve is kept; then nothing, for longer than it takes to be idle.  Whether it was claimed. */
static bool is_claimed_after_habit(bool is_held)
{
	have_a_habit();
	if (!is_held)
		drop_gil();
	for (int i = 0; i < 300 && !atomic_load(&is_claimed); i++)
		usleep(10000);
	return atomic_load(&is_claimed);
}

int main(void)
{
	is_ours = true;
	interpreter.gil = &interpreter.own_gil;
	interpreter.own_gil.interval = 5000;
	take_gil();
	bool is_claimed_when_held = is_claimed_after_habit(true);
	leave_a_block();
	bool is_claimed_when_free = is_claimed_after_habit(false);
	take_gil();
	object.malloc(object.context, 40);
	bool has_waited = atomic_load(&is_claim_ending);
	puts(is_claimed_when_held    ? "claimed while held"
	     : !is_claimed_when_free ? "never claimed"
	     : !has_waited           ? "entered while claimed"
				     : "done");
	fflush(stdout);
	_exit(0);
}
