/* SPDX-License-Identifier: MIT */
/*
 * message.h: text for people: a bounded formatter, one-line messages on standard error, and the fatal
 * ends.  Nothing here allocates, locks, uses stdio or the locale, so every layer above may call it at
 * any time: inside malloc, before the C library is set up, in a signal handler, in a forked child.
 * errno is kept.
 */
#ifndef PA_MESSAGE_H
#define PA_MESSAGE_H

#include "base.h"

/*
 * One line under construction.  bytes always ends with a NUL, so it can be handed on as a string.
 * What does not fit is cut, the cut shown as "...", and what comes after it is dropped.
 */
#define PA_TEXT_MAX 510 /* characters; room for a newline and the NUL remains */

struct pa_text {
	size_t length;
	bool is_cut;
	char bytes[PA_TEXT_MAX + 2];
};

void pa_text_clear(struct pa_text *text);
void pa_text_string(struct pa_text *text, const char *string);
void pa_text_span(struct pa_text *text, const char *start, size_t bytes);

/* A string from outside, such as an option's value: control characters become '?', so that one line stays one. */
void pa_text_foreign(struct pa_text *text, const char *start, size_t bytes);

void pa_text_unsigned(struct pa_text *text, uint64_t n);
void pa_text_signed(struct pa_text *text, int64_t n);
void pa_text_pointer(struct pa_text *text, const void *pointer);

/* A number of bytes for people, never told as more than it is: "0 B", "17.5 MiB", "300 KiB". */
void pa_text_size(struct pa_text *text, uint64_t bytes);

/*
 * "pyarena: " or "pyarena: warning: ", then the parts, which are strings, then a newline, in one
 * write(2) to standard error: pa_message_line(version, " serves malloc (pid ", pid.bytes, ")").
 */
#define pa_message_line(...) pa_message_write("pyarena: ", (const char *const[]){ __VA_ARGS__, NULL })
#define pa_message_warning(...) \
	pa_message_write("pyarena: warning: ", (const char *const[]){ __VA_ARGS__, NULL })
void pa_message_write(const char *prefix, const char *const *parts);

/*
 * The ways to misuse the allocator that end the process: PA_FATAL(NAME, text, help).  text is what is
 * written; help says more in libpyarena(7), where the list is shown.
 */
#define PA_FATAL_LIST(PA_FATAL) \
	PA_FATAL( \
		FOREIGN, "not a pointer from this allocator", \
		"The address lies in no memory of the library: a local or static variable, a block of " \
		"another allocator, or a pointer that was overwritten.") \
	PA_FATAL(INSIDE, "not at the start of a block", \
		 "The address lies in memory of the library, but no block begins there: " \
		 "a pointer that was moved before it was passed.") \
	PA_FATAL(FREED, "freed already", "The block is free: it was freed before.") \
	PA_FATAL(OVERRUN, "written beyond its end", \
		 "With PYARENA_HARDEN: what lies behind the bytes that were asked for has changed.") \
	PA_FATAL( \
		WRITTEN, "written to after it was freed", \
		"With PYARENA_HARDEN: the block was written to while it was free. It is noticed when " \
		"the block could be used again; the function is the one that freed it.") \
	PA_FATAL(SIZE, "not of this size", \
		 "With PYARENA_HARDEN: the size that the program gives, as to free_sized or " \
		 "operator delete, is not the one that was asked for.")

enum pa_fatal_kind {
#define PA_FATAL_KIND(name, text, help) PA_FATAL_##name,
	PA_FATAL_LIST(PA_FATAL_KIND) PA_FATAL_COUNT
#undef PA_FATAL_KIND
};

/*
 * The end after misuse: "pyarena: fatal: FUNCTION(0xADDRESS): TEXT", then abort().  function is the
 * name that the program called.  A handler of SIGABRT runs; if that misuses the allocator again in
 * the same thread, the process ends without a second call of the handler.
 */
_Noreturn PA_COLD void pa_fatal(enum pa_fatal_kind kind, const char *function, const void *pointer);

#endif
