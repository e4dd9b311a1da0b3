/* SPDX-License-Identifier: MIT */
/*
 * fork.pml: a fork at any moment of other threads' work (src/life.c, src/lock.c, src/registry.c).  The
 * others stop where they are, for ever; the one that forks is the child, makes good what they left,
 * and goes on with a second thread.  Nothing is locked before.  In the child no lock stays held by who
 * is not there, and no heap is used whose lists were being changed.
 *
 * Children of _Fork run no handler: there the first thread that is about to take a lock does the work,
 * and the others wait for it.  Heaps are left alone then, but for the locks.
 *
 * BROKEN 1: the child of fork adopts every heap, the half changed as well.
 * BROKEN 2: in a child of _Fork a second thread does not wait for the first.
 * BROKEN 3: the queue of a heap whose lock is lost is not made anew.
 */
#define HEAPS 2
#define FREE 0
#define HELD 1
#define NOBODY 0
#define CHILD 9 /* the thread that forks; others are 1 and 2, the idle thread 3, the child's second 4 */

bool is_forked;        /* the others have stopped */
bool runs_handler;     /* fork, not _Fork */
byte lock_state;       /* the manager's lock, for all */
byte lock_holder;
bool table_half;       /* what it guards is half changed */
bool is_busy[HEAPS];   /* the owner is in pa_heap_enter … leave */
bool heap_lock[HEAPS];
bool list_half[HEAPS]; /* the owner's lists are half changed */
bool queue_half[HEAPS]; /* the queue is half changed: can be made anew */
bool is_quarantined[HEAPS];
byte mark;             /* of the page that the kernel wipes */
#define UNKNOWN 0
#define KNOWN 1
#define RECOVERING 2
bool child_runs;
byte ended;            /* of the child's threads */
byte in_lock;          /* of the child's threads */

inline change_table(me)
{
	atomic { lock_state == FREE -> lock_state = HELD };
	lock_holder = me;
	table_half = true;
	table_half = false;
	lock_holder = NOBODY;
	lock_state = FREE
}

/* A slow path of the owner, which takes an arena from the manager. */
proctype thread(byte heap) provided (!is_forked)
{
	do
	:: is_busy[heap] = true;
	   atomic { !heap_lock[heap] -> heap_lock[heap] = true };
	   list_half[heap] = true;
	   queue_half[heap] = true;
	   change_table(heap + 1);
	   queue_half[heap] = false;
	   list_half[heap] = false;
	   heap_lock[heap] = false;
	   is_busy[heap] = false
	od
}

/* Purges free slots of heaps that are not its own. */
proctype idle() provided (!is_forked)
{
	byte heap;
	bool was_held;

	do
	:: for (heap : 0 .. HEAPS - 1) {
		   atomic { was_held = heap_lock[heap]; heap_lock[heap] = true };
		   if
		   :: was_held
		   :: else ->
		      queue_half[heap] = true;
		      change_table(3);
		      queue_half[heap] = false;
		      heap_lock[heap] = false
		   fi
	   }
	od
}

/* free_locks in life.c; pa_heap_unlock_lost in registry.c */
inline free_locks(me)
{
	if
	:: lock_state != FREE && lock_holder != me ->
	   lock_state = FREE;
	   table_half = false
	:: else
	fi;
	for (h : 0 .. HEAPS - 1) {
		if
		:: heap_lock[h] && !is_busy[h] ->
#if BROKEN != 3
		   queue_half[h] = false;
#endif
		   heap_lock[h] = false
		:: else
		fi
	}
}

/* pa_heap_after_fork_child */
inline adopt_all()
{
	for (h : 0 .. HEAPS - 1) {
#if BROKEN == 1
		is_busy[h] = false;
		heap_lock[h] = false
#else
		if
		:: is_busy[h] -> is_quarantined[h] = true
		:: else
		fi
#endif
	}
}

/* before_lock in life.c, and what follows it */
inline use_table(me)
{
	if
	:: mark == KNOWN
	:: else ->
	   atomic {
		   if
		   :: mark == UNKNOWN -> mark = RECOVERING; is_first = true
		   :: else -> is_first = false
		   fi
	   };
	   if
	   :: is_first -> free_locks(me); mark = KNOWN
	   :: else ->
#if BROKEN == 2
	      skip
#else
	      mark != RECOVERING
#endif
	   fi
	fi;
	atomic { lock_state == FREE -> lock_state = HELD };
	lock_holder = me;
	in_lock++;
	assert(in_lock == 1 && !table_half);
	table_half = true;
	table_half = false;
	in_lock--;
	lock_holder = NOBODY;
	lock_state = FREE
}

/* After fork any heap may be adopted that is not quarantined; after _Fork none is. */
inline use_heaps()
{
	for (h : 0 .. HEAPS - 1) {
		if
		:: runs_handler && !is_quarantined[h] ->
		   assert(!heap_lock[h] && !list_half[h] && !queue_half[h])
		:: else
		fi
	}
}

proctype second()
{
	byte h;
	bool is_first;

	child_runs;
	use_table(4);
	ended++
}

proctype forker()
{
	byte h;
	bool is_first;

	if
	:: runs_handler = true
	:: runs_handler = false
	fi;
	/* It may itself do what the others do before it forks. */
	if
	:: change_table(CHILD)
	:: true
	fi;
	is_forked = true;
	mark = UNKNOWN;
	if
	:: runs_handler ->
	   mark = KNOWN;
	   free_locks(CHILD);
	   adopt_all();
	   use_heaps()
	:: else
	fi;
	child_runs = true;
	use_table(CHILD);
	ended++
}

/* When nobody can go on, the child's threads have come to their end. */
proctype observer()
{
	timeout;
	assert(ended == 2)
}

init {
	atomic {
		mark = KNOWN;
		run thread(0);
		run thread(1);
		run idle();
		run forker();
		run second();
		run observer()
	}
}
