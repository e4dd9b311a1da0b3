/* SPDX-License-Identifier: MIT */
/*
 * reserve.c: see reserve.h.
 */
#include "reserve.h"

#include "lock.h"
#include "os.h"

#define NS_PER_MS UINT64_C(1000000)
#define TICK_NS NS_PER_MS

struct pa_reserve pa_reserve = {
	.limit_units = PA_POLICY_FLOOR_UNITS,
	.floor_units = PA_POLICY_FLOOR_UNITS,
};

/* [atomic is_taken guards the rest] */
static struct {
	_Atomic(bool) is_taken;
	_Atomic(uint64_t) ticked_ns;
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

void pa_reserve_set(const struct pa_keep_option *keep)
{
	while (!tuner_take())
		pa_lock_wait_a_little();
	pa_policy_init(&tuner.policy, keep);
	pa_store_relaxed(&pa_reserve.limit_units, tuner.policy.limit_units);
	/* What was asked for is kept by an idle process as well. */
	pa_store_relaxed(&pa_reserve.floor_units,
			 keep->mode == PA_KEEP_AUTO ? PA_POLICY_FLOOR_UNITS : UINT32_MAX);
	tuner_leave();
}

void pa_reserve_after_fork_child(void)
{
	tuner_leave();
}

void pa_reserve_add_dirty(int64_t units)
{
	int64_t dirty = pa_add_relaxed(&pa_reserve.dirty_units, units) + units;

	if (dirty < pa_load_relaxed(&pa_reserve.low_units))
		pa_store_relaxed(&pa_reserve.low_units, dirty);
	if (units > 0 && dirty > 2 * (int64_t)pa_load_relaxed(&pa_reserve.floor_units))
		pa_store_relaxed(&pa_reserve.wants_watch, true);
}

void pa_reserve_tick(void)
{
	uint64_t now = pa_os_clock_ns();

	if (now - pa_load_relaxed(&tuner.ticked_ns) < TICK_NS || !tuner_take())
		return;
	pa_store_relaxed(&tuner.ticked_ns, now);

	int64_t dirty = pa_load_relaxed(&pa_reserve.dirty_units);
	int64_t low = pa_load_relaxed(&pa_reserve.low_units);
	int64_t live = (int64_t)pa_load_relaxed(&pa_reserve.mapped_units) - dirty;
	struct pa_policy_input input = {
		.now_ns = now,
		.cpu_ns = pa_os_cpu_ns(),
		.purged_units = pa_load_relaxed(&pa_reserve.purged_units),
		.refault_units = pa_load_relaxed(&pa_reserve.refault_units),
		.low_units = low > 0 ? (uint64_t)low : 0,
		.live_units = live > 0 ? (uint64_t)live : 0,
	};
	pa_store_relaxed(&pa_reserve.low_units, dirty);
	pa_add_relaxed(&pa_reserve.ticks, 1);
	pa_store_relaxed(&pa_reserve.limit_units, pa_policy_tick(&tuner.policy, &input));
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

uint32_t pa_reserve_now_ms(void)
{
	return (uint32_t)(pa_os_clock_ns() / NS_PER_MS);
}

void pa_reserve_refault(uint64_t units, uint32_t purged_ms)
{
	if (pa_reserve_now_ms() - purged_ms <= PA_POLICY_WINDOW_NS / NS_PER_MS)
		pa_add_relaxed(&pa_reserve.refault_units, units);
}

void pa_reserve_released(uint64_t units)
{
	uint64_t now = pa_os_clock_ns();

	if (now - pa_load_relaxed(&pa_reserve.released_ns) > PA_POLICY_WINDOW_NS)
		pa_store_relaxed(&pa_reserve.released_units, 0);
	pa_store_relaxed(&pa_reserve.released_ns, now);
	pa_add_relaxed(&pa_reserve.released_units, units);
}

uint64_t pa_reserve_taken(uint64_t units)
{
	uint64_t released = pa_load_relaxed(&pa_reserve.released_units);
	uint64_t again = pa_min(units, released);

	if (again == 0 ||
	    pa_os_clock_ns() - pa_load_relaxed(&pa_reserve.released_ns) > PA_POLICY_WINDOW_NS)
		return 0;
	pa_store_relaxed(&pa_reserve.released_units,
			 released - again); /* an estimate: races lose counts */
	return again;
}
