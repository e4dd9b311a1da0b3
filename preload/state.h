/* SPDX-License-Identifier: MIT */
/*
 * state.h: where CPython keeps its current thread state.  The accessor that it exports costs more than
 * all else in an allocation: it is a call, and from 3.12 on, in a shared libpython, a second one to find
 * the thread's variables.  But it is a load or two, of an address or a thread's offset that do not
 * change; so read once what it does, then do the same.
 *
 * And where it keeps whether an interpreter's GIL is held, from 3.12 on, where nothing that it exports tells.
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

/*
 * Where an interpreter keeps whether its GIL is held, an int: 1, or 0 while nobody has it.  The caller holds it, with
 * this thread state, for it is known by that.  0: nothing is there that looks so, or more than one thing does.
 */
uintptr_t pa_state_find_gil(const void *interpreter, const void *state);

/* Whether nobody holds it now. */
PA_INLINE bool pa_state_is_gil_free(uintptr_t where)
{
	return *(const volatile int *)where == 0;
}

#endif
