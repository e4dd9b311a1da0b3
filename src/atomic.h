/* SPDX-License-Identifier: MIT */
/*
 * atomic.h: the few atomic operations that the engine needs, named by their ordering.  An acquire
 * comment at the call names the release that it pairs with.
 */
#ifndef PA_ATOMIC_H
#define PA_ATOMIC_H

#include <stdatomic.h>

#define pa_load_relaxed(p) atomic_load_explicit((p), memory_order_relaxed)
#define pa_load_acquire(p) atomic_load_explicit((p), memory_order_acquire)
#define pa_store_relaxed(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define pa_store_release(p, v) atomic_store_explicit((p), (v), memory_order_release)
#define pa_add_relaxed(p, v) atomic_fetch_add_explicit((p), (v), memory_order_relaxed)
#define pa_sub_relaxed(p, v) atomic_fetch_sub_explicit((p), (v), memory_order_relaxed)
#define pa_exchange_acquire(p, v) atomic_exchange_explicit((p), (v), memory_order_acquire)
#define pa_exchange_release(p, v) atomic_exchange_explicit((p), (v), memory_order_release)
#define pa_exchange_both(p, v) atomic_exchange_explicit((p), (v), memory_order_acq_rel)
#define pa_cas_acquire(p, expected, v) \
	atomic_compare_exchange_strong_explicit((p), (expected), (v), memory_order_acquire, \
						memory_order_relaxed)
#define pa_cas_weak_both(p, expected, v) \
	atomic_compare_exchange_weak_explicit((p), (expected), (v), memory_order_acq_rel, \
					      memory_order_relaxed)
#define pa_cas_weak_release(p, expected, v) \
	atomic_compare_exchange_weak_explicit((p), (expected), (v), memory_order_release, \
					      memory_order_relaxed)

#endif
