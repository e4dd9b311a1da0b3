/* SPDX-License-Identifier: MIT */
/*
 * secret.h: whether the process is hardened, and the numbers that it keeps from those who attack it:
 * what links, canaries and the order of blocks are made of.  Written once, before there are threads;
 * children of a fork have the same.  Called by pool.c, canary.c, quarantine.c and harden.c.
 *
 * The arithmetic is quick, not cryptographic: who can read many encoded words may find the secret.
 */
#ifndef PA_SECRET_H
#define PA_SECRET_H

#include "atomic.h"
#include "base.h"

struct pa_secret {
	bool is_hardened;          /* [const] after the start */
	uint64_t words[2];         /* [const] */
	_Atomic(uint64_t) counter; /* of random numbers */
};

extern struct pa_secret pa_secret;

PA_INLINE bool pa_is_hardened(void)
{
	return PA_UNLIKELY(pa_secret.is_hardened);
}

/* Two numbers to one, which tells nothing of them without the secret. */
PA_INLINE uint64_t pa_secret_mix(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)(a ^ pa_secret.words[0]) * (b ^ pa_secret.words[1]);

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* What the link in a free block is encoded with: nothing where the process is not hardened. */
PA_INLINE uintptr_t pa_secret_of_link(const void *block)
{
	return pa_is_hardened() ? (uintptr_t)pa_secret_mix((uintptr_t)block, 0) : 0;
}

/* A random number, another at each call. */
uint64_t pa_secret_random(void);

/* Of a random number: one below bound, all about equally often. */
PA_INLINE unsigned pa_secret_below(uint64_t random, unsigned bound)
{
	return (unsigned)((random >> 32) * bound >> 32);
}

/* From now on the process is hardened. */
void pa_secret_begin(void);

#endif
