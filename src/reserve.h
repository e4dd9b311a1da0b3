/* SPDX-License-Identifier: MIT */
/*
 * reserve.h: the process's dirty memory against what the policy allows.  Owns the counters that all
 * heaps and the large cache add to, and the policy's one instance.  The counters are atomic; the
 * policy is guarded by a flag that whoever finds it taken passes by.
 */
#ifndef PA_RESERVE_H
#define PA_RESERVE_H

#include "atomic.h"
#include "policy.h"

struct pa_reserve {
	_Atomic(int64_t) dirty_units;    /* resident and free */
	_Atomic(int64_t) low_units;      /* the fewest dirty units since the last tick */
	_Atomic(uint64_t) limit_units;   /* what may be dirty */
	_Atomic(uint64_t) allowed_units; /* the same, by the policy alone */
	_Atomic(uint64_t) floor_units;   /* what may be dirty without evidence, and at a peak */
	_Atomic(uint64_t) idle_units;    /* what an idle process may keep */
	_Atomic(uint64_t) mapped_units;  /* in arenas and large mappings */
	_Atomic(int64_t) resident_units; /* of these; large objects count as a whole */
	_Atomic(int64_t) live_units;     /* of these, what is not dirty */
	_Atomic(int64_t) peak_units;     /* the most that were live; or resident, while is_over_peak */
	_Atomic(bool) is_over_peak;      /* to keep to the peak costs too much for now */
	_Atomic(uint64_t) kept_to_units; /* total purged for the peak's sake alone */
	_Atomic(uint64_t)
		refault_units[PA_POLICY_DISTANCES]; /* total purged and used again in the window */
	_Atomic(uint64_t) purges;                   /* total calls */
	_Atomic(uint64_t) purged_units;             /* total */
	_Atomic(uint64_t) released_ns;    /* when address space went back to the system last */
	_Atomic(uint64_t) released_units; /* how much did so lately, not yet taken again */
	_Atomic(uint32_t) window_mark;    /* what was purged before is beyond the window */
	_Atomic(uint64_t) ticks;          /* total looks of the policy: signs of life */
	_Atomic(bool) wants_watch;        /* there is enough that somebody should watch for idleness */
	_Atomic(uint64_t) trim_request;   /* written by other processes: see request.h */
	_Atomic(uint64_t)
		refused_ns;         /* when the system refused to purge; 0 if it did so the last time */
	_Atomic(uint32_t) purge_ns; /* what it costs to purge a unit, and */
	_Atomic(uint32_t) touch_ns; /* to touch one that is not resident: see pa_reserve_measured */
};

extern struct pa_reserve pa_reserve;

/* Keep another amount from now on; before the first call it is the floor. */
void pa_reserve_set(const struct pa_keep_option *keep);

/* Whoever held the tuner in the parent is gone. */
void pa_reserve_after_fork_child(void);

/* Units more, or less. */
struct pa_reserve_change {
	int64_t mapped, resident, dirty;
};

/*
 * All at once, for the limit depends on what is live, which is resident and not dirty: it is the policy's as far
 * as live and dirty memory together make no new peak, but for the floor.
 */
void pa_reserve_add(struct pa_reserve_change change);

PA_INLINE bool pa_reserve_is_exceeded(void)
{
	return pa_load_relaxed(&pa_reserve.dirty_units) >
	       (int64_t)pa_load_relaxed(&pa_reserve.limit_units);
}

/* How far to give back: to what may be dirty, to what an idle process keeps, or altogether. */
enum pa_reserve_goal { PA_RESERVE_LIMIT, PA_RESERVE_IDLE, PA_RESERVE_NOTHING };

PA_INLINE bool pa_reserve_is_above(enum pa_reserve_goal goal)
{
	if (goal == PA_RESERVE_LIMIT)
		return pa_reserve_is_exceeded();
	return goal == PA_RESERVE_NOTHING || pa_load_relaxed(&pa_reserve.dirty_units) >
						     (int64_t)pa_load_relaxed(&pa_reserve.idle_units);
}

/* Whether there is so much that an idle process should give it back. */
PA_INLINE bool pa_reserve_is_above_floor(void)
{
	return pa_load_relaxed(&pa_reserve.dirty_units) >
	       (int64_t)pa_load_relaxed(&pa_reserve.floor_units);
}

/* Whether more would be allowed, were it not for the peak. */
PA_INLINE bool pa_reserve_is_bound_by_peak(void)
{
	return pa_load_relaxed(&pa_reserve.limit_units) < pa_load_relaxed(&pa_reserve.allowed_units);
}

/* How many dirty units there are too many. */
PA_INLINE int64_t pa_reserve_excess(void)
{
	return pa_load_relaxed(&pa_reserve.dirty_units) -
	       (int64_t)pa_load_relaxed(&pa_reserve.limit_units);
}

/* Whether what is now given back for a goal is so for the peak's sake alone: the policy would keep it. */
PA_INLINE bool pa_reserve_is_for_peak(enum pa_reserve_goal goal)
{
	return goal == PA_RESERVE_LIMIT && pa_reserve_is_bound_by_peak() &&
	       pa_load_relaxed(&pa_reserve.dirty_units) <=
		       (int64_t)pa_load_relaxed(&pa_reserve.allowed_units);
}

/* So many units have been given back by so many calls. */
void pa_reserve_purged(uint64_t units, uint64_t calls, bool is_for_peak);

/* Let the policy look at the counters, if a millisecond has passed since it did so last. */
void pa_reserve_tick(void);

/*
 * Have the hook called, if there is one, when the reserve has grown so large that an idle process
 * should not keep it.  The hook makes a thread: the caller is not within the C library, which may hold
 * locks of its own around malloc and free, and nothing of ours is half changed.
 */
void pa_reserve_watch(void);
void pa_reserve_set_watch_hook(void (*hook)(void));

/* When something was purged: by what was purged before it, which is a clock that costs nothing. */
uint32_t pa_reserve_mark(void);

/* Note that units purged at a mark are used again. */
void pa_reserve_refault(uint64_t units, uint32_t mark);
uint64_t pa_reserve_refault_units(void);

/*
 * Whether it is too early to ask again.  Where pages are locked, or a sandbox refuses madvise, each free would
 * try in vain.
 */
bool pa_reserve_is_refused(void);

/*
 * Purging, or touching, so many units took so long.  The costs are running means: what is far beyond one,
 * since the processor was taken away meanwhile, say, moves it no more than four times the mean would.  As
 * with all counters of the reserve, races lose a measurement.
 */
void pa_reserve_measured(_Atomic(uint32_t) *cost_ns, uint64_t units, uint64_t ns);

/* To purge a unit and touch it again. */
uint64_t pa_reserve_unit_ns(void);

/*
 * Address space that goes back to the system cannot remember that it was purged; so note how much
 * there was, and take from it when address space is taken again: the units of it that count as purged,
 * and when they were.
 */
void pa_reserve_released(uint64_t units);
uint64_t pa_reserve_taken(uint64_t units, uint32_t *mark);

#endif
