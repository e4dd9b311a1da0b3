/* SPDX-License-Identifier: MIT */
/*
 * life.c: see life.h.
 */
#include "life.h"

#include "lock.h"
#include "malloc.h"
#include "message.h"
#include "option.h"
#include "os.h"
#include "report.h"
#include "reserve.h"
#include "stats.h"

#include <pthread.h>
#include <sys/auxv.h>

#define REPORT_HEAPS_MAX 64u
#define STDERR_FD 2

/* [const] after the first request, but for is_aside */
static struct {
	bool is_started;
	bool has_options;
	bool stands_aside;
} life;

/*
 * No lock is held in the child by a thread that is not there, and no heap is half changed: the locks
 * are all taken, in order of rank, and heaps without a lock tell whether they are busy.  Handlers
 * registered first run last before the fork, so that those of others can still allocate.
 */
static void before_fork(void)
{
	pa_lock_all();
}

static void after_fork_parent(void)
{
	pa_unlock_all();
}

static void after_fork_child(void)
{
	pa_lock_reset_all();
	pa_reserve_after_fork_child();
	pa_heap_after_fork_child(pa_thread_heap);
}

void pa_life_start(char *const *environment)
{
	if (environment && !life.has_options) {
		life.has_options = true;
		pa_option_parse(environment, getauxval(AT_SECURE) != 0);
		pa_reserve_set(&pa_options()->keep_free);
	}
	if (life.is_started)
		return;
	life.is_started = true;
	pa_malloc_init();
	pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

void pa_life_stand_aside(void)
{
	life.stands_aside = true;
}

static void write_to_fd(void *context, const char *text, size_t bytes)
{
	pa_os_write(*(const int *)context, text, bytes);
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
	static struct pa_snapshot snapshot; /* too large for the stack of any thread; guarded by the flag */
	static struct pyarena_heap_stats heaps[REPORT_HEAPS_MAX];
	static _Atomic(bool) is_reported;

	if (life.stands_aside || option->format == PA_STATS_NONE || atomic_exchange(&is_reported, true))
		return;
	int fd = open_report(option);
	if (fd < 0)
		return;
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
	struct pa_report_sink sink = { .write = write_to_fd, .context = &fd };
	if (option->format == PA_STATS_JSON)
		pa_report_json(&report, &sink);
	else
		pa_report_text(&report, &sink);
	if (fd != STDERR_FD)
		pa_os_close(fd);
}
