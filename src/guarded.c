/* SPDX-License-Identifier: MIT */
/*
 * guarded.c: see guarded.h.
 */
#include "guarded.h"

#include "lock.h"
#include "os.h"

/* [lock: large] A queue; after a fork in the midst of a change at worst a mapping is forgotten. */
static struct {
	struct pa_run kept[PA_GUARDED_KEPT];
	unsigned first, count;
	size_t bytes;
} guarded;

void *pa_guarded_map(size_t bytes, size_t align)
{
	return bytes <= PA_REQUEST_MAX ? pa_os_map_guarded(bytes, align) : NULL;
}

static struct pa_run take_locked(void)
{
	struct pa_run run = guarded.kept[guarded.first];

	guarded.first = (guarded.first + 1) % PA_GUARDED_KEPT;
	guarded.count--;
	guarded.bytes -= run.bytes;
	return run;
}

/* What has to go for it; NULL if nothing has. */
static struct pa_run make_room_locked(size_t bytes)
{
	if (guarded.count == PA_GUARDED_KEPT ||
	    (guarded.count > 0 && guarded.bytes > PA_GUARDED_KEPT_BYTES - bytes))
		return take_locked();
	return (struct pa_run){ 0 };
}

static void keep(struct pa_run run)
{
	for (;;) {
		pa_lock(PA_LOCK_LARGE);
		struct pa_run old = make_room_locked(run.bytes);
		if (!old.start) {
			guarded.kept[(guarded.first + guarded.count) % PA_GUARDED_KEPT] = run;
			guarded.count++;
			guarded.bytes += run.bytes;
		}
		pa_unlock(PA_LOCK_LARGE);
		if (!old.start)
			return;
		pa_os_unmap(old.start, old.bytes);
	}
}

void pa_guarded_unmap(void *start, size_t bytes)
{
	size_t page = pa_os_page_bytes();
	struct pa_run run = { (char *)start - page, bytes + 2 * page };

	if (run.bytes <= PA_GUARDED_KEPT_BYTES && pa_os_seal(run.start, run.bytes))
		keep(run);
	else
		pa_os_unmap(run.start, run.bytes);
}

bool pa_guarded_release(void)
{
	bool is_any = false;

	for (;;) {
		pa_lock(PA_LOCK_LARGE);
		struct pa_run old = guarded.count > 0 ? take_locked() : (struct pa_run){ 0 };
		pa_unlock(PA_LOCK_LARGE);
		if (!old.start)
			return is_any;
		pa_os_unmap(old.start, old.bytes);
		is_any = true;
	}
}

bool pa_guarded_is_kept(const void *p)
{
	bool is_there = false;

	pa_lock(PA_LOCK_LARGE);
	for (unsigned i = 0; i < guarded.count; i++) {
		struct pa_run *run = &guarded.kept[(guarded.first + i) % PA_GUARDED_KEPT];
		is_there |= (char *)run->start + pa_os_page_bytes() == p;
	}
	pa_unlock(PA_LOCK_LARGE);
	return is_there;
}
