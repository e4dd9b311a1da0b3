/* SPDX-License-Identifier: MIT */
/*
 * policy.c: see policy.h.  Owns nothing, calls nothing.
 */
#include "policy.h"

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

/*
 * What was purged and refaulted since the last tick, against the swing and the share of CPU time; returns
 * the refaults.
 */
static uint64_t weigh(struct pa_policy *policy, const struct pa_policy_input *input)
{
	uint64_t purged = input->purged_units - policy->purged_units;
	uint64_t refaults = input->refault_units - policy->refault_units;
	uint64_t allowed = less(input->cpu_ns, policy->cpu_ns) / PA_POLICY_SHARE / PA_POLICY_UNIT_NS;

	policy->purged_units = input->purged_units;
	policy->refault_units = input->refault_units;
	policy->cpu_ns = input->cpu_ns;
	policy->outstanding_units += purged;
	policy->swing_units = pa_max(policy->swing_units, policy->outstanding_units);
	policy->outstanding_units = less(policy->outstanding_units, refaults);
	policy->evidence_units = less(policy->evidence_units + refaults, allowed);
	return refaults;
}

static uint64_t tick_auto(struct pa_policy *policy, const struct pa_policy_input *input)
{
	if (!policy->is_started) {
		policy->is_started = true;
		policy->purged_units = input->purged_units;
		policy->refault_units = input->refault_units;
		policy->cpu_ns = input->cpu_ns;
		begin_interval(policy, input);
	}
	uint64_t refaults = weigh(policy, input);
	uint64_t limit = policy->limit_units;
	uint64_t swing = pa_max(policy->swing_units, PA_POLICY_SWING_MIN_UNITS);
	policy->interval_low_units = pa_min(policy->interval_low_units, input->low_units);
	if (refaults > 0 && policy->evidence_units >= PA_POLICY_EVIDENCE * swing) {
		limit += swing;
		policy->evidence_units = 0;
		policy->outstanding_units = 0;
		policy->swing_units = 0;
		begin_interval(policy, input);
	} else if (less(input->now_ns, policy->interval_began_ns) >= PA_POLICY_INTERVAL_NS) {
		limit -= pa_min(limit, policy->interval_low_units) / 2;
		policy->outstanding_units /= 2; /* what has not come back by now will hardly do so */
		policy->swing_units = pa_max(policy->outstanding_units, policy->swing_units / 2);
		begin_interval(policy, input);
	}
	limit = pa_max(limit, PA_POLICY_FLOOR_UNITS);
	return pa_min(limit, cap_units(input));
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
