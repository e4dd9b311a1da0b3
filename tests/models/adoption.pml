/* SPDX-License-Identifier: MIT */
/*
 * adoption.pml: heaps of threads that come and go (src/registry.c), and the one who gives back free
 * slots of heaps that are not its own (pa_heap_purge_slots in src/relieve.c).  A heap never has two owners,
 * nobody changes its lists beside another, what was freed into an abandoned heap is collected, and
 * whoever purges never waits.
 *
 * BROKEN 1: an ending thread trims its heap after it has put it into the list of abandoned ones.
 * BROKEN 2: who purges does not look whether the lists are being changed.
 */
#ifndef THREADS
#define THREADS 2
#endif
#define HEAPS THREADS
#define NONE 255

bool life_lock;
byte abandoned;            /* first of the list */
byte next_abandoned[HEAPS];
byte made;                 /* heaps there are; they stay for ever */
byte owners[HEAPS];
bool heap_lock[HEAPS];     /* pa_heap_enter and pa_heap_leave */
bool is_changing[HEAPS];   /* its lists, free slots and queue */
bool has_remote[HEAPS];    /* blocks freed by others */
byte running;

inline lock_life()
{
	atomic { !life_lock -> life_lock = true }
}

inline unlock_life()
{
	life_lock = false
}

/* What pa_heap_enter and pa_heap_leave are around. */
inline change_lists(heap)
{
	atomic { !heap_lock[heap] -> heap_lock[heap] = true };
	assert(owners[heap] == 1);
	atomic { assert(!is_changing[heap]); is_changing[heap] = true };
	is_changing[heap] = false;
	heap_lock[heap] = false
}

/* retire and give_back */
inline trim(heap)
{
	change_lists(heap);
	has_remote[heap] = false
}

inline put_abandoned(heap)
{
	lock_life();
	assert(next_abandoned[heap] == NONE && abandoned != heap);
	owners[heap]--;
	next_abandoned[heap] = abandoned;
	abandoned = heap;
	unlock_life()
}

inline abandon(heap)
{
#if BROKEN == 1
	put_abandoned(heap);
	trim(heap)
#else
	trim(heap);
	put_abandoned(heap)
#endif
}

/* pa_heap_acquire */
inline acquire(heap)
{
	lock_life();
	heap = abandoned;
	if
	:: heap != NONE ->
	   abandoned = next_abandoned[heap];
	   next_abandoned[heap] = NONE
	:: else ->
	   heap = made;
	   made++
	fi;
	owners[heap]++;
	assert(owners[heap] == 1);
	unlock_life()
}

/* pa_heap_serve_abandoned: one that has something to collect; which of them makes no difference here. */
inline serve_abandoned()
{
	lock_life();
	heap = abandoned;
	before = NONE;
	do
	:: heap != NONE && !has_remote[heap] -> before = heap; heap = next_abandoned[heap]
	:: else -> break
	od;
	if
	:: heap == NONE -> unlock_life()
	:: else ->
	   if
	   :: before == NONE -> abandoned = next_abandoned[heap]
	   :: else -> next_abandoned[before] = next_abandoned[heap]
	   fi;
	   next_abandoned[heap] = NONE;
	   owners[heap]++;
	   assert(owners[heap] == 1);
	   unlock_life();
	   abandon(heap)
	fi
}

proctype thread()
{
	byte heap, before, other;

	acquire(heap);
	change_lists(heap);
	/* A block that another made is freed. */
	if
	:: made > 1 -> other = (heap + 1) % made; has_remote[other] = true
	:: true
	fi;
	abandon(heap);
	/* What lives on serves those that have ended. */
	serve_abandoned();
	running--
}

/* Tries, and passes by what is held: there is no wait in it. */
proctype purger()
{
	byte heap;
	bool was_held;

	do
	:: running == 0 -> break
	:: else ->
	   for (heap : 0 .. HEAPS - 1) {
		   if
		   :: heap < made ->
		      atomic { was_held = heap_lock[heap]; heap_lock[heap] = true };
		      if
#if BROKEN != 2
		      :: was_held
#endif
		      :: else ->
			 atomic { assert(!is_changing[heap]); is_changing[heap] = true };
			 is_changing[heap] = false;
			 heap_lock[heap] = false
		      fi
		   :: else
		   fi
	   }
	od
}

init {
	byte i, count;

	atomic {
		abandoned = NONE;
		for (i : 0 .. HEAPS - 1) {
			next_abandoned[i] = NONE
		}
		running = THREADS;
		for (i : 1 .. THREADS) {
			run thread()
		}
		run purger()
	}
	running == 0;
	/* All heaps wait to be adopted, each once. */
	i = abandoned;
	do
	:: i == NONE -> break
	:: else -> assert(count < made && owners[i] == 0); count++; i = next_abandoned[i]
	od;
	assert(count == made)
}
