/* SPDX-License-Identifier: MIT */
/*
 * state.h: where CPython keeps its current thread state.  The accessor that it exports costs more than
 * all else in an allocation: it is a call, and from 3.12 on, in a shared libpython, a second one to find
 * the thread's variables.  But it is a load or two, of an address or a thread's offset that do not
 * change; so read once what it does, then do the same.
 */
#ifndef PA_STATE_H
#define PA_STATE_H

#include "base.h"

struct pa_state_place {
	enum {
		PA_STATE_UNKNOWN,   /* code of another shape, or another architecture: call it */
		PA_STATE_VARIABLE,  /* at an address */
		PA_STATE_OF_THREAD, /* at an offset from the thread pointer */
	} kind;
	uintptr_t where;
};

/* Read the machine code of a function without arguments that returns a pointer.  It is not called. */
struct pa_state_place pa_state_find(const void *accessor);

/* What the accessor would return, by the kind of the place. */
PA_INLINE const void *pa_state_of_process(uintptr_t where)
{
	return *(const void *const volatile *)where;
}

PA_INLINE const void *pa_state_of_thread(uintptr_t where)
{
	return *(const void *const volatile *)(pa_thread_identity() + where);
}

#endif
