/* SPDX-License-Identifier: MIT */
/*
 * mallinfo, mallinfo2, malloc_info, malloc_stats, mallopt, malloc_trim: they exist, may be called at
 * any time, and what they say follows what the program does.
 */
#include "../lib/blocks.h"

#include <pthread.h>

#define XML_ROOM (4 * MIB)

static size_t bytes_in_use(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

/* count blocks of a size: in use by that much more while they live, and no longer after. */
static void check_mallinfo2(size_t size, size_t count)
{
	void **blocks = (void **)table_of(count, sizeof(void *));
	size_t before = bytes_in_use();

	for (size_t i = 0; i < count; i++) {
		blocks[i] = CALL(malloc)(size);
		REQUIRE(blocks[i] != NULL);
	}
	size_t peak = bytes_in_use();
	EXPECT(peak >= before + size * count, "%zu of %zu bytes: from %zu to %zu", count, size, before,
	       peak);
	EXPECT(peak <= before + size * count * 3 / 2 + 64 * KIB, "%zu of %zu bytes: from %zu to %zu",
	       count, size, before, peak);
	for (size_t i = 0; i < count; i++)
		CALL(free)(blocks[i]);
	size_t after = bytes_in_use();
	EXPECT(after <= before + 64 * KIB, "%zu of %zu bytes: %zu before, %zu after", count, size,
	       before, after);
	EXPECT(after + 64 * KIB >= before, "%zu of %zu bytes: %zu before, %zu after", count, size,
	       before, after);
	munmap(blocks, count * sizeof(void *));
}

static void mallinfo2_follows_the_program(void)
{
	check_mallinfo2(1024, 20000);
	check_mallinfo2(48, 100000);
	check_mallinfo2(40000, 500);
	check_mallinfo2(3000000, 20);
}

static void mallinfo_is_mallinfo2_in_small(void)
{
	void *block = CALL(malloc)(5 * MIB);

	REQUIRE(block != NULL);
	struct mallinfo2 wide = mallinfo2();
	struct mallinfo narrow = CALL(mallinfo)();
	EXPECT((size_t)narrow.uordblks == wide.uordblks, "%d and %zu", narrow.uordblks, wide.uordblks);
	EXPECT((size_t)narrow.hblkhd == wide.hblkhd, "%d and %zu", narrow.hblkhd, wide.hblkhd);
	EXPECT((size_t)narrow.hblks == wide.hblks, "%d and %zu", narrow.hblks, wide.hblks);
	EXPECT((size_t)narrow.arena == wide.arena, "%d and %zu", narrow.arena, wide.arena);
	EXPECT((size_t)narrow.fordblks == wide.fordblks, "%d and %zu", narrow.fordblks, wide.fordblks);
	CALL(free)(block);
}

static size_t name_length(const char *text)
{
	return strspn(text, "abcdefghijklmnopqrstuvwxyz_ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-");
}

/* The length of one tag, or 0 if it is not well formed.  *kind: '<' opens, '/' closes, '.' is both. */
static size_t parse_tag(const char *text, char *kind, size_t *name_at, size_t *name_size)
{
	size_t at = 1;

	*kind = '<';
	if (text[at] == '/') {
		*kind = '/';
		at++;
	}
	*name_at = at;
	*name_size = name_length(text + at);
	at += *name_size;
	while (text[at] == ' ' || text[at] == '\n') {
		at += strspn(text + at, " \n");
		size_t attribute = name_length(text + at);
		if (attribute == 0)
			break;
		at += attribute;
		if (text[at] != '=' || text[at + 1] != '"')
			return 0;
		at += 2 + strcspn(text + at + 2, "\"<&");
		if (text[at++] != '"')
			return 0;
	}
	if (text[at] == '/' && *kind == '<') {
		*kind = '.';
		at++;
	}
	return *name_size > 0 && text[at] == '>' ? at + 1 : 0;
}

/* Whether the text is one element with all tags paired; says where it is not. */
static bool is_well_formed(const char *text, const char *root)
{
	struct {
		size_t at, size;
	} open[32];
	size_t depth = 0;
	size_t elements = 0;
	size_t at = 0;

	while (text[at] != '\0') {
		if (text[at] != '<') {
			if (text[at] == '&' || text[at] == '>' || (depth == 0 && text[at] != '\n'))
				goto bad;
			at++;
			continue;
		}
		char kind;
		size_t name_at, name_size;
		size_t length = parse_tag(text + at, &kind, &name_at, &name_size);
		if (length == 0 || (depth == 0 && elements > 0))
			goto bad;
		name_at += at;
		if (elements++ == 0 &&
		    (name_size != strlen(root) || memcmp(text + name_at, root, name_size) != 0))
			goto bad;
		if (kind == '<') {
			if (depth == COUNT_OF(open))
				goto bad;
			open[depth].at = name_at;
			open[depth++].size = name_size;
		} else if (kind == '/') {
			if (depth == 0 || open[--depth].size != name_size ||
			    memcmp(text + open[depth].at, text + name_at, name_size) != 0)
				goto bad;
		}
		at += length;
	}
	if (depth == 0 && elements > 0)
		return true;
bad:
	tap_note("no XML at byte %zu: %.60s", at, text + at);
	return false;
}

static void xml_of_malloc_info(char *text)
{
	FILE *file = fmemopen(text, XML_ROOM, "w");

	REQUIRE(file != NULL);
	EXPECT(malloc_info(0, file) == 0);
	fclose(file);
}

static void malloc_info_is_xml(void)
{
	char *text = (char *)table_of(1, XML_ROOM);
	void *blocks[300];

	xml_of_malloc_info(text);
	EXPECT(is_well_formed(text, "malloc"));
	EXPECT(strncmp(text, "<malloc version=\"1\">", 20) == 0, "%.40s", text);
	for (size_t i = 0; i < COUNT_OF(blocks); i++)
		blocks[i] = CALL(malloc)(i * i * 20);
	memset(text, 0, XML_ROOM);
	xml_of_malloc_info(text);
	EXPECT(is_well_formed(text, "malloc"));
	for (size_t i = 0; i < COUNT_OF(blocks); i++)
		CALL(free)(blocks[i]);
	EXPECT(malloc_info(1, stdout) != 0);
}

/* A stream that allocates while malloc_info writes to it. */
static void malloc_info_to_a_stream_that_allocates(void)
{
	for (int i = 0; i < 20; i++) {
		char *text = NULL;
		size_t length = 0;
		FILE *file = open_memstream(&text, &length);
		REQUIRE(file != NULL);
		EXPECT(malloc_info(0, file) == 0);
		fclose(file);
		REQUIRE(text != NULL);
		EXPECT(is_well_formed(text, "malloc"));
		CALL(free)(text);
	}
}

static void malloc_stats_writes_to_stderr(void)
{
	char text[8192];
	int file = memfd_create("stderr", 0);
	int kept = dup(STDERR_FILENO);

	REQUIRE(file >= 0 && kept >= 0);
	dup2(file, STDERR_FILENO);
	malloc_stats();
	fflush(stderr);
	dup2(kept, STDERR_FILENO);
	ssize_t length = pread(file, text, sizeof(text) - 1, 0);
	REQUIRE(length > 0, "nothing was written");
	text[length] = '\0';
	EXPECT(text[length - 1] == '\n');
	EXPECT(strpbrk(text, "0123456789") != NULL);
	close(file);
	close(kept);
}

static void mallopt_answers(void)
{
	static const struct {
		int parameter, value;
	} settings[] = {
		{ M_TRIM_THRESHOLD, 1 << 20 },
		{ M_TOP_PAD, 0 },
		{ M_MMAP_THRESHOLD, 1 << 17 },
		{ M_MMAP_MAX, 1000 },
		{ M_ARENA_MAX, 2 },
		{ M_ARENA_TEST, 1 },
		{ M_CHECK_ACTION, 3 },
		{ M_MXFAST, 64 },
		{ 12345, 1 },
		{ -12345, -1 },
		{ M_MXFAST, 100000000 },
		{ M_TRIM_THRESHOLD, -1 },
	};

	for (size_t i = 0; i < COUNT_OF(settings); i++) {
		int answer = mallopt(settings[i].parameter, settings[i].value);
		EXPECT(answer == 0 || answer == 1, "mallopt(%d, %d) = %d", settings[i].parameter,
		       settings[i].value, answer);
		void *block = CALL(malloc)(300000);
		REQUIRE(block != NULL);
		fill(block, 300000, 1);
		CALL(free)(block);
	}
}

static void malloc_trim_gives_back(void)
{
	enum { COUNT = 100000 };
	void **blocks = (void **)table_of(COUNT, sizeof(void *));

	if (tap_has_library())
		tap_restart_with("PYARENA_KEEP_FREE", "1G");
	for (size_t i = 0; i < COUNT; i++) {
		blocks[i] = CALL(malloc)(1000);
		REQUIRE(blocks[i] != NULL);
		memset(blocks[i], 1, 1000);
	}
	for (size_t i = 0; i < COUNT; i++)
		CALL(free)(blocks[i]);
	size_t before = resident_now();
	int first = CALL(malloc_trim)(0);
	size_t after = resident_now();
	EXPECT(first == 0 || first == 1, "%d", first);
	if (tap_has_library()) {
		EXPECT(before > 90 * MIB, "1G is to be kept, but %zu bytes are resident", before);
		EXPECT(first == 1);
		EXPECT(after + 90 * MIB < before, "resident %zu before, %zu after", before, after);
		EXPECT(CALL(malloc_trim)(0) == 0, "there is nothing left to give back");
	}
	EXPECT(CALL(malloc_trim)(10 * MIB) <= 1);
}

/* All of them, while other threads allocate. */
static volatile bool stop;

static void *allocate_on(void *argument)
{
	uint64_t random = (uint64_t)(uintptr_t)argument;
	void *blocks[200] = { NULL };

	while (!stop) {
		size_t i = random_below(&random, COUNT_OF(blocks));
		size_t size = random_below(&random, (size_t)1 << random_below(&random, 20)) + 1;
		CALL(free)(blocks[i]);
		blocks[i] = CALL(malloc)(size);
		REQUIRE(blocks[i] != NULL);
		memset(blocks[i], 1, size < 5000 ? size : 5000);
	}
	for (size_t i = 0; i < COUNT_OF(blocks); i++)
		CALL(free)(blocks[i]);
	return NULL;
}

static void all_at_once_with_threads(void)
{
	pthread_t threads[4];
	char *text = (char *)table_of(1, XML_ROOM);
	double end = seconds_now() + 1.5;

	for (size_t i = 0; i < COUNT_OF(threads); i++)
		REQUIRE(pthread_create(&threads[i], NULL, allocate_on, (void *)(uintptr_t)(i + 1)) ==
			0);
	while (seconds_now() < end) {
		memset(text, 0, 64 * KIB);
		xml_of_malloc_info(text);
		EXPECT(is_well_formed(text, "malloc"));
		EXPECT(bytes_in_use() < 4096 * MIB);
		CALL(malloc_trim)(0);
		mallopt(M_TRIM_THRESHOLD, 1 << 20);
	}
	stop = true;
	for (size_t i = 0; i < COUNT_OF(threads); i++)
		pthread_join(threads[i], NULL);
}

static const struct tap_point points[] = {
	{ "mallinfo2_follows_the_program", mallinfo2_follows_the_program },
	{ "mallinfo_is_mallinfo2_in_small", mallinfo_is_mallinfo2_in_small },
	{ "malloc_info_is_xml", malloc_info_is_xml },
	{ "malloc_info_to_a_stream_that_allocates", malloc_info_to_a_stream_that_allocates },
	{ "malloc_stats_writes_to_stderr", malloc_stats_writes_to_stderr },
	{ "mallopt_answers", mallopt_answers },
	{ "malloc_trim_gives_back", malloc_trim_gives_back },
	{ "all_at_once_with_threads", all_at_once_with_threads },
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, points, NULL);
}
