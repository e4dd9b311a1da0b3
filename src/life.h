/* SPDX-License-Identifier: MIT */
/*
 * life.h: the library's start, its way through forks, its end.  Called by preload/.
 */
#ifndef PA_LIFE_H
#define PA_LIFE_H

#include "report.h"

/*
 * Read the options and make ready for threads and forks.  Called at the first request, whenever that
 * is: it must not need what is not there yet.  Without an environment (too early) options stay at
 * their defaults until pa_life_start is called again with one.
 */
void pa_life_start(char *const *environment);

/* Take a snapshot and write it by one of report.h's formats, piece by piece. */
void pa_life_format(void (*format)(const struct pa_report *, const struct pa_report_sink *),
		    void (*write)(void *, const char *, size_t), void *context);

/* Write the report that PYARENA_STATS asks for, unless this process has. */
void pa_life_report(void);

/* Once it is known whom the library serves: CPython, and idleness is watched for; or nobody. */
void pa_life_serve_python(void);
void pa_life_stand_aside(void);

#endif
