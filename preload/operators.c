/* SPDX-License-Identifier: MIT */
/*
 * operators.c: C++'s operator new and delete in every form, under their mangled names (Itanium ABI,
 * 64-bit).  libstdc++'s own would call malloc and free just so; these save the call between.
 *
 * Without memory, the throwing forms call the new-handler until there is memory or the handler throws;
 * without a handler they throw std::bad_alloc.  The others have to catch what the handler throws, which
 * C cannot: there, libstdc++'s own are asked, which call the throwing forms here and catch.
 */
#include "preload.h"

#include <dlfcn.h>
#include <stdlib.h>

#define EXPORT __attribute__((visibility("default")))

struct nothrow; /* std::nothrow_t */

/*
 * A function of libstdc++, where there is one: it may have come later than this library, and for one
 * extension module only.
 */
static PA_COLD void *libstdcxx(const char *name)
{
	void *function = dlsym(RTLD_NEXT, name);

	if (!function) {
		void *library = dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_NOLOAD);
		if (library)
			function =
				dlsym(library, name); /* never closed: libraries with exceptions stay */
	}
	return function;
}

/* Let the program make room, or leave by an exception. */
static PA_COLD void make_room(void)
{
	void (*(*get_handler)(void))(void) =
		(void (*(*)(void))(void))libstdcxx("_ZSt15get_new_handlerv");
	void (*handler)(void) = get_handler ? get_handler() : NULL;

	if (handler) {
		handler();
		return;
	}
	void (*throw_bad_alloc)(void) = (void (*)(void))libstdcxx("_ZSt17__throw_bad_allocv");
	if (throw_bad_alloc)
		throw_bad_alloc();
	abort(); /* no C++ library, yet operator new: nobody to tell */
}

static PA_NOINLINE void *new_slow(size_t bytes)
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

static PA_COLD void *new_nothrow_slow(const char *name, size_t bytes, const struct nothrow *tag)
{
	void *(*next)(size_t, const struct nothrow *) =
		(void *(*)(size_t, const struct nothrow *))libstdcxx(name);

	return next ? next(bytes, tag) : NULL;
}

static PA_COLD void *new_aligned_nothrow_slow(const char *name, size_t bytes, size_t align,
					      const struct nothrow *tag)
{
	void *(*next)(size_t, size_t, const struct nothrow *) =
		(void *(*)(size_t, size_t, const struct nothrow *))libstdcxx(name);

	return next ? next(bytes, align, tag) : NULL;
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
	FUNCTION(void *, _Z##kind##m, size_t bytes) \
	{ \
		return new_plain(bytes); \
	} \
	FUNCTION(void *, _Z##kind##mRKSt9nothrow_t, size_t bytes, const struct nothrow *tag) \
	{ \
		void *p = pa_entry_malloc(bytes); \
		return PA_LIKELY(p != NULL) \
			       ? p \
			       : new_nothrow_slow("_Z" #kind "mRKSt9nothrow_t", bytes, tag); \
	} \
	FUNCTION(void *, _Z##kind##mSt11align_val_t, size_t bytes, size_t align) \
	{ \
		return new_aligned(bytes, align); \
	} \
	FUNCTION(void *, _Z##kind##mSt11align_val_tRKSt9nothrow_t, size_t bytes, size_t align, \
		 const struct nothrow *tag) \
	{ \
		void *p = pa_entry_memalign(align, bytes); \
		return PA_LIKELY(p != NULL) \
			       ? p \
			       : new_aligned_nothrow_slow("_Z" #kind "mSt11align_val_tRKSt9nothrow_t", \
							  bytes, align, tag); \
	}

OPERATOR_NEW(nw)
OPERATOR_NEW(na)

/* delete: dl single, da array; Pv the pointer.  Sizes and alignments are hints without need, but hardened. */
#define OPERATOR_DELETE(kind, name) \
	FUNCTION(void, _Z##kind##Pv, void *p) \
	{ \
		pa_entry_free(p, name); \
	} \
	FUNCTION(void, _Z##kind##PvRKSt9nothrow_t, void *p, const struct nothrow *tag) \
	{ \
		(void)tag; \
		pa_entry_free(p, name); \
	} \
	FUNCTION(void, _Z##kind##Pvm, void *p, size_t bytes) \
	{ \
		pa_entry_free_sized(p, bytes, name); \
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
		(void)align; \
		pa_entry_free_sized(p, bytes, name); \
	}

OPERATOR_DELETE(dl, "operator delete")
OPERATOR_DELETE(da, "operator delete[]")
