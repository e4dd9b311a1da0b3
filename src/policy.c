/* SPDX-License-Identifier: MIT */
/*
 * policy.c: see policy.h.  Owns nothing, calls nothing.
 */
#include "policy.h"

#define WHOLE UINT64_C(4096) /* of which a share is told */

static uint64_t cap_units(const struct pa_policy_input *input)
{
	return pa_max(PA_POLICY_CAP_UNITS, input->live_units / PA_POLICY_CAP_SHARE);
}

void pa_policy_init(struct pa_policy *policy, const struct pa_keep_option *keep)
{
	*policy = (struct pa_policy){ .keep = *keep, .limit_units = PA_POLICY_FLOOR_UNITS };
	if (keep->mode == PA_KEEP_BYTES)
		policy->limit_units = keep->value >> PA_UNIT_SHIFT;
}

static void begin_interval(struct pa_policy *policy, const struct pa_policy_input *input)
{
	policy->interval_began_ns = input->now_ns;
	policy->interval_low_units = UINT64_MAX;
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static uint64_t unit_ns(const struct pa_policy_input *input)
{
	return input->unit_ns > 0 ? input->unit_ns : PA_POLICY_UNIT_NS;
}

/* So much CPU time has passed, and so many refaults have come. */
static void note_loss(struct pa_policy *policy, const struct pa_policy_input *input, uint64_t refaults)
{
	policy->spent_ns +=
		less(input->cpu_ns, policy->spent_cpu_ns); /* a forked child's begins anew */
	policy->spent_cpu_ns = input->cpu_ns;
	policy->lost_ns += refaults * unit_ns(input);
	if (policy->spent_ns > PA_POLICY_DEAR_NS) {
		policy->spent_ns /= 2;
		policy->lost_ns /= 2;
	}
}

/* Not yet at the beginning, when there is little time to compare with. */
static bool is_dear(const struct pa_policy *policy)
{
	return PA_POLICY_DEAR_SHARE * policy->lost_ns > pa_max(policy->spent_ns, PA_POLICY_DEAR_NS / 4);
}

/*
 * Add the refaults since the last tick to the evidence, less what they may cost.  What may be is taken
 * from the greatest distances first: they would be the dearest to avoid.  True if there were any.  What
 * is excused is what keeping to the peak costs.
 */
static bool weigh(struct pa_policy *policy, const struct pa_policy_input *input)
{
	uint64_t each_ns =
		PA_POLICY_SHARE * unit_ns(input); /* of CPU time, that a refault may come in */
	policy->cpu_ns = pa_min(policy->cpu_ns, input->cpu_ns); /* a forked child's begins anew */
	uint64_t allowed = (input->cpu_ns - policy->cpu_ns) / each_ns;
	policy->cpu_ns += allowed * each_ns; /* what is left over counts the next time */
	uint64_t total = 0;

	for (unsigned i = PA_POLICY_DISTANCES; i-- > 0;) {
		uint64_t refaults = input->refault_units[i] - policy->refault_units[i];
		uint64_t excused = pa_min(refaults, policy->excused_units);
		policy->excused_units -= excused;
		policy->peak_ns += excused * unit_ns(input);
		refaults -= excused;
		uint64_t sum = policy->evidence_units[i] + refaults;
		policy->evidence_units[i] = less(sum, allowed);
		allowed = less(allowed, sum);
		policy->refault_units[i] = input->refault_units[i];
		total += refaults;
	}
	note_loss(policy, input, total);
	return total > 0;
}

/*
 * By how much the evidence asks to grow: the least distance that it pays for; 0 if there is none.  Once
 * is enough for a small distance, if most of the refaults come from there, and for any while they are dear.
 */
static uint64_t growth(struct pa_policy *policy)
{
	uint64_t sum = 0, total = 0;

	for (unsigned i = 0; i < PA_POLICY_DISTANCES; i++)
		total += policy->evidence_units[i];

	for (unsigned i = 0; i < PA_POLICY_DISTANCES; i++) {
		uint64_t units = UINT64_C(64) << i;
		sum += policy->evidence_units[i];
		uint64_t more = units - units / 4; /* between this doubling and the last */
		bool is_small = units <= PA_POLICY_SMALL_UNITS && 2 * sum > total;
		if (sum < units * (is_small || is_dear(policy) ? 1 : PA_POLICY_EVIDENCE))
			continue;
		for (unsigned j = 0; j <= i; j++)
			policy->evidence_units[j] = 0;
		return more;
	}
	return 0;
}

static uint64_t tick_auto(struct pa_policy *policy, const struct pa_policy_input *input)
{
	if (!policy->is_started) {
		policy->is_started = true;
		for (unsigned i = 0; i < PA_POLICY_DISTANCES; i++)
			policy->refault_units[i] = input->refault_units[i];
		policy->cpu_ns = policy->spent_cpu_ns = input->cpu_ns;
		begin_interval(policy, input);
	}
	uint64_t limit = policy->limit_units;
	uint64_t more = weigh(policy, input) ? growth(policy) : 0;
	policy->interval_low_units = pa_min(policy->interval_low_units, input->low_units);
	if (more > 0) {
		limit += more;
		begin_interval(policy, input);
	} else if (less(input->now_ns, policy->interval_began_ns) >= PA_POLICY_INTERVAL_NS) {
		limit -= pa_min(limit, policy->interval_low_units) / 2;
		begin_interval(policy, input);
	}
	limit = pa_max(limit, PA_POLICY_FLOOR_UNITS);
	return pa_min(limit, cap_units(input));
}

/* What comes again is excused once, and in proportion to the time that has passed no more. */
static void excuse(struct pa_policy *policy, const struct pa_policy_input *input, uint64_t units)
{
	uint64_t passed_ns = pa_min(less(input->now_ns, policy->now_ns), PA_POLICY_WINDOW_NS);
	uint64_t passed = policy->excused_units * passed_ns / PA_POLICY_WINDOW_NS;

	policy->now_ns = input->now_ns;
	policy->excused_units = pa_min(policy->excused_units - passed + units, PA_POLICY_PEAK_UNITS);
}

bool pa_policy_weigh_peak(struct pa_policy *policy, const struct pa_policy_input *input)
{
	uint64_t cpu_ns = less(input->cpu_ns, policy->peak_cpu_ns); /* a forked child's begins anew */
	uint64_t gain_units = pa_min(policy->limit_units, input->peak_units);
	uint64_t most_units = pa_min(PA_POLICY_PEAK_TIMES * gain_units, PA_POLICY_PEAK_UNITS);
	uint64_t gain_share = WHOLE * gain_units / pa_max(input->peak_units, 1);

	policy->peak_cpu_ns = input->cpu_ns;
	policy->peak_ns = less(policy->peak_ns, cpu_ns / PA_POLICY_PEAK_SHARE * gain_share / WHOLE);
	excuse(policy, input, input->kept_to_units - policy->kept_to_units);
	policy->kept_to_units = input->kept_to_units;
	return policy->peak_ns > most_units * unit_ns(input);
}

uint64_t pa_policy_tick(struct pa_policy *policy, const struct pa_policy_input *input)
{
	switch (policy->keep.mode) {
	case PA_KEEP_BYTES:
		policy->limit_units = policy->keep.value >> PA_UNIT_SHIFT;
		break;
	case PA_KEEP_PERCENT:
		policy->limit_units = input->live_units / 100 * policy->keep.value;
		break;
	case PA_KEEP_AUTO:
		policy->limit_units = tick_auto(policy, input);
		break;
	}
	return policy->limit_units;
}
