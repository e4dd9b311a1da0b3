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
	_Atomic(int) thread_id;     /* set by the thread, read by who has joined it */
	_Atomic(int) joined_id; /* of the last that was joined; 0 once the kernel has forgotten it */
} idle;

static bool (*_Atomic purge_unused_hook)(void);

void pa_idle_set_hook(bool (*purge_unused)(void))
{
	pa_store_release(&purge_unused_hook, purge_unused);
}

/* How often one does a little at a time at most: the system may refuse, and what is dead is estimated anew. */
static uint64_t times_at_most(void)
{
	return pa_load_relaxed(&pa_reserve.mapped_units) / PA_ARENA_UNITS + 1;
}

static void serve_abandoned(void)
{
	uint64_t times = times_at_most();

	while (times-- > 0 && !pa_load_relaxed(&idle.quit) &&
	       pa_heap_serve_abandoned(PA_RESERVE_IDLE, 1))
		;
}

static void give_back(void)
{
	bool (*purge_unused)(void) =
		pa_load_acquire(&purge_unused_hook); /* pairs with pa_idle_set_hook */

	pa_heap_shrink_caches(PA_RESERVE_IDLE);
	serve_abandoned();
	pa_heap_purge_all_slots(NULL, PA_RESERVE_IDLE, UINT_MAX);
	/* Also where no more is known to be dead: that is an estimate. */
	uint64_t times = times_at_most();
	while (purge_unused && times-- > 0 && !pa_load_relaxed(&idle.quit) && purge_unused())
		;
	pa_heap_shrink_caches(PA_RESERVE_IDLE); /* arenas that have become free */
}

static void *watch(void *argument)
{
	uint64_t seen = pa_load_relaxed(&pa_reserve.ticks);

	pa_store_relaxed(&idle.thread_id, pa_os_thread_id());
	while (!pa_load_acquire(&idle.quit)) { /* pairs with pa_idle_stop */
		pa_os_futex_wait(&idle.quit, 0, PERIOD_NS);
		if (!pa_reserve_is_above_floor())
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
	pa_store_relaxed(&idle.joined_id, pa_load_relaxed(&idle.thread_id));
	pa_store_release(&idle.state, NONE);
	return true;
}

/* The hook of the reserve. */
static void start(void)
{
	int saved = errno;
	uint32_t state = NONE;

	if (!pa_reserve_is_above_floor() || (pa_load_relaxed(&idle.state) == RUNNING && !reap_done()))
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

/* It ends within microseconds, unless it waits for a lock; musl has no wait by the monotonic clock. */
static bool join_until(uint64_t end_ns)
{
	while (pthread_tryjoin_np(idle.thread, NULL) != 0) {
		if (pa_os_clock_ns() >= end_ns)
			return false;
		pa_lock_wait_a_little();
	}
	pa_store_relaxed(&idle.joined_id, pa_load_relaxed(&idle.thread_id));
	return true;
}

/* CPython 3.12 counts the threads that the kernel knows right after a fork. */
static void wait_until_forgotten(uint64_t end_ns)
{
	int id = pa_load_relaxed(&idle.joined_id);

	while (id && pa_os_has_thread(id) && pa_os_clock_ns() < end_ns)
		pa_lock_wait_a_little();
	pa_store_relaxed(&idle.joined_id, 0);
}

/*
 * The wait has an end, for the thread may wait for a lock of the caller's: a signal handler may fork
 * in the midst of anything.  Then the child frees what the thread held, as for any other thread.
 */
void pa_idle_stop(void)
{
	uint32_t state = RUNNING;
	uint64_t end_ns = pa_os_clock_ns() + STOP_NS;

	if (pa_cas_acquire(&idle.state, &state, STOPPING)) {
		pa_store_release(&idle.quit, 1);
		pa_os_futex_wake(&idle.quit, 1);
		bool has_ended = join_until(end_ns);
		pa_store_relaxed(&pa_reserve.wants_watch,
				 true); /* the next slow path begins it again */
		pa_store_release(&idle.state, has_ended ? NONE : RUNNING);
	}
	wait_until_forgotten(end_ns);
}

void pa_idle_after_fork_child(void)
{
	pa_store_relaxed(&idle.state, NONE);
	pa_store_relaxed(&idle.joined_id, 0);
	pa_store_relaxed(&pa_reserve.wants_watch, false); /* a child that does something will tell */
}
