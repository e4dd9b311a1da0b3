/* SPDX-License-Identifier: MIT */
/*
 * secret.c: see secret.h.
 */
#include "secret.h"

#include "os.h"

struct pa_secret pa_secret;

uint64_t pa_secret_random(void)
{
	uint64_t n = pa_add_relaxed(&pa_secret.counter, UINT64_C(0x9e3779b97f4a7c15));

	return pa_secret_mix(n, n >> 32 | n << 32);
}

void pa_secret_begin(void)
{
	uint64_t words[3];

	if (pa_secret.is_hardened)
		return;
	pa_os_random(words, sizeof words / sizeof words[0]);
	pa_secret.words[0] = words[0];
	pa_secret.words[1] = words[1];
	pa_store_relaxed(&pa_secret.counter, words[2]);
	pa_secret.is_hardened = true;
}
