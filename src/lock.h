/* SPDX-License-Identifier: MIT */
/*
 * lock.h: all locks of the library, in one table ordered by rank.  A thread acquires locks only in
 * ascending rank, so no two threads can wait for each other.  Debug builds check the order at each acquire.
 */
#ifndef PA_LOCK_H
#define PA_LOCK_H

#include "base.h"

/* PA_LOCK(NAME, what it guards): first comes the lowest rank, acquired before all others. */
#define PA_LOCK_LIST(PA_LOCK) \
	PA_LOCK(SHARED, "the heap of threads that have none of their own any more") \
	PA_LOCK(LIFE, "start, options set at run time and the lists of heaps") \
	PA_LOCK(MANAGER, "arenas on their way between heaps and the operating system") \
	PA_LOCK(LARGE, "large objects and the cache of freed mappings")

enum pa_lock_rank {
#define PA_LOCK_RANK(name, guards) PA_LOCK_##name,
	PA_LOCK_LIST(PA_LOCK_RANK) PA_LOCK_COUNT
#undef PA_LOCK_RANK
};

/* Not recursive, not for signal handlers.  A waiter spins for a moment, then sleeps in the kernel. */
void pa_lock(enum pa_lock_rank rank);
void pa_unlock(enum pa_lock_rank rank);

/*
 * Nothing is locked before a fork: another thread may hold a lock of the C library's that fork waits
 * for, and wait for one of ours.  Instead, the child frees the locks whose holders are not there, and
 * makes good what these guard.  Returns a bit for each such rank.  Locks of the calling thread, which
 * may have been interrupted by the signal handler that forks, stay held; *is_holder tells of them.
 */
unsigned pa_lock_after_fork_child(bool *is_holder);

/* Wait for something that others hold but briefly: spin, then sleep for some microseconds. */
void pa_lock_wait_a_little(void);

/*
 * Called before each lock is taken, and while it is waited for: it may be held by a thread that a fork
 * left behind.
 */
void pa_lock_set_hook(void (*hook)(void));

#endif
