/* SPDX-License-Identifier: MIT */
/*
 * option.h: what the environment asks for, read once at start from the PYARENA_ variables that
 * option.def lists, and constant from then on.  Before that, every option has its default.
 */
#ifndef PA_OPTION_H
#define PA_OPTION_H

#include "base.h"
#include "message.h"

enum pa_keep_mode { PA_KEEP_AUTO, PA_KEEP_BYTES, PA_KEEP_PERCENT };

struct pa_keep_option {
	enum pa_keep_mode mode;
	size_t value; /* bytes or percent; 0 with PA_KEEP_AUTO */
};

#define PA_KEEP_PERCENT_MAX 1000

enum pa_stats_format { PA_STATS_NONE, PA_STATS_TEXT, PA_STATS_JSON, PA_STATS_MAP };

#define PA_STATS_FILE_MAX 400

struct pa_stats_option {
	enum pa_stats_format format;
	char file[PA_STATS_FILE_MAX + 1]; /* as given, %p and all; empty: standard error */
};

/* Values of the PA_KIND_CHOICE options, in the order of their words in option.def. */
enum pa_python_choice { PA_PYTHON_AUTO, PA_PYTHON_OFF };
enum pa_idle_choice { PA_IDLE_AUTO, PA_IDLE_OFF };
enum pa_scope_choice { PA_SCOPE_ALL, PA_SCOPE_PYTHON };
enum pa_thp_choice { PA_THP_AUTO, PA_THP_NEVER, PA_THP_ALWAYS };

#define PA_KIND_BOOL_TYPE bool
#define PA_KIND_KEEP_TYPE struct pa_keep_option
#define PA_KIND_CHOICE_TYPE int
#define PA_KIND_STATS_TYPE struct pa_stats_option

struct pa_options {
#define PA_OPTION(field, name, kind, by_default, values, help) kind##_TYPE field;
#include "option.def"
#undef PA_OPTION
};

enum {
#define PA_OPTION(field, name, kind, by_default, values, help) PA_OPTION_INDEX_##field,
#include "option.def"
#undef PA_OPTION
	PA_OPTION_COUNT
};

const struct pa_options *pa_options(void);

/*
 * Set every option from "NAME=value" strings, the list ended by NULL (or NULL itself); of two
 * settings of one name the first counts, as with getenv, and an empty value is the default.  A wrong
 * value is told in one warning and the default taken; an unknown PYARENA_ name is told with the
 * nearest known one.  With is_secure (setuid programs) all is default and nothing is told.  Called
 * once, before there are threads.
 */
void pa_option_parse(char *const *environment, bool is_secure);

/* Name of an option, such as "PYARENA_STATS", and append its value in effect as a user would write it. */
const char *pa_option_name(unsigned index);
void pa_option_describe(unsigned index, const struct pa_options *options, struct pa_text *value);

/*
 * The report's file name, each %p in it replaced by the process ID.  ENAMETOOLONG if it does not fit
 * in bytes, else 0.  Call it in the process that writes the report: a child has an ID of its own.
 */
int pa_option_stats_path(const struct pa_stats_option *stats, char *path, size_t bytes);

#endif
