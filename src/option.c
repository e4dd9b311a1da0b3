/* SPDX-License-Identifier: MIT */
/*
 * option.c: parses the environment.  Owns the options, written by pa_option_parse at start and only
 * read afterwards.  Called by life; read by policy, reports and the preload.
 */
#include "option.h"

#include <string.h>

#include "os.h"

#define PREFIX "PYARENA_"
#define PREFIX_LENGTH (sizeof PREFIX - 1)
#define MAP_PREFIX "map:"
#define NEAREST_MAX 32 /* longer unknown names resemble none */

enum kind { PA_KIND_BOOL, PA_KIND_KEEP, PA_KIND_CHOICE, PA_KIND_STATS };

struct entry {
	const char *name; /* with the prefix */
	const char *by_default;
	const char *values;
	size_t offset; /* of the field in struct pa_options */
	enum kind kind;
};

static const struct entry entries[PA_OPTION_COUNT] = {
#define PA_OPTION(field, name, kind, by_default, values, help) \
	{ PREFIX name, by_default, values, offsetof(struct pa_options, field), kind },
#include "option.def"
#undef PA_OPTION
};

/* Zero is each kind's default, and what malloc goes by when it is called before the parse. */
static struct pa_options options;

const struct pa_options *pa_options(void)
{
	return &options;
}

/* The first bytes of value, count of them, are word. */
static bool is_word(const char *value, const char *word, size_t count)
{
	return strlen(value) == count && memcmp(value, word, count) == 0;
}

/* Decimal digits into *n; the first character behind them, or NULL if there are none or too many. */
static const char *parse_digits(const char *value, size_t *n)
{
	const char *p = value;

	*n = 0;
	for (; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(*n, (size_t)10, n) ||
		    __builtin_add_overflow(*n, (size_t)(*p - '0'), n))
			return NULL;
	}
	return p == value ? NULL : p;
}

static int parse_bool(const char *value, bool *field)
{
	static const char *const words[][2] = {
		{ "0", "1" }, { "no", "yes" }, { "off", "on" }, { "false", "true" }
	};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		for (int truth = 0; truth <= 1; truth++) {
			if (strcmp(value, words[i][truth]) == 0) {
				*field = truth;
				return 0;
			}
		}
	}
	return EINVAL;
}

static int parse_choice(const char *value, const char *words, int *field)
{
	for (int index = 0;; index++) {
		size_t length = strcspn(words, "|");
		if (is_word(value, words, length)) {
			*field = index;
			return 0;
		}
		if (words[length] == '\0')
			return EINVAL;
		words += length + 1;
	}
}

static int parse_keep(const char *value, struct pa_keep_option *field)
{
	size_t n, unit;

	if (strcmp(value, "auto") == 0) {
		*field = (struct pa_keep_option){ PA_KEEP_AUTO, 0 };
		return 0;
	}
	const char *suffix = parse_digits(value, &n);
	if (!suffix)
		return EINVAL;
	if (strcmp(suffix, "%") == 0) {
		if (n > PA_KEEP_PERCENT_MAX)
			return EINVAL;
		*field = (struct pa_keep_option){ PA_KEEP_PERCENT, n };
		return 0;
	}
	switch (*suffix) {
	case '\0':
		unit = 1;
		break;
	case 'K':
	case 'k':
		unit = PA_KIB;
		break;
	case 'M':
	case 'm':
		unit = PA_MIB;
		break;
	case 'G':
	case 'g':
		unit = 1024 * PA_MIB;
		break;
	default:
		return EINVAL;
	}
	if ((*suffix != '\0' && suffix[1] != '\0') || __builtin_mul_overflow(n, unit, &n))
		return EINVAL;
	*field = (struct pa_keep_option){ PA_KEEP_BYTES, n };
	return 0;
}

static int parse_stats(const char *value, struct pa_stats_option *field)
{
	bool is_text, is_map = strncmp(value, MAP_PREFIX, sizeof MAP_PREFIX - 1) == 0;

	if (is_map || value[0] == ':') {
		value += is_map ? sizeof MAP_PREFIX - 1 : 1;
		size_t length = strlen(value);
		if (length == 0 || length > PA_STATS_FILE_MAX)
			return EINVAL;
		field->format = is_map ? PA_STATS_MAP : PA_STATS_JSON;
		memcpy(field->file, value, length + 1);
		return 0;
	}
	field->file[0] = '\0';
	if (strcmp(value, "json") == 0) {
		field->format = PA_STATS_JSON;
		return 0;
	}
	if (parse_bool(value, &is_text) != 0)
		return EINVAL;
	field->format = is_text ? PA_STATS_TEXT : PA_STATS_NONE;
	return 0;
}

static int parse_value(const struct entry *entry, const char *value)
{
	void *field = (char *)&options + entry->offset;

	switch (entry->kind) {
	case PA_KIND_BOOL:
		return parse_bool(value, field);
	case PA_KIND_KEEP:
		return parse_keep(value, field);
	case PA_KIND_CHOICE:
		return parse_choice(value, entry->values, field);
	case PA_KIND_STATS:
		return parse_stats(value, field);
	}
	return EINVAL;
}

static void warn_value(const struct entry *entry, const char *value)
{
	struct pa_text told;

	pa_text_clear(&told);
	pa_text_foreign(&told, value, pa_min(strlen(value), 80));
	if (strlen(value) > 80)
		pa_text_string(&told, "...");
	pa_message_warning(entry->name, "=", told.bytes, " is not ", entry->values, "; using ",
			   entry->by_default);
}

static unsigned char upper(char c)
{
	return (unsigned char)(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
}

/* The least number of characters to insert, delete or replace, upper and lower case alike. */
static unsigned distance(const char *a, size_t a_length, const char *b)
{
	unsigned row[NEAREST_MAX + 1];

	for (unsigned i = 0; i <= a_length; i++)
		row[i] = i;
	for (; *b; b++) {
		unsigned corner = row[0]++;
		for (size_t i = 1; i <= a_length; i++) {
			unsigned replace = corner + (upper(a[i - 1]) != upper(*b));
			corner = row[i];
			row[i] = (unsigned)pa_min(replace, pa_min(row[i], row[i - 1]) + 1);
		}
	}
	return row[a_length];
}

static const struct entry *nearest(const char *name, size_t length)
{
	const struct entry *best = NULL;
	unsigned best_distance = NEAREST_MAX;

	if (length > NEAREST_MAX)
		return NULL;
	for (unsigned i = 0; i < PA_OPTION_COUNT; i++) {
		const char *known = entries[i].name + PREFIX_LENGTH;
		unsigned d = distance(name, length, known);
		if (d < best_distance && d <= (pa_max(strlen(known), length) + 1) / 3) {
			best = &entries[i];
			best_distance = d;
		}
	}
	return best;
}

static void warn_name(const char *name, size_t length)
{
	const struct entry *meant = nearest(name + PREFIX_LENGTH, length - PREFIX_LENGTH);
	struct pa_text told;

	pa_text_clear(&told);
	pa_text_foreign(&told, name, length);
	if (meant)
		pa_message_warning(told.bytes, " is not an option; did you mean ", meant->name, "?");
	else
		pa_message_warning(told.bytes, " is not an option");
}

static int find(const char *name, size_t length)
{
	for (int i = 0; i < PA_OPTION_COUNT; i++) {
		if (is_word(entries[i].name, name, length))
			return i;
	}
	return -1;
}

void pa_option_parse(char *const *environment, bool is_secure)
{
	bool seen[PA_OPTION_COUNT] = { false };

	for (unsigned i = 0; i < PA_OPTION_COUNT; i++)
		parse_value(&entries[i], entries[i].by_default);
	if (is_secure || !environment)
		return;
	for (; *environment; environment++) {
		const char *name = *environment;
		size_t length = strcspn(name, "=");
		if (name[length] == '\0' || strncmp(name, PREFIX, PREFIX_LENGTH) != 0)
			continue;
		int i = find(name, length);
		if (i < 0) {
			warn_name(name, length);
			continue;
		}
		const char *value = name + length + 1;
		if (!seen[i] && *value != '\0' && parse_value(&entries[i], value) != 0)
			warn_value(&entries[i], value);
		seen[i] = true;
	}
}

const char *pa_option_name(unsigned index)
{
	return entries[index].name;
}

static void describe_bytes(size_t n, struct pa_text *value)
{
	static const char suffixes[][2] = { "", "K", "M", "G" };
	unsigned unit = 0;

	while (unit < 3 && n != 0 && n % 1024 == 0) {
		n /= 1024;
		unit++;
	}
	pa_text_unsigned(value, n);
	pa_text_string(value, suffixes[unit]);
}

static void describe_keep(const struct pa_keep_option *keep, struct pa_text *value)
{
	switch (keep->mode) {
	case PA_KEEP_AUTO:
		pa_text_string(value, "auto");
		break;
	case PA_KEEP_BYTES:
		describe_bytes(keep->value, value);
		break;
	case PA_KEEP_PERCENT:
		pa_text_unsigned(value, keep->value);
		pa_text_string(value, "%");
		break;
	}
}

static void describe_stats(const struct pa_stats_option *stats, struct pa_text *value)
{
	if (stats->file[0] != '\0') {
		pa_text_string(value, stats->format == PA_STATS_MAP ? MAP_PREFIX : ":");
		pa_text_string(value, stats->file);
		return;
	}
	switch (stats->format) {
	case PA_STATS_NONE:
		pa_text_string(value, "0");
		break;
	case PA_STATS_TEXT:
		pa_text_string(value, "1");
		break;
	case PA_STATS_JSON:
	case PA_STATS_MAP: /* has a file always */
		pa_text_string(value, "json");
		break;
	}
}

static void describe_choice(int choice, const char *words, struct pa_text *value)
{
	for (; choice > 0; choice--)
		words += strcspn(words, "|") + 1;
	pa_text_span(value, words, strcspn(words, "|"));
}

void pa_option_describe(unsigned index, const struct pa_options *from, struct pa_text *value)
{
	const struct entry *entry = &entries[index];
	const void *field = (const char *)from + entry->offset;

	switch (entry->kind) {
	case PA_KIND_BOOL:
		pa_text_string(value, *(const bool *)field ? "1" : "0");
		break;
	case PA_KIND_KEEP:
		describe_keep(field, value);
		break;
	case PA_KIND_CHOICE:
		describe_choice(*(const int *)field, entry->values, value);
		break;
	case PA_KIND_STATS:
		describe_stats(field, value);
		break;
	}
}

int pa_option_stats_path(const struct pa_stats_option *stats, char *path, size_t bytes)
{
	size_t length = 0;
	struct pa_text id;

	pa_text_clear(&id);
	pa_text_signed(&id, pa_os_process_id());
	for (const char *p = stats->file;; p++) {
		const char *piece = p;
		size_t piece_length = 1;
		if (p[0] == '%' && p[1] == 'p') {
			piece = id.bytes;
			piece_length = id.length;
			p++;
		}
		if (piece_length > bytes - length)
			return ENAMETOOLONG;
		memcpy(path + length, piece, piece_length);
		length += piece_length;
		if (*p == '\0')
			return 0;
	}
}
