/* SPDX-License-Identifier: MIT */
/*
 * idle.c: see idle.h.  Owns the thread.  Starting and stopping it is guarded by the state, which only
 * moves from NONE to STARTING by who starts it, to RUNNING, and to STOPPING by who stops it.
 */
#include "idle.h"

#include "heap.h"
#include "lock.h"
#include "os.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)
#define PERIOD_NS (500 * NS_PER_MS) /* without a sign of life: idle */
#define RETRY_NS (1000 * NS_PER_MS) /* after the system refused a thread */
#define STOP_NS (100 * NS_PER_MS)   /* that a fork waits for the thread's end at most */
#define STACK_BYTES ((size_t)64 * 1024)

enum { NONE, STARTING, RUNNING, STOPPING };

static struct {
	_Atomic(uint32_t) state;
	_Atomic(uint32_t) quit;     /* the thread is to end; it sleeps on this */
	_Atomic(bool) is_done;      /* the thread has nothing more to do, and is about to end */
	_Atomic(uint64_t) retry_ns; /* no new attempt before then */
	pthread_t thread;           /* [const] while the state is RUNNING */
	int thread_id;              /* by the thread, for who has joined it */
} idle;

static bool (*_Atomic purge_unused_hook)(void);

void pa_idle_set_hook(bool (*purge_unused)(void))
{
	pa_store_release(&purge_unused_hook, purge_unused);
}

static void give_back(void)
{
	bool (*purge_unused)(void) =
		pa_load_acquire(&purge_unused_hook); /* pairs with pa_idle_set_hook */

	pa_heap_shrink_caches(PA_RESERVE_FLOOR);
	pa_heap_purge_all_slots(NULL, PA_RESERVE_FLOOR, UINT_MAX);
	/* Also where no more is known to be dead: that is an estimate. */
	while (purge_unused && !pa_load_relaxed(&idle.quit) && purge_unused())
		;
	pa_heap_shrink_caches(PA_RESERVE_FLOOR); /* arenas that have become free */
}

static void *watch(void *argument)
{
	uint64_t seen = pa_load_relaxed(&pa_reserve.ticks);

	idle.thread_id = pa_os_thread_id();
	while (!pa_load_acquire(&idle.quit)) { /* pairs with pa_idle_stop */
		pa_os_futex_wait(&idle.quit, 0, PERIOD_NS);
		if (!pa_reserve_is_above(PA_RESERVE_FLOOR))
			break;
		uint64_t now = pa_load_relaxed(&pa_reserve.ticks);
		if (now == seen && !pa_load_relaxed(&idle.quit)) {
			give_back();
			break;
		}
		seen = now;
	}
	pa_store_release(&idle.is_done, true);
	return argument;
}

static int create_thread(void)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	int error = pthread_attr_init(&attributes);

	if (error)
		return error;
	/* Signals are for the program's own threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_setstacksize(&attributes, pa_max(STACK_BYTES, (size_t)PTHREAD_STACK_MIN));
	error = pthread_create(&idle.thread, &attributes, watch, NULL);
	if (error == EINVAL) /* thread-local variables of the program do not fit */
		error = pthread_create(&idle.thread, NULL, watch, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return error;
}

/* Take back a thread that has ended by itself; false if another is doing so, or it has not. */
static bool reap_done(void)
{
	uint32_t state = RUNNING;

	if (!pa_load_acquire(&idle.is_done) || !pa_cas_acquire(&idle.state, &state, STOPPING))
		return false;
	pthread_join(idle.thread, NULL);
	pa_store_release(&idle.state, NONE);
	return true;
}

/* The hook of the reserve. */
static void start(void)
{
	int saved = errno;
	uint32_t state = NONE;

	if (!pa_reserve_is_above(PA_RESERVE_FLOOR) ||
	    (pa_load_relaxed(&idle.state) == RUNNING && !reap_done()))
		return;
	if (pa_os_clock_ns() < pa_load_relaxed(&idle.retry_ns) ||
	    !pa_cas_acquire(&idle.state, &state, STARTING))
		return;
	pa_store_relaxed(&idle.quit, 0);
	pa_store_relaxed(&idle.is_done, false);
	if (create_thread() == 0) {
		pa_store_release(&idle.state, RUNNING);
	} else {
		pa_store_relaxed(&idle.retry_ns, pa_os_clock_ns() + RETRY_NS);
		pa_store_release(&idle.state, NONE);
	}
	errno = saved;
}

void pa_idle_enable(void)
{
	pa_reserve_set_watch_hook(start);
}

/*
 * It ends within microseconds, unless it waits for a lock; musl has no wait by the monotonic clock.  Joined, it
 * is for a moment still among the threads that the kernel counts, and CPython after a fork.
 */
static bool join_in_time(void)
{
	uint64_t end_ns = pa_os_clock_ns() + STOP_NS;
	bool is_joined = false;

	while (true) {
		is_joined = is_joined || pthread_tryjoin_np(idle.thread, NULL) == 0;
		if ((is_joined && !pa_os_counts_thread(idle.thread_id)) || pa_os_clock_ns() >= end_ns)
			return is_joined;
		pa_lock_wait_a_little();
	}
}

/*
 * The wait has an end, for the thread may wait for a lock of the caller's: a signal handler may fork
 * in the midst of anything.  Then the child frees what the thread held, as for any other thread.
 */
void pa_idle_stop(void)
{
	uint32_t state = RUNNING;

	if (!pa_cas_acquire(&idle.state, &state, STOPPING))
		return;
	pa_store_release(&idle.quit, 1);
	pa_os_futex_wake(&idle.quit, 1);
	bool has_ended = join_in_time();
	pa_store_relaxed(&pa_reserve.wants_watch, true); /* the next slow path begins it again */
	pa_store_release(&idle.state, has_ended ? NONE : RUNNING);
}

void pa_idle_after_fork_child(void)
{
	pa_store_relaxed(&idle.state, NONE);
	pa_store_relaxed(&pa_reserve.wants_watch, false); /* a child that does something will tell */
}
