/* SPDX-License-Identifier: MIT */
/*
 * policy.h: how much free memory to keep resident.  Pure: clocks, counters and options are arguments,
 * so that unit tests drive it with a made clock.  reserve.c owns the one instance and guards it.
 *
 * auto: a unit that was purged and is used again within the window, a refault, was purged wrongly.  As
 * long as that costs no more than a small share of the process's CPU time, nothing is kept but the floor.
 * What is above is evidence for a larger reserve.  How much larger is told by the refaults' distance:
 * what was purged since the unit was, which the reserve would have had to hold as well.  The limit grows
 * by a distance once the refaults from up to there are several times as many: a program that swings up
 * and down three times is not worth it, one that does so by habit is.  Once as many are enough for a small
 * reserve, and for any while refaults take a good part of the CPU time.  What lies in the reserve unused
 * through a whole interval is let go by halves.
 *
 * Besides, a reserve is not worth a new peak: what is live and what is dirty are no more than has been live before,
 * as long as it costs little to give back what would be.  It costs what soon comes again, and may do so in proportion
 * to what there is to gain: the share of the peak that the reserve would add.
 */
#ifndef PA_POLICY_H
#define PA_POLICY_H

#include "base.h"
#include "option.h"

#define PA_POLICY_WINDOW_NS UINT64_C(100000000)   /* used again later than this: rightly purged */
#define PA_POLICY_INTERVAL_NS UINT64_C(250000000) /* unused for this long: let go of half */
#define PA_POLICY_SHARE 100 /* purging may cost one part in so many of the CPU time */
/* A share of the peak is worth one part in so many of that share, in CPU time, */
#define PA_POLICY_PEAK_SHARE 20
#define PA_POLICY_PEAK_TIMES 2 /* and besides giving the reserve back so often, or ... */
#define PA_POLICY_PEAK_UNITS (256 * PA_MIB / PA_UNIT_BYTES) /* ... this, whichever is less */
#define PA_POLICY_UNIT_NS 1500 /* to purge a unit and touch it again, as long as it is not measured */
#define PA_POLICY_EVIDENCE 4   /* times a distance has to be paid for before the limit grows by it */
#define PA_POLICY_DEAR_SHARE \
	8 /* but once where refaults took more than one part in so many of the CPU time, */
#define PA_POLICY_DEAR_NS UINT64_C(400000000) /* lately: of this much CPU time */
#define PA_POLICY_SMALL_UNITS 1024            /* up to this distance, 4 MiB, once is enough */
#define PA_POLICY_FLOOR_UNITS 128             /* kept without evidence: half a MiB */
#define PA_POLICY_CAP_SHARE 1                 /* at most as much as is live, or ... */
#define PA_POLICY_CAP_UNITS (24 * PA_MIB / PA_UNIT_BYTES) /* ... this, whichever is more */

/* Distances are told apart by doublings, the first up to 64 units, the last without end. */
#define PA_POLICY_DISTANCES 16

PA_INLINE unsigned pa_policy_distance_class(uint64_t units)
{
	return (unsigned)pa_min(pa_highest_bit(units | 63) - 5, PA_POLICY_DISTANCES - 1);
}

struct pa_policy_input {
	uint64_t now_ns;        /* monotonic */
	uint64_t cpu_ns;        /* CPU time of the process */
	uint64_t low_units;     /* the fewest dirty units since the last tick */
	uint64_t live_units;    /* what is resident and not dirty */
	uint64_t unit_ns;       /* to purge a unit and touch it again; 0: not known */
	uint64_t peak_units;    /* which the reserve keeps to */
	uint64_t kept_to_units; /* purged for that, since the process began */
	uint64_t refault_units[PA_POLICY_DISTANCES]; /* by distance, since the process began */
};

struct pa_policy {
	struct pa_keep_option keep;
	uint64_t limit_units;
	uint64_t cpu_ns;                              /* that has been weighed */
	uint64_t refault_units[PA_POLICY_DISTANCES];  /* as of the last tick */
	uint64_t evidence_units[PA_POLICY_DISTANCES]; /* refaults above the share of CPU time */
	uint64_t spent_ns, lost_ns; /* CPU time lately, and what of it refaults took */
	uint64_t spent_cpu_ns;      /* as of the last tick */
	uint64_t interval_began_ns;
	uint64_t interval_low_units; /* the fewest dirty units since then */
	uint64_t peak_ns;            /* what keeping to the peak has cost, less what it may */
	uint64_t excused_units;      /* of refaults to come, for they went for the peak's sake */
	uint64_t now_ns, kept_to_units, peak_cpu_ns; /* as of the last tick */
	bool is_started;
};

void pa_policy_init(struct pa_policy *policy, const struct pa_keep_option *keep);

/* Look at the counters; returns the units that may stay dirty from now on. */
uint64_t pa_policy_tick(struct pa_policy *policy, const struct pa_policy_input *input);

/*
 * Weigh what it has cost to keep to the peak: true if it is too much for now.  Comes before pa_policy_tick, for which
 * what has been purged for that and comes again is no evidence.
 */
bool pa_policy_weigh_peak(struct pa_policy *policy, const struct pa_policy_input *input);

#endif
