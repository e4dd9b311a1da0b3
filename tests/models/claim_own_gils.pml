/* SPDX-License-Identifier: MIT */
/*
 * claim_own_gils.pml: claim.pml, of CPython 3.12 and newer.
 *
 * BROKEN 1: the fast path is not made to miss.
 * BROKEN 2: the slow path does not wait for a claim.
 * BROKEN 3: the GIL is looked at before the fast path is made to miss.
 * BROKEN 4: there is no barrier in between.
 * BROKEN 5: the mark is not looked at again.
 */
#define OWN_GILS
#ifndef THREADS
#define THREADS 4
#endif
#include "claim.pml"
