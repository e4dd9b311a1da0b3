/* SPDX-License-Identifier: MIT */
/*
 * engine.h: the calls of blocks.h for programs that have the engine linked in, where a preload cannot
 * be: under sanitizers.  As preload/entry.c has them, but for what the tests do not ask.
 */
#ifndef ENGINE_H
#define ENGINE_H

#include "life.h"
#include "malloc.h"
#include "os.h"

__attribute__((constructor)) static void engine_start(void)
{
	char *environment[] = { NULL };

	setenv("PYARENA_LIB", "none", 1); /* for tap.h */
	pa_life_start(environment);
}

static void *engine_malloc(size_t bytes)
{
	return pa_malloc(bytes);
}

static void *engine_calloc(size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return pa_calloc(bytes);
}

static void engine_free(void *p)
{
	if (p)
		pa_free(p, "free");
}

static void *engine_realloc(void *p, size_t bytes)
{
	if (!p)
		return pa_malloc(bytes);
	if (bytes > 0)
		return pa_realloc(p, bytes, "realloc");
	pa_free(p, "realloc");
	return NULL;
}

static void *engine_reallocarray(void *p, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return engine_realloc(p, bytes);
}

static void *engine_memalign(size_t align, size_t bytes)
{
	return pa_memalign(align, bytes);
}

static int engine_posix_memalign(void **result, size_t align, size_t bytes)
{
	if (align % sizeof(void *) != 0 || !pa_is_power_of_two(align))
		return EINVAL;
	void *p = pa_memalign(align, bytes);
	if (!p)
		return ENOMEM;
	*result = p;
	return 0;
}

static void *engine_valloc(size_t bytes)
{
	return pa_memalign(pa_os_page_bytes(), bytes);
}

static size_t engine_usable_size(void *p)
{
	return p ? pa_usable_bytes(p, "malloc_usable_size") : 0;
}

static int engine_trim(size_t pad)
{
	(void)pad;
	return pa_malloc_trim() > 0;
}

#define DECLARE_ENGINE_CALL(type, name, parameters, function) \
	static type(*volatile __attribute__((unused)) CALL_OF(name)) parameters = function

DECLARE_ENGINE_CALL(void *, malloc, (size_t), engine_malloc);
DECLARE_ENGINE_CALL(void *, calloc, (size_t, size_t), engine_calloc);
DECLARE_ENGINE_CALL(void *, realloc, (void *, size_t), engine_realloc);
DECLARE_ENGINE_CALL(void *, reallocarray, (void *, size_t, size_t), engine_reallocarray);
DECLARE_ENGINE_CALL(void, free, (void *), engine_free);
DECLARE_ENGINE_CALL(void *, aligned_alloc, (size_t, size_t), engine_memalign);
DECLARE_ENGINE_CALL(void *, memalign, (size_t, size_t), engine_memalign);
DECLARE_ENGINE_CALL(int, posix_memalign, (void **, size_t, size_t), engine_posix_memalign);
DECLARE_ENGINE_CALL(void *, valloc, (size_t), engine_valloc);
DECLARE_ENGINE_CALL(void *, pvalloc, (size_t), engine_valloc);
DECLARE_ENGINE_CALL(size_t, malloc_usable_size, (void *), engine_usable_size);
DECLARE_ENGINE_CALL(int, malloc_trim, (size_t), engine_trim);

#endif
