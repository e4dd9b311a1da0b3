/* SPDX-License-Identifier: MIT */
/*
 * lock.c: mutexes of three states on a futex.  Owns the table of locks and, in debug builds, each
 * thread's set of held ranks.
 *
 * Invariants:
 *   1. A thread that sleeps has set the state to CONTENDED after it last saw it held.
 *   2. Who releases a CONTENDED lock wakes one sleeper; who wakes takes the lock as CONTENDED, since
 *      it cannot know whether others still sleep.
 *   3. The ranks a thread holds are all lower than the one it acquires by pa_lock.
 */
#include "lock.h"

#include "atomic.h"
#include "os.h"

enum { FREE, HELD, CONTENDED };

#define SPINS 100
#define WAIT_NS 20000
#define SLEEP_NS 100000000

struct lock {
	_Alignas(PA_CACHE_LINE) _Atomic(uint32_t) state; /* [atomic] */
	_Atomic(uintptr_t) holder; /* [atomic] a thread's identity; 0 while it changes hands */
};

static struct lock locks[PA_LOCK_COUNT];
static void (*_Atomic lock_hook)(void);

#ifdef PA_DEBUG
static _Thread_local unsigned held __attribute__((tls_model("initial-exec")));

#define CHECK_ORDER(rank) PA_ASSERT(held >> (rank) == 0, "locks are acquired in ascending rank")
#define CHECK_HELD(rank) PA_ASSERT((held >> (rank)) & 1, "only the holder releases a lock")
#define NOTE_ACQUIRED(rank) (held |= 1u << (rank))
#define NOTE_RELEASED(rank) (held &= ~(1u << (rank)))
#else
#define CHECK_ORDER(rank) ((void)0)
#define CHECK_HELD(rank) ((void)0)
#define NOTE_ACQUIRED(rank) ((void)0)
#define NOTE_RELEASED(rank) ((void)0)
#endif

static inline void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Acquires pair with the release in pa_unlock. */
static bool take_free(struct lock *lock)
{
	uint32_t state = FREE;

	return pa_cas_acquire(&lock->state, &state, HELD);
}

/* The hook of whoever is about to take a lock, or waits for one. */
static void run_hook(void)
{
	void (*hook)(void) = pa_load_acquire(&lock_hook); /* pairs with pa_lock_set_hook */

	if (hook)
		hook();
}

/*
 * A signal handler may fork while its thread is in here, and its child find a lock that nobody will
 * release.  So no sleep is without end, and the hook is called again after each.
 */
static PA_COLD void acquire_slow(struct lock *lock)
{
	for (int i = 0; i < SPINS; i++) {
		uint32_t state = pa_load_relaxed(&lock->state);
		if (state == FREE && take_free(lock))
			return;
		if (state == CONTENDED) /* others sleep already: the wait is long */
			break;
		pause_briefly();
	}
	while (pa_exchange_acquire(&lock->state, CONTENDED) != FREE) {
		if (pa_load_relaxed(&lock->state) == CONTENDED)
			pa_os_futex_wait(&lock->state, CONTENDED, SLEEP_NS);
		run_hook();
	}
}

static void note_holder(struct lock *lock)
{
	pa_store_relaxed(&lock->holder, pa_thread_identity());
}

void pa_lock(enum pa_lock_rank rank)
{
	CHECK_ORDER(rank);
	run_hook();
	if (!take_free(&locks[rank]))
		acquire_slow(&locks[rank]);
	note_holder(&locks[rank]);
	NOTE_ACQUIRED(rank);
}

void pa_unlock(enum pa_lock_rank rank)
{
	struct lock *lock = &locks[rank];

	CHECK_HELD(rank);
	NOTE_RELEASED(rank);
	pa_store_relaxed(&lock->holder, 0);
	if (pa_exchange_release(&lock->state, FREE) == CONTENDED)
		pa_os_futex_wake(&lock->state, 1);
}

void pa_lock_wait_a_little(void)
{
	static _Atomic(uint32_t) never;

	for (int i = 0; i < SPINS; i++)
		pause_briefly();
	run_hook();
	pa_os_futex_wait(&never, 0, WAIT_NS);
}

unsigned pa_lock_after_fork_child(bool *is_holder)
{
	unsigned lost = 0;

	*is_holder = false;
	for (unsigned rank = 0; rank < PA_LOCK_COUNT; rank++) {
		if (pa_load_relaxed(&locks[rank].state) == FREE)
			continue;
		if (pa_load_relaxed(&locks[rank].holder) == pa_thread_identity()) {
			*is_holder = true;
			continue;
		}
		lost |= 1u << rank;
		pa_store_relaxed(&locks[rank].state, FREE);
	}
	return lost;
}

void pa_lock_set_hook(void (*hook)(void))
{
	pa_store_release(&lock_hook, hook);
}
