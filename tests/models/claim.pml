/* SPDX-License-Identifier: MIT */
/*
 * claim.pml: the idle thread claims an interpreter's heap while nobody holds the GIL (preload/python.c,
 * pa_heap_purge_unused in src/relieve.c).  Threads take and drop the GIL as CPython 3.7 to 3.11 do, and call
 * the allocator with it, by the fast path or the slow one, and by mistake without it.  Nobody is inside
 * the heap while another is; and all go on for ever.
 *
 * A thread that has just stored its state may load before others see that store: it is in a buffer,
 * which empties at any time, at a barrier, and before the GIL is let go.  All else is sequentially
 * consistent.
 *
 * With OWN_GILS, they do so as CPython 3.12 and newer: the fast path knows the interpreter of who holds the GIL, and
 * nobody mistakes that; current is whether it is held.
 *
 * BROKEN 1: the fast path is not made to miss.
 * BROKEN 2: the slow path does not wait for a claim.
 * BROKEN 3: the current state is looked at before the fast path is made to miss.
 * BROKEN 4: there is no barrier in between.
 * BROKEN 5: the mark is not looked at again: who had not seen the claim may have overwritten it, let go of
 * the GIL, and come back.
 * BROKEN 6: a turn's state is noted before its thread.
 * BROKEN 7: the fast path compares the states, not the threads.
 */
#ifndef THREADS
#define THREADS 2
#endif
#define NOBODY 0
#define MARK 255
#define MAIN 1 /* the interpreter */

#define UNLOCKED 0
#define BY_OWNER 1
#define CLAIMED 2

byte gil;              /* who holds it */
byte current;          /* CPython's state, as others see it; named like its thread */
bool is_buffered;      /* the holder of the GIL has stored its state, but others do not see it yet */
byte gil_state = 1;    /* of the heap, and */
byte heap_thread = 1;  /* who came last */
byte heap_lock;
byte inside;           /* threads in the heap, and the claimer */

inline barrier()
{
	d_step {
		if
		:: is_buffered -> is_buffered = false; current = gil
		:: else
		fi
	}
}

proctype buffer()
{
	do
	:: d_step { is_buffered -> is_buffered = false; current = gil }
	od
}

inline enter()
{
	inside++;
	assert(inside == 1)
}

/* An allocation: lists are changed under the heap's lock, or by the fast path without. */
inline use()
{
	enter();
	if
	:: atomic { heap_lock == UNLOCKED -> heap_lock = BY_OWNER };
	   heap_lock = UNLOCKED
	:: true
	fi;
	inside--
}

/* Of who holds the GIL: it sees its own state, others perhaps not yet. */
inline call_with_gil()
{
	state = gil_state;
	if
#ifdef OWN_GILS
	:: state == MAIN
#else
	:: state == me && heap_thread == me
#endif
	:: else ->
#if BROKEN != 2
	   heap_lock != CLAIMED;
#endif
#ifdef OWN_GILS
	   gil_state = MAIN
#elif BROKEN == 6
	   gil_state = me;
	   heap_thread = me
#else
	   heap_thread = me;
	   gil_state = me
#endif
	fi;
	use()
}

/* Only the fast path can mistake it: the slow one asks CPython whose state that is. */
inline call_without_gil()
{
	state = current;
	if
	:: state == gil_state ->
	   if
#if BROKEN == 7
	   :: true -> use()
#else
	   :: heap_thread == me -> use()
#endif
	   :: else
	   fi
	:: else
	fi
}

proctype thread(byte me)
{
	byte state;

	do
	:: atomic { gil == NOBODY -> gil = me };
	   is_buffered = true;
	   do
	   :: call_with_gil()
	   :: break
	   od;
	   atomic { is_buffered = false; current = NOBODY };
	   gil = NOBODY
#ifndef OWN_GILS
	:: call_without_gil()
#endif
	od
}

proctype claimer()
{
	bool is_unused;

	do
	:: atomic { heap_lock == UNLOCKED -> heap_lock = CLAIMED };
#if BROKEN == 3
	   barrier();
	   is_unused = current == NOBODY;
	   gil_state = MARK;
#else
#if BROKEN != 1
	   gil_state = MARK;
#endif
#if BROKEN != 4
	   barrier();
#endif
	   is_unused = current == NOBODY;
#endif
#if BROKEN != 1 && BROKEN != 5
	   barrier();
	   is_unused = is_unused && gil_state == MARK;
#endif
	   if
	   :: is_unused -> enter(); inside--
	   :: else
	   fi;
	   heap_lock = UNLOCKED
	od
}

init {
	byte i;

	atomic {
		for (i : 1 .. THREADS) {
			run thread(i)
		}
		run buffer();
		run claimer()
	}
}
