/* SPDX-License-Identifier: MIT */
/*
 * operators.c: C++'s operator new and delete in every form, under their mangled names (Itanium ABI,
 * 64-bit).  libstdc++'s own would call malloc and free just so; these save the call between.
 *
 * Without memory, the throwing forms call the new-handler until there is memory or the handler throws;
 * without a handler they throw std::bad_alloc.  The others return NULL and call no handler, since a
 * handler's exception could not be caught in C.
 */
#include "preload.h"

#include <stdlib.h>

#define EXPORT __attribute__((visibility("default")))

struct nothrow; /* std::nothrow_t */

extern void (*_ZSt15get_new_handlerv(void))(void) __attribute__((weak)); /* std::get_new_handler */
extern void _ZSt17__throw_bad_allocv(void) __attribute__((weak));       /* std::__throw_bad_alloc */

/* Let the program make room, or leave by an exception. */
static PA_COLD void make_room(void)
{
	void (*handler)(void) = _ZSt15get_new_handlerv ? _ZSt15get_new_handlerv() : NULL;

	if (handler) {
		handler();
		return;
	}
	if (_ZSt17__throw_bad_allocv)
		_ZSt17__throw_bad_allocv();
	abort(); /* no C++ library, yet operator new: nobody to tell */
}

static void *new_slow(size_t bytes)
{
	for (;;) {
		void *p = pa_entry_malloc(bytes);
		if (p)
			return p;
		make_room();
	}
}

static void *new_aligned(size_t bytes, size_t align)
{
	for (;;) {
		void *p = pa_entry_memalign(align, bytes);
		if (p)
			return p;
		make_room();
	}
}

PA_INLINE void *new_plain(size_t bytes)
{
	void *p = pa_malloc_fast(bytes);

	return PA_LIKELY(p != NULL) ? p : new_slow(bytes);
}

/* An exported function, declared and defined. */
#define FUNCTION(result, name, ...) \
	EXPORT result name(__VA_ARGS__); \
	EXPORT result name(__VA_ARGS__)

/* new: nw single, na array; m size_t; St11align_val_t alignment; RKSt9nothrow_t nothrow. */
#define OPERATOR_NEW(kind) \
	FUNCTION(void *, _Z##kind##m, size_t bytes) { return new_plain(bytes); } \
	FUNCTION(void *, _Z##kind##mRKSt9nothrow_t, size_t bytes, const struct nothrow *tag) \
	{ \
		(void)tag; \
		return pa_entry_malloc(bytes); \
	} \
	FUNCTION(void *, _Z##kind##mSt11align_val_t, size_t bytes, size_t align) \
	{ \
		return new_aligned(bytes, align); \
	} \
	FUNCTION(void *, _Z##kind##mSt11align_val_tRKSt9nothrow_t, size_t bytes, size_t align, \
		 const struct nothrow *tag) \
	{ \
		(void)tag; \
		return pa_entry_memalign(align, bytes); \
	}

OPERATOR_NEW(nw)
OPERATOR_NEW(na)

/* delete: dl single, da array; Pv the pointer.  Sizes and alignments are hints without need. */
#define OPERATOR_DELETE(kind, name) \
	FUNCTION(void, _Z##kind##Pv, void *p) { pa_entry_free(p, name); } \
	FUNCTION(void, _Z##kind##PvRKSt9nothrow_t, void *p, const struct nothrow *tag) \
	{ \
		(void)tag; \
		pa_entry_free(p, name); \
	} \
	FUNCTION(void, _Z##kind##Pvm, void *p, size_t bytes) \
	{ \
		(void)bytes; \
		pa_entry_free(p, name); \
	} \
	FUNCTION(void, _Z##kind##PvSt11align_val_t, void *p, size_t align) \
	{ \
		(void)align; \
		pa_entry_free(p, name); \
	} \
	FUNCTION(void, _Z##kind##PvSt11align_val_tRKSt9nothrow_t, void *p, size_t align, \
		 const struct nothrow *tag) \
	{ \
		(void)align; \
		(void)tag; \
		pa_entry_free(p, name); \
	} \
	FUNCTION(void, _Z##kind##PvmSt11align_val_t, void *p, size_t bytes, size_t align) \
	{ \
		(void)bytes; \
		(void)align; \
		pa_entry_free(p, name); \
	}

OPERATOR_DELETE(dl, "operator delete")
OPERATOR_DELETE(da, "operator delete[]")
