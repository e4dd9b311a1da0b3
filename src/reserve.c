/* SPDX-License-Identifier: MIT */
/*
 * reserve.c: see reserve.h.
 */
#include "reserve.h"

#include "lock.h"
#include "os.h"

#define TICK_NS UINT64_C(1000000)
#define REFUSED_NS UINT64_C(250000000)
#define COST_WEIGHT 32    /* units that the mean of a cost goes back */
#define COST_MIN_NS 50    /* no machine is faster, */
#define COST_MAX_NS 10000 /* and none so slow: its clock stands still, or it is emulated */

struct pa_reserve pa_reserve = {
	.purge_ns = PA_POLICY_UNIT_NS / 3,
	.touch_ns = PA_POLICY_UNIT_NS - PA_POLICY_UNIT_NS / 3,
	.limit_units = PA_POLICY_FLOOR_UNITS,
	.allowed_units = PA_POLICY_FLOOR_UNITS,
	.floor_units = PA_POLICY_FLOOR_UNITS,
};

/* [atomic is_taken guards the rest] */
static struct {
	_Atomic(bool) is_taken;
	_Atomic(uint64_t) ticked_ns;
	uint64_t half_ns;   /* when the later half of the window began */
	uint32_t half_mark; /* and what had been purged by then */
	struct pa_policy policy;
} tuner = { .policy = { .limit_units = PA_POLICY_FLOOR_UNITS } };

static bool tuner_take(void)
{
	bool expected = false;

	return pa_cas_acquire(&tuner.is_taken, &expected, true); /* pairs with tuner_leave */
}

static void tuner_leave(void)
{
	pa_store_release(&tuner.is_taken, false);
}

static int64_t greater(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* Races store a limit that is out of date; the next change mends it. */
static void set_limit(int64_t resident, int64_t live)
{
	int64_t before = pa_load_relaxed(&pa_reserve.peak_units);
	int64_t peak = greater(before, live);

	if (pa_load_relaxed(&pa_reserve.is_over_peak))
		peak = greater(peak, resident);
	if (peak > before)
		pa_store_relaxed(&pa_reserve.peak_units, peak);
	uint64_t room = (uint64_t)(peak - live) + pa_load_relaxed(&pa_reserve.floor_units);
	pa_store_relaxed(&pa_reserve.limit_units,
			 pa_min(pa_load_relaxed(&pa_reserve.allowed_units), room));
}

static void set_limit_anew(void)
{
	set_limit(pa_load_relaxed(&pa_reserve.resident_units), pa_load_relaxed(&pa_reserve.live_units));
}

void pa_reserve_set(const struct pa_keep_option *keep)
{
	while (!tuner_take())
		pa_lock_wait_a_little();
	pa_policy_init(&tuner.policy, keep);
	pa_store_relaxed(&pa_reserve.kept_to_units, 0);
	pa_store_relaxed(&pa_reserve.is_over_peak, false);
	pa_store_relaxed(&pa_reserve.allowed_units, tuner.policy.limit_units);
	/* What was asked for is kept by an idle process, and at a peak, as well. */
	bool is_auto = keep->mode == PA_KEEP_AUTO;
	pa_store_relaxed(&pa_reserve.floor_units, is_auto ? PA_POLICY_FLOOR_UNITS : UINT32_MAX);
	pa_store_relaxed(&pa_reserve.idle_units, is_auto ? 0 : UINT32_MAX);
	set_limit_anew();
	tuner_leave();
}

void pa_reserve_after_fork_child(void)
{
	tuner_leave();
}

/* Most changes are of one of them, and to add to a counter that others add to takes its time. */
static int64_t add(_Atomic(int64_t) *counter, int64_t units)
{
	return (units == 0 ? pa_load_relaxed(counter) : pa_add_relaxed(counter, units)) + units;
}

void pa_reserve_add(struct pa_reserve_change change)
{
	/* Each by itself: of two counters, others could change both between one and the other. */
	int64_t resident = add(&pa_reserve.resident_units, change.resident);
	int64_t live = add(&pa_reserve.live_units, change.resident - change.dirty);
	int64_t dirty = add(&pa_reserve.dirty_units, change.dirty);

	if (change.mapped != 0)
		pa_add_relaxed(&pa_reserve.mapped_units, (uint64_t)change.mapped);
	set_limit(resident, live);
	if (dirty < pa_load_relaxed(&pa_reserve.low_units))
		pa_store_relaxed(&pa_reserve.low_units, dirty);
	if (change.dirty > 0 && dirty > 2 * (int64_t)pa_load_relaxed(&pa_reserve.floor_units))
		pa_store_relaxed(&pa_reserve.wants_watch, true);
}

void pa_reserve_purged(uint64_t units, uint64_t calls, bool is_for_peak)
{
	if (is_for_peak)
		pa_add_relaxed(&pa_reserve.kept_to_units, units);
	pa_add_relaxed(&pa_reserve.purges, calls);
	pa_add_relaxed(&pa_reserve.purged_units, units);
}

/* By halves: it is between one half and the whole of PA_POLICY_WINDOW_NS long. */
static void move_window(uint64_t now)
{
	uint64_t age = now - tuner.half_ns;

	if (age < PA_POLICY_WINDOW_NS / 2)
		return;
	pa_store_relaxed(&pa_reserve.window_mark,
			 age < PA_POLICY_WINDOW_NS ? tuner.half_mark : pa_reserve_mark());
	tuner.half_mark = pa_reserve_mark();
	tuner.half_ns = now;
}

void pa_reserve_tick(void)
{
	uint64_t now = pa_os_clock_ns();

	if (now - pa_load_relaxed(&tuner.ticked_ns) < TICK_NS || !tuner_take())
		return;
	pa_store_relaxed(&tuner.ticked_ns, now);

	int64_t dirty = pa_load_relaxed(&pa_reserve.dirty_units);
	int64_t low = pa_load_relaxed(&pa_reserve.low_units);
	int64_t live = pa_load_relaxed(&pa_reserve.live_units);
	struct pa_policy_input input = {
		.now_ns = now,
		.cpu_ns = pa_os_cpu_ns(),
		.low_units = low > 0 ? (uint64_t)low : 0,
		.live_units = live > 0 ? (uint64_t)live : 0,
		.unit_ns = pa_reserve_unit_ns(),
		.peak_units = (uint64_t)pa_load_relaxed(&pa_reserve.peak_units),
		.kept_to_units = pa_load_relaxed(&pa_reserve.kept_to_units),
	};
	for (unsigned i = 0; i < PA_POLICY_DISTANCES; i++)
		input.refault_units[i] = pa_load_relaxed(&pa_reserve.refault_units[i]);
	move_window(now);
	pa_store_relaxed(&pa_reserve.low_units, dirty);
	pa_add_relaxed(&pa_reserve.ticks, 1);
	pa_store_relaxed(&pa_reserve.is_over_peak, pa_policy_weigh_peak(&tuner.policy, &input));
	pa_store_relaxed(&pa_reserve.allowed_units, pa_policy_tick(&tuner.policy, &input));
	set_limit_anew();
	tuner_leave();
}

static void (*_Atomic watch_hook)(void);

void pa_reserve_set_watch_hook(void (*hook)(void))
{
	pa_store_release(&watch_hook, hook);
}

void pa_reserve_watch(void)
{
	if (PA_LIKELY(!pa_load_relaxed(&pa_reserve.wants_watch)))
		return;
	void (*hook)(void) = pa_load_acquire(&watch_hook); /* pairs with pa_reserve_set_watch_hook */
	pa_store_relaxed(&pa_reserve.wants_watch, false);
	if (hook)
		hook();
}

uint32_t pa_reserve_mark(void)
{
	return (uint32_t)pa_load_relaxed(&pa_reserve.purged_units);
}

void pa_reserve_refault(uint64_t units, uint32_t mark)
{
	pa_reserve_tick(); /* which moves the window: nothing may have changed hands for long */
	uint32_t now = pa_reserve_mark(), distance = now - mark;

	if (distance <= now - pa_load_relaxed(&pa_reserve.window_mark))
		pa_add_relaxed(&pa_reserve.refault_units[pa_policy_distance_class(distance)], units);
}

uint64_t pa_reserve_refault_units(void)
{
	uint64_t units = 0;

	for (unsigned i = 0; i < PA_POLICY_DISTANCES; i++)
		units += pa_load_relaxed(&pa_reserve.refault_units[i]);
	return units;
}

bool pa_reserve_is_refused(void)
{
	uint64_t refused_ns = pa_load_relaxed(&pa_reserve.refused_ns);

	return PA_UNLIKELY(refused_ns != 0) && pa_os_clock_ns() - refused_ns < REFUSED_NS;
}

void pa_reserve_measured(_Atomic(uint32_t) *cost_ns, uint64_t units, uint64_t ns)
{
	uint64_t mean = pa_load_relaxed(cost_ns), each = pa_min(ns / pa_max(units, 1), 4 * mean);
	uint64_t weight =
		pa_max(1, pa_min(units, COST_WEIGHT / 2)); /* most of it is paid for each call */

	mean = (mean * (COST_WEIGHT - weight) + each * weight) / COST_WEIGHT;
	pa_store_relaxed(cost_ns, (uint32_t)pa_max(COST_MIN_NS, pa_min(mean, COST_MAX_NS)));
}

uint64_t pa_reserve_unit_ns(void)
{
	return (uint64_t)pa_load_relaxed(&pa_reserve.purge_ns) + pa_load_relaxed(&pa_reserve.touch_ns);
}

void pa_reserve_released(uint64_t units)
{
	uint64_t now = pa_os_clock_ns();

	if (now - pa_load_relaxed(&pa_reserve.released_ns) > PA_POLICY_WINDOW_NS)
		pa_store_relaxed(&pa_reserve.released_units, 0);
	pa_store_relaxed(&pa_reserve.released_ns, now);
	pa_add_relaxed(&pa_reserve.released_units, units);
}

uint64_t pa_reserve_taken(uint64_t units, uint32_t *mark)
{
	uint64_t released = pa_load_relaxed(&pa_reserve.released_units);
	uint64_t again = pa_min(units, released);

	if (again == 0 ||
	    pa_os_clock_ns() - pa_load_relaxed(&pa_reserve.released_ns) > PA_POLICY_WINDOW_NS)
		return 0;
	*mark = pa_reserve_mark() - (uint32_t)released; /* as if the last had been taken first */
	pa_store_relaxed(&pa_reserve.released_units,
			 released - again); /* an estimate: races lose counts */
	return again;
}
