/* SPDX-License-Identifier: MIT */
/* dice.h: numbers that look random and are the same in every run. */
#ifndef DICE_H
#define DICE_H

#include <stddef.h>
#include <stdint.h>

struct dice {
	uint64_t state; /* any seed */
};

static inline uint64_t dice_throw(struct dice *dice)
{
	uint64_t x = dice->state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* 0 to n - 1 */
static inline unsigned dice_below(struct dice *dice, size_t n)
{
	return (unsigned)(dice_throw(dice) % n);
}

#endif
