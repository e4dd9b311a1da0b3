/* SPDX-License-Identifier: MIT */
/*
 * base.h: what every module uses: compiler attributes, arithmetic on sizes and addresses, assertions
 * and the constants of the architecture.  Owns no state.
 */
#ifndef PA_BASE_H
#define PA_BASE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PA_LIKELY(x) __builtin_expect(!!(x), 1)
#define PA_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define PA_COLD __attribute__((cold, noinline))
#define PA_NOINLINE __attribute__((noinline))
#define PA_INLINE static inline __attribute__((always_inline))
#define PA_CACHE_LINE 64

/* An assertion with a sentence: PA_ASSERT(block != NULL, "there is a block"). */
#ifdef PA_DEBUG
_Noreturn void pa_assert_failed(const char *file, int line, const char *sentence);
#define PA_ASSERT(x, sentence) (PA_LIKELY(x) ? (void)0 : pa_assert_failed(__FILE__, __LINE__, sentence))
#else
#define PA_ASSERT(x, sentence) ((void)sizeof(x))
#endif

#define PA_VERSION PACKAGE_VERSION /* from configure.ac */

#define PA_KIB ((size_t)1024)
#define PA_MIB (1024 * PA_KIB)

/*
 * Geometry.  An arena is cut into slots, a slot into units.  A unit is the smallest piece of memory
 * whose state (listed or absent, touched or not) is tracked; purging rounds to the kernel's page,
 * which is read at run time and may be larger.
 */
#define PA_UNIT_SHIFT 12
#define PA_SLOT_SHIFT 14
#define PA_ARENA_SHIFT 20
#define PA_UNIT_BYTES ((size_t)1 << PA_UNIT_SHIFT)
#define PA_SLOT_BYTES ((size_t)1 << PA_SLOT_SHIFT)
#define PA_ARENA_BYTES ((size_t)1 << PA_ARENA_SHIFT)
#define PA_SLOT_UNITS (PA_SLOT_BYTES / PA_UNIT_BYTES)
#define PA_ARENA_SLOTS (PA_ARENA_BYTES / PA_SLOT_BYTES)
#define PA_ARENA_UNITS (PA_ARENA_BYTES / PA_UNIT_BYTES)

/* Every block is aligned to this, as the ABI's max_align_t asks and CPython expects. */
#define PA_ALIGN_SHIFT 4
#define PA_ALIGN ((size_t)1 << PA_ALIGN_SHIFT)

/* No request may be larger: pointer differences within a block must fit in ptrdiff_t. */
#define PA_REQUEST_MAX ((size_t)PTRDIFF_MAX)

/* Bits of a user-space address that can be set, without asking for an address above. */
#ifdef __x86_64__
#define PA_ADDRESS_BITS 47
#else
#define PA_ADDRESS_BITS 48
#endif

/* What tells the calling thread from all others: its thread pointer, one instruction. */
PA_INLINE uintptr_t pa_thread_identity(void)
{
#if defined(__x86_64__)
	uintptr_t self;
	__asm__("movq %%fs:0, %0" : "=r"(self));
	return self;
#elif defined(__aarch64__)
	uintptr_t self;
	__asm__("mrs %0, tpidr_el0" : "=r"(self));
	return self;
#else
	static __thread char anchor;
	return (uintptr_t)&anchor;
#endif
}

PA_INLINE size_t pa_round_up(size_t n, size_t power_of_two)
{
	return (n + power_of_two - 1) & ~(power_of_two - 1);
}

PA_INLINE size_t pa_round_down(size_t n, size_t power_of_two)
{
	return n & ~(power_of_two - 1);
}

PA_INLINE bool pa_is_power_of_two(size_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

PA_INLINE size_t pa_min(size_t a, size_t b)
{
	return a < b ? a : b;
}

PA_INLINE size_t pa_max(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* Index of the lowest and of the highest bit set; n is not 0. */
PA_INLINE unsigned pa_lowest_bit(uint64_t n)
{
	return (unsigned)__builtin_ctzll(n);
}

PA_INLINE unsigned pa_highest_bit(uint64_t n)
{
	return 63u - (unsigned)__builtin_clzll(n);
}

/* The compiler's own is a call, where the machine that is compiled for need not have an instruction. */
PA_INLINE unsigned pa_count_bits(uint64_t n)
{
#if defined(__POPCNT__) || defined(__aarch64__)
	return (unsigned)__builtin_popcountll(n);
#else
	n -= n >> 1 & UINT64_C(0x5555555555555555);
	n = (n & UINT64_C(0x3333333333333333)) + (n >> 2 & UINT64_C(0x3333333333333333));
	n = (n + (n >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
	return (unsigned)(n * UINT64_C(0x0101010101010101) >> 56);
#endif
}

/* count bits, from bit first on; first + count <= 64. */
PA_INLINE uint64_t pa_bit_range(unsigned first, unsigned count)
{
	return count == 0 ? 0 : (~(uint64_t)0 >> (64 - count)) << first;
}

#endif
