/* SPDX-License-Identifier: MIT */
/*
 * guarded.h: a hardened process's large objects: mappings between two guard pages.  When one is freed,
 * its addresses stay taken for a while, so that who uses it after that meets nobody's memory.  Guarded by
 * PA_LOCK_LARGE, which the caller does not hold.
 */
#ifndef PA_GUARDED_H
#define PA_GUARDED_H

#include "base.h"

/* Of these many mappings, or so many bytes of them, the addresses stay taken. */
#define PA_GUARDED_KEPT 64u
#define PA_GUARDED_KEPT_BYTES (64 * PA_MIB)

/* Zeroed memory; NULL when the system has none.  Both are multiples of the kernel's page. */
void *pa_guarded_map(size_t bytes, size_t align);
void pa_guarded_unmap(void *start, size_t bytes);

/* Give all addresses back that are still taken; false if there were none. */
bool pa_guarded_release(void);

/* Whether a mapping began at p whose addresses are still taken. */
bool pa_guarded_is_kept(const void *p);

#endif
