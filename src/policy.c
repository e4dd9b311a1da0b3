/* SPDX-License-Identifier: MIT */
/*
 * policy.c: see policy.h.  Owns nothing, calls nothing.
 */
#include "policy.h"

static uint64_t floor_units(const struct pa_policy_input *input)
{
	return pa_max(PA_POLICY_FLOOR_UNITS, input->live_units / PA_POLICY_FLOOR_SHARE);
}

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

static uint64_t tick_auto(struct pa_policy *policy, const struct pa_policy_input *input)
{
	if (!policy->is_started) {
		policy->is_started = true;
		policy->debt_ns = -PA_POLICY_CREDIT_NS;
		policy->cpu_ns = input->cpu_ns;
		policy->refault_units = input->refault_units;
		begin_interval(policy, input);
	}
	uint64_t refaults = input->refault_units - policy->refault_units;
	uint64_t cpu_ns = input->cpu_ns > policy->cpu_ns ? input->cpu_ns - policy->cpu_ns : 0;
	policy->refault_units = input->refault_units;
	policy->cpu_ns = input->cpu_ns;

	policy->debt_ns += (int64_t)(refaults * PA_POLICY_PAGE_NS) - (int64_t)(cpu_ns / PA_POLICY_SHARE);
	if (policy->debt_ns < -PA_POLICY_CREDIT_NS)
		policy->debt_ns = -PA_POLICY_CREDIT_NS;

	uint64_t limit = policy->limit_units;
	policy->pending_units += refaults;
	policy->interval_low_units = pa_min(policy->interval_low_units, input->low_units);
	if (policy->debt_ns > 0 && policy->pending_units > 0) {
		limit += policy->pending_units;
		policy->pending_units = 0;
		policy->debt_ns = 0;
		begin_interval(policy, input);
	} else if (input->now_ns - policy->interval_began_ns >= PA_POLICY_INTERVAL_NS) {
		limit -= pa_min(limit, policy->interval_low_units) / 2;
		policy->pending_units = 0; /* what did not matter then does not now */
		begin_interval(policy, input);
	}
	limit = pa_max(limit, floor_units(input));
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
