/* SPDX-License-Identifier: MIT */
/*
 * lock.h: all locks of the library, in one table ordered by rank.  A thread acquires locks only in
 * ascending rank, so no two threads can wait for each other, and a fork can take them all by walking
 * the table.  Debug builds check the order at each acquire.
 */
#ifndef PA_LOCK_H
#define PA_LOCK_H

#include "base.h"

/* PA_LOCK(NAME, what it guards): first comes the lowest rank, acquired before all others. */
#define PA_LOCK_LIST(PA_LOCK) \
	PA_LOCK(SHARED, "the heap of threads that have none of their own any more") \
	PA_LOCK(LIFE, "start, options set at run time and the lists of heaps") \
	PA_LOCK(MANAGER, "arenas on their way between heaps and the operating system") \
	PA_LOCK(LARGE, "large objects and the cache of freed mappings") \
	PA_LOCK(REPORT, "the one report that is written at a time")

enum pa_lock_rank {
#define PA_LOCK_RANK(name, guards) PA_LOCK_##name,
	PA_LOCK_LIST(PA_LOCK_RANK) PA_LOCK_COUNT
#undef PA_LOCK_RANK
};

/* Not recursive, not for signal handlers.  A waiter spins for a moment, then sleeps in the kernel. */
void pa_lock(enum pa_lock_rank rank);
void pa_unlock(enum pa_lock_rank rank);

/* True if the lock was free and is now held.  Never waits, so it may break the order of ranks. */
bool pa_lock_try(enum pa_lock_rank rank);

/*
 * Around a fork: pa_lock_all before it, then pa_unlock_all in the parent and pa_lock_reset_all in the
 * child, where holders and waiters are gone.  The caller holds none before, and none after.
 */
void pa_lock_all(void);
void pa_unlock_all(void);
void pa_lock_reset_all(void);

#endif
