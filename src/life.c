/* SPDX-License-Identifier: MIT */
/*
 * life.c: see life.h.
 */
#include "life.h"

#include "dump.h"
#include "idle.h"
#include "large.h"
#include "lock.h"
#include "malloc.h"
#include "manager.h"
#include "message.h"
#include "option.h"
#include "os.h"
#include "report.h"
#include "reserve.h"
#include "stats.h"

#include <pthread.h>
#include <sys/auxv.h>

#define REPORT_HEAPS_MAX 32u
#define STDERR_FD 2

/* [const] after the start */
static struct {
	_Atomic(uint32_t) *mark; /* enum mark, in a page that the kernel wipes in a child */
	bool is_started;
	bool has_options;
	bool stands_aside;
} life;

enum mark { UNKNOWN = 0, KNOWN, RECOVERING }; /* a page of a child that is not known yet is wiped */

/* Free what is held by threads that are not there, and make good what they were changing. */
static bool free_locks(void)
{
	bool is_holder;
	unsigned lost = pa_lock_after_fork_child(&is_holder);

	pa_reserve_after_fork_child();
	if (lost & 1u << PA_LOCK_MANAGER)
		pa_manager_recover();
	if (lost & 1u << PA_LOCK_LARGE)
		pa_large_recover();
	pa_heap_unlock_lost();
	return is_holder;
}

/*
 * In a child of fork: besides, find new owners for the heaps of threads that are not there.  A signal
 * handler may fork while the thread is in the midst of a change; that has to end first, so then the
 * heaps are left as they are.
 */
static void after_fork_child(void)
{
	if (life.mark)
		pa_store_relaxed(life.mark, KNOWN);
	pa_idle_after_fork_child();
	bool is_holder = free_locks();
	if (!is_holder && !pa_load_relaxed(&pa_malloc_heap()->is_busy))
		pa_malloc_after_fork_child();
}

/*
 * Children of _Fork and clone run no handlers.  They are known by their mark, which the kernel has wiped,
 * before the first lock is taken.  Threads may have begun there since, so the heaps are left alone.
 */
static void before_lock(void)
{
	uint32_t mark = pa_load_acquire(life.mark); /* pairs with the release below */

	if (PA_LIKELY(mark == KNOWN))
		return;
	mark = UNKNOWN;
	if (pa_cas_acquire(life.mark, &mark, RECOVERING)) {
		free_locks();
		pa_store_release(life.mark, KNOWN);
	} else {
		while (pa_load_acquire(life.mark) == RECOVERING)
			;
	}
}

static void mark_process(void)
{
	size_t bytes = pa_os_page_bytes();
	void *page = pa_os_map(bytes, 1);

	if (!page)
		return;
	if (!pa_os_wipe_on_fork(page, bytes)) {
		pa_os_unmap(page, bytes);
		return;
	}
	life.mark = page;
	pa_store_relaxed(life.mark, KNOWN);
	pa_lock_set_hook(before_lock);
}

void pa_life_start(char *const *environment)
{
	if (environment && !life.has_options) {
		life.has_options = true;
		pa_option_parse(environment, getauxval(AT_SECURE) != 0);
		pa_reserve_set(&pa_options()->keep_free);
		if (pa_options()->harden)
			pa_malloc_harden();
	}
	if (life.is_started)
		return;
	life.is_started = true;
	pa_malloc_init();
	mark_process();
	pthread_atfork(pa_idle_stop, NULL, after_fork_child);
}

void pa_life_serve_python(void)
{
	if (pa_options()->idle == PA_IDLE_AUTO)
		pa_idle_enable();
}

void pa_life_stand_aside(void)
{
	life.stands_aside = true;
}

static void write_to_fd(void *context, const char *text, size_t bytes)
{
	pa_os_write(*(const int *)context, text, bytes);
}

void pa_life_format(void (*format)(const struct pa_report *, const struct pa_report_sink *),
		    void (*write)(void *, const char *, size_t), void *context)
{
	struct pa_snapshot snapshot;
	struct pyarena_heap_stats heaps[REPORT_HEAPS_MAX];

	pa_stats_take(&snapshot);
	struct pa_report report = {
		.version = PA_VERSION,
		.process_id = pa_os_process_id(),
		.stats = &snapshot.stats,
		.classes = snapshot.classes,
		.class_count = sizeof snapshot.classes / sizeof snapshot.classes[0],
		.heaps = heaps,
		.heap_count = pa_min(pa_stats_heaps(heaps, REPORT_HEAPS_MAX), REPORT_HEAPS_MAX),
		.options = pa_options(),
	};
	format(&report, &(struct pa_report_sink){ .write = write, .context = context });
}

static int open_report(const struct pa_stats_option *option)
{
	char path[PA_STATS_FILE_MAX + 64];

	if (!option->file[0])
		return STDERR_FD;
	int fd = pa_option_stats_path(option, path, sizeof path) == 0 ? pa_os_create(path) : -1;
	if (fd < 0)
		pa_message_warning("PYARENA_STATS: cannot write ", option->file);
	return fd;
}

void pa_life_report(void)
{
	const struct pa_stats_option *option = &pa_options()->stats;
	static _Atomic(int) reported; /* the process that has; a child is another */
	int own = pa_os_process_id();

	if (life.stands_aside || option->format == PA_STATS_NONE ||
	    atomic_exchange(&reported, own) == own)
		return;
	int fd = open_report(option);
	if (fd < 0)
		return;
	if (option->format == PA_STATS_MAP)
		pa_dump_write(own, &(struct pa_report_sink){ .write = write_to_fd, .context = &fd });
	else
		pa_life_format(option->format == PA_STATS_JSON ? pa_report_json : pa_report_text,
			       write_to_fd, &fd);
	if (fd != STDERR_FD)
		pa_os_close(fd);
}
