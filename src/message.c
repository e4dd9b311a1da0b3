/* SPDX-License-Identifier: MIT */
/*
 * message.c: formatting into a buffer on the stack, messages, and the fatal ends.  Owns one
 * thread-local counter, how deep the thread is in its own end.  Called by every layer above os.
 */
#include "message.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "os.h"

#define STANDARD_ERROR 2

static const char *const fatal_texts[PA_FATAL_COUNT] = {
#define PA_FATAL_TEXT(name, text, help) [PA_FATAL_##name] = (text),
	PA_FATAL_LIST(PA_FATAL_TEXT)
#undef PA_FATAL_TEXT
};

static _Thread_local unsigned ends __attribute__((tls_model("initial-exec")));

void pa_text_clear(struct pa_text *text)
{
	text->length = 0;
	text->is_cut = false;
	text->bytes[0] = '\0';
}

void pa_text_span(struct pa_text *text, const char *start, size_t bytes)
{
	size_t fits = pa_min(bytes, PA_TEXT_MAX - text->length);
	memcpy(text->bytes + text->length, start, fits);
	text->length += fits;
	if (fits < bytes) {
		text->is_cut = true;
		memcpy(text->bytes + PA_TEXT_MAX - 3, "...", 3);
	}
	text->bytes[text->length] = '\0';
}

void pa_text_string(struct pa_text *text, const char *string)
{
	pa_text_span(text, string, strlen(string));
}

void pa_text_foreign(struct pa_text *text, const char *start, size_t bytes)
{
	for (size_t i = 0; i < bytes && !text->is_cut; i++) {
		unsigned char c = (unsigned char)start[i];
		pa_text_span(text, c < ' ' || c == 0x7f ? "?" : start + i, 1);
	}
}

static void append_number(struct pa_text *text, uint64_t n, unsigned base)
{
	char digits[20]; /* of 2^64 - 1 in decimal */
	char *first = digits + sizeof digits;

	do {
		*--first = "0123456789abcdef"[n % base];
		n /= base;
	} while (n != 0);
	pa_text_span(text, first, (size_t)(digits + sizeof digits - first));
}

void pa_text_unsigned(struct pa_text *text, uint64_t n)
{
	append_number(text, n, 10);
}

void pa_text_signed(struct pa_text *text, int64_t n)
{
	if (n < 0)
		pa_text_string(text, "-");
	append_number(text, n < 0 ? 0 - (uint64_t)n : (uint64_t)n, 10);
}

void pa_text_pointer(struct pa_text *text, const void *pointer)
{
	pa_text_string(text, "0x");
	append_number(text, (uintptr_t)pointer, 16);
}

void pa_text_size(struct pa_text *text, uint64_t bytes)
{
	static const char units[][5] = { " B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB" };
	unsigned unit = bytes == 0 ? 0 : pa_highest_bit(bytes) / 10;
	uint64_t whole = bytes >> (10 * unit);
	uint64_t rest = bytes & (((uint64_t)1 << (10 * unit)) - 1);

	pa_text_unsigned(text, whole);
	if (unit > 0 && whole < 100) {
		/* Tenths, cut rather than rounded, so that no size is told as more than it is. */
		pa_text_string(text, ".");
		pa_text_unsigned(text, (rest >> (10 * (unit - 1))) * 10 >> 10);
	}
	pa_text_string(text, units[unit]);
}

static void write_line(struct pa_text *line)
{
	line->bytes[line->length] = '\n';
	pa_os_write(STANDARD_ERROR, line->bytes, line->length + 1);
}

void pa_message_write(const char *prefix, const char *const *parts)
{
	struct pa_text line;

	pa_text_clear(&line);
	pa_text_string(&line, prefix);
	for (; *parts; parts++)
		pa_text_string(&line, *parts);
	write_line(&line);
}

/* Handlers of SIGABRT get one chance in a thread: one that ends here itself would come back for ever. */
static _Noreturn void end_process(struct pa_text *line)
{
	write_line(line);
	if (ends++ > 0)
		signal(SIGABRT, SIG_DFL);
	abort();
}

_Noreturn PA_COLD void pa_fatal(enum pa_fatal_kind kind, const char *function, const void *pointer)
{
	struct pa_text line;

	pa_text_clear(&line);
	pa_text_string(&line, "pyarena: fatal: ");
	pa_text_string(&line, function);
	pa_text_string(&line, "(");
	pa_text_pointer(&line, pointer);
	pa_text_string(&line, "): ");
	pa_text_string(&line, fatal_texts[kind]);
	end_process(&line);
}

#ifdef PA_DEBUG
_Noreturn void pa_assert_failed(const char *file, int line_number, const char *sentence)
{
	struct pa_text line;

	pa_text_clear(&line);
	pa_text_string(&line, "pyarena: fatal: ");
	pa_text_string(&line, file);
	pa_text_string(&line, ":");
	pa_text_signed(&line, line_number);
	pa_text_string(&line, ": not so: ");
	pa_text_string(&line, sentence);
	end_process(&line);
}
#endif
