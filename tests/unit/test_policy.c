/* SPDX-License-Identifier: MIT */
/*
 * test_policy.c: the policy, driven by a made clock and a made program whose live memory goes up and
 * down; the allocator around it is as simple as can be: what is dirty is used first, what is too much
 * is purged.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "dice.h"
#include "policy.h"

#define MS UINT64_C(1000000)
#define S (1000 * MS)
#define BASE_UNITS 100000u /* live at the lowest */

static struct pa_policy policy;

/* The made world. */
static uint64_t now_ns, cpu_ns, purged_total, refault_total, purged_at_ns, purged_units;
static uint64_t refaults_by_distance[PA_POLICY_DISTANCES];
static uint64_t dirty, low, live, limit, cpu_share_percent, unit_ns;

/* What a test looks at. */
static unsigned growths, turns;
static uint64_t limit_max;
static bool has_fallen;

static const struct pa_keep_option by_itself = { PA_KEEP_AUTO, 0 };

static int begin(void **state)
{
	(void)state;
	pa_policy_init(&policy, &by_itself);
	now_ns = 5 * S;
	cpu_ns = S;
	purged_total = refault_total = purged_at_ns = purged_units = 0;
	for (unsigned i = 0; i < PA_POLICY_DISTANCES; i++)
		refaults_by_distance[i] = 0;
	dirty = low = 0;
	live = BASE_UNITS;
	limit = PA_POLICY_FLOOR_UNITS;
	limit_max = 0;
	growths = turns = 0;
	has_fallen = false;
	cpu_share_percent = 100;
	unit_ns = 0;
	return 0;
}

/* What is used again is as far from its purge as there is purged memory left. */
static void refault(uint64_t units)
{
	refault_total += units;
	for (uint64_t left = units; left > 0; left -= pa_min(left, 16))
		refaults_by_distance[pa_policy_distance_class(purged_units - (units - left))] +=
			pa_min(left, 16);
}

static void set_live(uint64_t units)
{
	if (units > live) {
		uint64_t more = units - live, from_dirty = pa_min(more, dirty);
		dirty -= from_dirty;
		uint64_t again = pa_min(more - from_dirty, purged_units);
		if (now_ns - purged_at_ns <= PA_POLICY_WINDOW_NS)
			refault(again);
		purged_units -= again;
	} else {
		dirty += live - units;
	}
	live = units;
	low = pa_min(low, dirty);
	if (dirty > limit) {
		purged_total += dirty - limit;
		purged_units += dirty - limit;
		purged_at_ns = now_ns;
		dirty = limit;
	}
	low = pa_min(low, dirty);
}

static void tick(void)
{
	struct pa_policy_input input = {
		.now_ns = now_ns,
		.cpu_ns = cpu_ns,
		.low_units = low,
		.live_units = live,
		.unit_ns = unit_ns,
	};
	uint64_t before = limit;

	for (unsigned i = 0; i < PA_POLICY_DISTANCES; i++)
		input.refault_units[i] = refaults_by_distance[i];
	limit = pa_policy_tick(&policy, &input);
	growths += limit > before && limit > PA_POLICY_FLOOR_UNITS;
	turns += has_fallen && limit > before;
	has_fallen = limit < before || (has_fallen && limit == before);
	limit_max = pa_max(limit_max, limit);
	low = dirty;
}

/* A millisecond goes by with so many live units at its end. */
static void pass_ms(uint64_t units)
{
	now_ns += MS;
	cpu_ns += MS * cpu_share_percent / 100;
	set_live(units);
	tick();
}

static void pass(uint64_t ms, uint64_t units)
{
	while (ms-- > 0)
		pass_ms(units);
}

/* Up for so long, down for so long, many times. */
static void swing(unsigned times, uint64_t units, uint64_t up_ms, uint64_t down_ms)
{
	while (times-- > 0) {
		pass(up_ms, BASE_UNITS + units);
		pass(down_ms, BASE_UNITS);
	}
}

static void test_one_peak(void **state)
{
	(void)state;

	pass(100, BASE_UNITS);
	pass(500, BASE_UNITS + 100000);
	pass(5000, BASE_UNITS);
	assert_int_equal(growths, 0);
	assert_int_equal(limit, PA_POLICY_FLOOR_UNITS);
	assert_true(dirty <= PA_POLICY_FLOOR_UNITS);
	assert_true(purged_total >= 100000 - PA_POLICY_FLOOR_UNITS);
}

static void test_three_big_swings(void **state)
{
	(void)state;

	/* So slow that nothing comes back within the window. */
	for (uint64_t down_ms = PA_POLICY_WINDOW_NS / MS + 10; down_ms < 6000; down_ms *= 3) {
		begin(NULL);
		swing(3, 50000, 300, down_ms);
		pass(300, BASE_UNITS + 50000);
		pass(3000, BASE_UNITS);
		assert_int_equal(growths, 0);
		assert_int_equal(limit, PA_POLICY_FLOOR_UNITS);
	}
	/* And fast ones, as long as they do not cost much of the time, but for a habit. */
	begin(NULL);
	unit_ns = 300;
	swing(3, 50000, 90, 90);
	pass(90, BASE_UNITS + 50000);
	assert_int_equal(growths, 0);
	swing(6, 50000, 90, 90);
	assert_int_not_equal(growths, 0);
}

/* A fast cycle by habit: the reserve soon holds what pays of its swing, and purging costs no more than it may. */
static void test_habit(void **state)
{
	static const unsigned swings[] = { 500, 5000, 30000 };
	(void)state;

	for (unsigned i = 0; i < sizeof swings / sizeof swings[0]; i++) {
		begin(NULL);
		swing(60, swings[i], 10, 10);
		assert_in_range(limit, swings[i] / 2, 2 * swings[i] + PA_POLICY_FLOOR_UNITS);
		uint64_t refaults_before = refault_total, cpu_before = cpu_ns;
		unsigned growths_before = growths;
		swing(500, swings[i], 10, 10);
		assert_true((refault_total - refaults_before) * PA_POLICY_UNIT_NS <=
			    (cpu_ns - cpu_before) / PA_POLICY_SHARE * 5 / 4);
		assert_true(growths - growths_before <= 2);
	}
}

/* What a swing has to cost before it is kept is a few times its own size: a small one is kept soon. */
static uint64_t purged_before_growth(uint64_t units, uint64_t half_ms)
{
	begin(NULL);
	for (unsigned n = 0; n < 1000 && growths == 0; n++)
		swing(1, units, half_ms, half_ms);
	assert_int_equal(growths, 1);
	return purged_total;
}

static void test_small_swings_earn_their_place_soon(void **state)
{
	uint64_t small = purged_before_growth(900, 15), large = purged_before_growth(2500, 15);
	(void)state;

	assert_in_range(small, 900 - PA_POLICY_FLOOR_UNITS, 3 * 900);
	assert_true(large >= (uint64_t)PA_POLICY_EVIDENCE * (2500 - 2 * PA_POLICY_FLOOR_UNITS));
	assert_true(large > 5 * small);
}

/* So does a large one where a good part of the time goes for it, but not before it has taken some. */
static void test_dear_swings_earn_their_place_soon(void **state)
{
	(void)state;

	assert_in_range(purged_before_growth(10000, 5), 10000, 3 * 10000);
	begin(NULL);
	swing(2, 2500, 1, 1);
	pass_ms(BASE_UNITS + 2500);
	assert_true(refault_total > 4000);
	assert_int_equal(growths, 0);
}

/* Swings within the floor cost nothing and change nothing. */
static void test_swings_within_the_floor(void **state)
{
	(void)state;

	swing(200, PA_POLICY_FLOOR_UNITS, 5, 5);
	assert_int_equal(purged_total, 0);
	assert_int_equal(growths, 0);
	assert_int_equal(limit, PA_POLICY_FLOOR_UNITS);
}

/* Where purging costs less than its share of the CPU time, nothing more is kept. */
static void test_cheap_purging_is_no_evidence(void **state)
{
	/* The share of a second, in units. */
	uint64_t allowed = S / PA_POLICY_SHARE / PA_POLICY_UNIT_NS;
	(void)state;

	/* One swing in half a second refaults in time, but needs a fraction of the share. */
	assert_true(allowed > 6000);
	swing(60, 1500, 450, 50);
	assert_true(refault_total > 50 * 1000);
	assert_int_equal(growths, 0);
	/* On a machine where pages are dear it is no fraction any more. */
	begin(NULL);
	unit_ns = 8 * PA_POLICY_UNIT_NS;
	swing(60, 1500, 450, 50);
	assert_true(growths >= 1);
	assert_true(limit >= 1000);
	/* Nor where the share of one tick is less than a page. */
	begin(NULL);
	unit_ns = 3 * PA_POLICY_UNIT_NS;
	cpu_share_percent = 20;
	swing(60, 300, 450, 50);
	assert_true(refault_total > 50 * 100);
	assert_int_equal(growths, 0);
	/* The same for a process that hardly uses the CPU otherwise is expensive. */
	begin(NULL);
	cpu_share_percent = 1;
	swing(60, 1500, 450, 50);
	assert_true(growths >= 1);
	assert_true(limit >= 1500);
}

static void test_unused_reserve_is_let_go_by_halves(void **state)
{
	(void)state;

	swing(100, 5000, 10, 10);
	uint64_t last = limit;
	unsigned steps = 0;
	assert_true(last >= 5000);
	/* The first interval began when it was still in use. */
	for (unsigned ms = 0; limit == last && ms <= 2 * PA_POLICY_INTERVAL_NS / MS; ms++)
		pass_ms(BASE_UNITS);
	while (limit > PA_POLICY_FLOOR_UNITS) {
		uint64_t before = limit, ms = 0;
		while (limit == before) {
			pass_ms(BASE_UNITS);
			assert_true(++ms <= PA_POLICY_INTERVAL_NS / MS + 1);
		}
		assert_true(ms >= PA_POLICY_INTERVAL_NS / MS - 1);
		/* All of it lies unused, so half goes. */
		assert_true(limit >= before / 2 || limit == PA_POLICY_FLOOR_UNITS);
		assert_true(limit <= pa_max(before / 2 + 1, PA_POLICY_FLOOR_UNITS));
		steps++;
	}
	assert_in_range(steps, 3, 8);
	pass(3000, BASE_UNITS);
	assert_int_equal(limit, PA_POLICY_FLOOR_UNITS);
	assert_in_range(dirty, 0, PA_POLICY_FLOOR_UNITS);
}

/* Evidence fades as the swings do: a few that are over let nothing grow. */
static void test_swings_that_are_over(void **state)
{
	(void)state;

	unit_ns = 300;
	swing(3, 50000, 100, 50);
	pass(5000, BASE_UNITS);
	assert_int_equal(growths, 0);
	assert_int_equal(limit, PA_POLICY_FLOOR_UNITS);
}

/* Only what was not touched through the interval goes: the rest is needed. */
static void test_reserve_in_use_stays(void **state)
{
	(void)state;

	swing(100, 5000, 10, 10);
	uint64_t before = limit;
	swing(1000, 5000, 10, 10);
	assert_int_equal(limit, before);
	/* Half of the swing goes on: about half of the reserve is not touched any more. */
	swing(200, 2000, 10, 10);
	assert_in_range(limit, 2000, before - (before - 2000) / 3);
	uint64_t purged = purged_total;
	swing(500, 2000, 10, 10);
	assert_in_range(limit, 2000, 2000 + (before - 2000) / 3 + PA_POLICY_FLOOR_UNITS);
	assert_true(purged_total - purged <= before);
}

/* However much or little is live: what is kept without evidence is the same. */
static void test_floor(void **state)
{
	(void)state;

	pass(10, 1280000);
	assert_int_equal(limit, PA_POLICY_FLOOR_UNITS);
	pass(5000, 1280000);
	assert_int_equal(limit, PA_POLICY_FLOOR_UNITS);
	pass(5000, 10);
	assert_int_equal(limit, PA_POLICY_FLOOR_UNITS);
}

/* Evidence without end does not raise the limit above the cap. */
static void drive_to_cap(uint64_t live_units)
{
	uint64_t swing_units = 20 * PA_POLICY_CAP_UNITS;
	struct pa_policy_input input = { .now_ns = S, .live_units = live_units };

	pa_policy_init(&policy, &by_itself);
	for (unsigned n = 0; n < 2000; n++) {
		input.now_ns += MS;
		input.refault_units[pa_policy_distance_class(swing_units / 2)] += swing_units;
		limit = pa_policy_tick(&policy, &input);
		limit_max = pa_max(limit_max, limit);
	}
}

static void test_cap(void **state)
{
	(void)state;

	drive_to_cap(100);
	assert_int_equal(limit_max, PA_POLICY_CAP_UNITS);
	begin(NULL);
	drive_to_cap(10 * PA_POLICY_CAP_UNITS);
	assert_int_equal(limit_max, 10 * PA_POLICY_CAP_UNITS);
	/* As the live memory shrinks, so does the cap, at once. */
	struct pa_policy_input input = { .now_ns = 100 * S, .live_units = 5 };
	for (unsigned i = 0; i < PA_POLICY_DISTANCES; i++)
		input.refault_units[i] = policy.refault_units[i];
	assert_true(pa_policy_tick(&policy, &input) <= PA_POLICY_CAP_UNITS);
}

/* So many units go for the peak's sake, and come again.  Whether that costs too much by now. */
static bool keep_to_peak(struct pa_policy_input *input, uint64_t units)
{
	input->kept_to_units += units;
	pa_policy_weigh_peak(&policy, input);
	input->refault_units[pa_policy_distance_class(units)] += units;
	pa_policy_tick(&policy, input);
	return pa_policy_weigh_peak(&policy, input);
}

static void test_the_peak_is_kept_to_while_it_costs_little(void **state)
{
	struct pa_policy_input input = {
		.cpu_ns = 10 * S, .live_units = 4096, .peak_units = 4096, .unit_ns = 1024
	};
	uint64_t most_units = PA_POLICY_PEAK_TIMES * PA_POLICY_FLOOR_UNITS;
	(void)state;

	assert_false(keep_to_peak(&input, 0));
	/* What goes and does not come again costs nothing. */
	input.kept_to_units += 100 * most_units;
	assert_false(pa_policy_weigh_peak(&policy, &input));
	input.now_ns += S;
	assert_false(keep_to_peak(&input, most_units));
	assert_true(keep_to_peak(&input, 1));
	/* Time makes it cheap again, as much of the share of it as of the peak is at stake, */
	uint64_t unit_takes_ns = PA_POLICY_PEAK_SHARE * input.unit_ns * 4096 / PA_POLICY_FLOOR_UNITS;
	input.cpu_ns += unit_takes_ns / 2;
	assert_true(pa_policy_weigh_peak(&policy, &input));
	input.cpu_ns += unit_takes_ns / 2;
	assert_false(pa_policy_weigh_peak(&policy, &input));
	/* but does not add up beforehand. */
	input.cpu_ns += 1000 * S;
	assert_false(pa_policy_weigh_peak(&policy, &input));
	assert_true(keep_to_peak(&input, most_units + 1));
	/* A larger reserve is worth more, up to a bound. */
	policy.limit_units += 1;
	assert_false(pa_policy_weigh_peak(&policy, &input));
	policy.limit_units = input.peak_units = PA_POLICY_PEAK_UNITS;
	input.live_units = PA_POLICY_PEAK_UNITS;
	assert_false(keep_to_peak(&input, PA_POLICY_PEAK_UNITS - most_units - 1));
	assert_true(keep_to_peak(&input, 1));
	/* A forked child's time begins anew, and is no time that went by. */
	input.cpu_ns = 0;
	assert_true(pa_policy_weigh_peak(&policy, &input));
	input.cpu_ns += PA_POLICY_PEAK_SHARE * input.unit_ns;
	assert_false(pa_policy_weigh_peak(&policy, &input));
	/* Where the cost of a page is not known, it is taken to be what it usually is. */
	pa_policy_init(&policy, &by_itself);
	input.unit_ns = 0;
	assert_false(keep_to_peak(&input, 0));
	assert_false(keep_to_peak(&input, most_units));
	assert_true(keep_to_peak(&input, 1));
}

/* What had to go for the peak's sake, and comes again, does not wind the limit up. */
static void test_what_keeps_to_the_peak_is_no_evidence(void **state)
{
	struct pa_policy_input input = { .now_ns = S, .live_units = 100000, .peak_units = 100000 };
	(void)state;

	pa_policy_init(&policy, &by_itself);
	for (unsigned n = 0; n < 1000; n++) {
		input.now_ns += 5 * MS;
		input.kept_to_units += 500;
		pa_policy_weigh_peak(&policy, &input);
		limit = pa_policy_tick(&policy, &input);
		assert_int_equal(limit, PA_POLICY_FLOOR_UNITS);
		input.now_ns += 5 * MS;
		input.refault_units[pa_policy_distance_class(500)] += 400;
		pa_policy_weigh_peak(&policy, &input);
		limit = pa_policy_tick(&policy, &input);
		assert_int_equal(limit, PA_POLICY_FLOOR_UNITS);
	}
	/* What the policy itself had purged is evidence as ever, when no more is excused. */
	input.now_ns += S;
	pa_policy_weigh_peak(&policy, &input);
	limit = pa_policy_tick(&policy, &input);
	assert_int_equal(limit, PA_POLICY_FLOOR_UNITS);
	input.refault_units[pa_policy_distance_class(500)] += 1000;
	input.now_ns += MS;
	pa_policy_weigh_peak(&policy, &input);
	assert_true(pa_policy_tick(&policy, &input) > PA_POLICY_FLOOR_UNITS);
}

static void test_fixed_amount(void **state)
{
	struct pa_keep_option keep = { PA_KEEP_BYTES, 40 * PA_MIB + 1 };
	(void)state;

	pa_policy_init(&policy, &keep);
	assert_int_equal(policy.limit_units, 40 * PA_MIB / PA_UNIT_BYTES);
	swing(100, 30000, 5, 5);
	pass(5000, BASE_UNITS);
	assert_int_equal(limit, 40 * PA_MIB / PA_UNIT_BYTES);
	assert_int_equal(limit_max, limit);
	keep.value = 0;
	pa_policy_init(&policy, &keep);
	assert_int_equal(policy.limit_units, 0);
	swing(10, 3000, 5, 5);
	assert_int_equal(limit, 0);
	keep.value = SIZE_MAX;
	pa_policy_init(&policy, &keep);
	tick();
	assert_int_equal(limit, SIZE_MAX >> PA_UNIT_SHIFT);
}

static void test_percentage(void **state)
{
	const struct pa_keep_option keep = { PA_KEEP_PERCENT, 25 };
	(void)state;

	pa_policy_init(&policy, &keep);
	assert_int_equal(policy.limit_units, PA_POLICY_FLOOR_UNITS);
	for (uint64_t units = 0; units < 100000; units += 9999) {
		pass(3, units);
		assert_in_range(limit, units * 25 / 100 - pa_min(25, units * 25 / 100),
				units * 25 / 100);
	}
	pass_ms(40000);
	assert_int_equal(limit, 10000);
}

/* What went before the first look is no evidence. */
static void test_counters_begin_at_the_first_tick(void **state)
{
	(void)state;

	purged_units = purged_total = 1000000;
	refault(900000);
	purged_units = 0;
	pass(2000, BASE_UNITS);
	assert_int_equal(growths, 0);
	assert_int_equal(limit, PA_POLICY_FLOOR_UNITS);
}

/* In a minute, the limit may find its place in some steps; it must not go up and down for ever. */
static void is_steady(const char *what, uint64_t most)
{
	if (growths > 50)
		fail_msg("%s: the limit grew %u times", what, growths);
	if (turns > 2)
		fail_msg("%s: the limit fell and grew again %u times", what, turns);
	if (limit_max > most)
		fail_msg("%s: the limit grew to %llu", what, (unsigned long long)limit_max);
}

static void test_steady_in_regular_swings(void **state)
{
	static const uint64_t times[] = {
		1, 3, 30, 90, 99, 101, 110, 130, 180, 240, 260, 400, 600, 1100
	};
	static const uint64_t swings[] = { 200, 1000, 8000, 40000 };
	(void)state;

	for (unsigned u = 0; u < sizeof times / sizeof times[0]; u++)
		for (unsigned d = 0; d < sizeof times / sizeof times[0]; d++)
			for (unsigned s = 0; s < sizeof swings / sizeof swings[0]; s++) {
				char what[64];
				begin(NULL);
				swing((unsigned)(30000 / (times[u] + times[d])), swings[s], times[u],
				      times[d]);
				snprintf(what, sizeof what, "up %u ms, down %u ms, %u units",
					 (unsigned)times[u], (unsigned)times[d], (unsigned)swings[s]);
				is_steady(what, swings[s] * 8 / 5 + PA_POLICY_FLOOR_UNITS);
			}
}

static void test_longer_than_the_window_is_never_kept(void **state)
{
	(void)state;

	swing(200, 40000, 20, PA_POLICY_WINDOW_NS / MS + 10);
	assert_int_equal(refault_total, 0);
	assert_int_equal(growths, 0);
	assert_int_equal(limit, PA_POLICY_FLOOR_UNITS);
}

static void test_steady_on_a_sawtooth(void **state)
{
	static const uint64_t periods[] = { 10, 50, 100, 110, 250, 300, 1000 };
	(void)state;

	for (unsigned i = 0; i < sizeof periods / sizeof periods[0]; i++) {
		begin(NULL);
		for (uint64_t ms = 0; ms < 60000; ms++)
			pass_ms(BASE_UNITS + 10000 * (ms % periods[i]) / periods[i]);
		is_steady("sawtooth", 10000 * 9 / 8 + PA_POLICY_FLOOR_UNITS);
	}
}

static void test_ramp_and_fall(void **state)
{
	(void)state;

	for (uint64_t ms = 0; ms < 20000; ms++)
		pass_ms(BASE_UNITS + 10 * ms);
	assert_int_equal(growths, 0);
	for (uint64_t ms = 20000; ms > 0; ms--)
		pass_ms(BASE_UNITS + 10 * ms);
	pass(1000, BASE_UNITS);
	assert_int_equal(growths, 0);
	assert_int_equal(limit, PA_POLICY_FLOOR_UNITS);
}

static void test_spikes(void **state)
{
	(void)state;

	for (unsigned n = 0; n < 30; n++) {
		pass(2, BASE_UNITS + 60000);
		pass(1998, BASE_UNITS);
	}
	assert_int_equal(growths, 0);
	assert_int_equal(limit, PA_POLICY_FLOOR_UNITS);
}

static void test_random_demand_stays_in_bounds(void **state)
{
	struct dice dice = { 5 };
	(void)state;

	for (unsigned n = 0; n < 60000; n++) {
		if (dice_below(&dice, 20) == 0)
			pass_ms(BASE_UNITS + dice_below(&dice, 30000));
		else
			pass_ms(live);
		assert_true(limit >= PA_POLICY_FLOOR_UNITS);
		assert_true(limit <= pa_max(PA_POLICY_CAP_UNITS, live));
	}
	assert_true(limit_max <= 2 * 30000);
	pass(5000, BASE_UNITS);
	assert_int_equal(limit, PA_POLICY_FLOOR_UNITS);
}

/* A clock that stands still, as under a debugger: nothing decays, swings still count. */
static void test_clocks_that_stand_still(void **state)
{
	(void)state;

	swing(100, 5000, 10, 10);
	uint64_t before = limit;
	for (unsigned n = 0; n < 10000; n++) {
		set_live(BASE_UNITS);
		tick();
	}
	assert_int_equal(limit, before);
	begin(NULL);
	for (unsigned n = 0; n < 100; n++) {
		set_live(BASE_UNITS + 5000);
		tick();
		set_live(BASE_UNITS);
		tick();
	}
	assert_true(limit >= 5000);
	assert_true(limit <= 2 * 5000 + PA_POLICY_FLOOR_UNITS);
	pass(5000, BASE_UNITS);
	assert_int_equal(limit, PA_POLICY_FLOOR_UNITS);
}

static void test_clocks_that_go_back(void **state)
{
	(void)state;

	swing(100, 5000, 10, 10);
	uint64_t before = limit, cpu_before = cpu_ns;
	now_ns -= 4 * S;
	cpu_ns = 1;
	tick();
	assert_int_equal(limit, before);
	pass(100, BASE_UNITS);
	assert_int_equal(limit, before);
	/* No refault becomes cheap by CPU time that goes back, or dear: the habit goes on undisturbed. */
	swing(100, 5000, 10, 10);
	assert_int_equal(limit, before);
	cpu_ns = cpu_before;
	pass(10000, BASE_UNITS);
	assert_int_equal(limit, PA_POLICY_FLOOR_UNITS);
}

#define point(test) cmocka_unit_test_setup(test, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		point(test_one_peak),
		point(test_three_big_swings),
		point(test_habit),
		point(test_small_swings_earn_their_place_soon),
		point(test_dear_swings_earn_their_place_soon),
		point(test_swings_within_the_floor),
		point(test_cheap_purging_is_no_evidence),
		point(test_unused_reserve_is_let_go_by_halves),
		point(test_swings_that_are_over),
		point(test_reserve_in_use_stays),
		point(test_floor),
		point(test_cap),
		point(test_the_peak_is_kept_to_while_it_costs_little),
		point(test_what_keeps_to_the_peak_is_no_evidence),
		point(test_fixed_amount),
		point(test_percentage),
		point(test_counters_begin_at_the_first_tick),
		point(test_steady_in_regular_swings),
		point(test_longer_than_the_window_is_never_kept),
		point(test_steady_on_a_sawtooth),
		point(test_ramp_and_fall),
		point(test_spikes),
		point(test_random_demand_stays_in_bounds),
		point(test_clocks_that_stand_still),
		point(test_clocks_that_go_back),
	};

	return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
