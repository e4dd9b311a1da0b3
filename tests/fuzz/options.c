/* SPDX-License-Identifier: MIT */
/*
 * options.c: a target for libFuzzer: bytes become an environment, an entry a line, each in a buffer of its
 * own size.  Whatever it says, all options have values that can be worked with.
 */
#include <stdlib.h>
#include <string.h>

#include "option.h"

#define ENTRIES 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *environment[ENTRIES + 1] = { NULL };
	char path[PA_STATS_FILE_MAX + 64];
	size_t count = 0;

	while (size > 0 && count < ENTRIES) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t length = end ? (size_t)(end - data) : size;
		environment[count] = malloc(length + 1);
		if (!environment[count])
			break;
		memcpy(environment[count], data, length);
		environment[count++][length] = '\0';
		data += length;
		size -= length;
		if (size > 0) {
			data++;
			size--;
		}
	}
	pa_option_parse(environment, false);
	const struct pa_options *options = pa_options();
	if (options->keep_free.mode > PA_KEEP_PERCENT ||
	    (options->keep_free.mode == PA_KEEP_PERCENT &&
	     options->keep_free.value > PA_KEEP_PERCENT_MAX) ||
	    strnlen(options->stats.file, sizeof options->stats.file) == sizeof options->stats.file)
		abort();
	if (options->stats.file[0])
		(void)pa_option_stats_path(&options->stats, path, sizeof path);
	while (count > 0)
		free(environment[--count]);
	return 0;
}
