/* SPDX-License-Identifier: MIT */
/*
 * machine.c: limits and counts that are not the process's own: of a group of processes (cgroup), and of the
 * whole machine (vm.overcommit_memory, transparent huge pages), which root may set and which are set back
 * afterwards.
 */
#include "../lib/blocks.h"

#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define GROUP_BYTES (96 * MIB)
#define PEAK_BYTES (56 * MIB)
#define SECONDS 60

static struct tap_option options[] = {
	{ "overcommit", 0, "1: set vm.overcommit_memory of the whole machine for a moment" },
	{ "huge-pages", 0,
	  "so many seconds: set transparent huge pages to \"always\", and khugepaged to haste" },
	{ NULL, 0, NULL },
};

static bool write_text(const char *path, const char *text)
{
	int file = open(path, O_WRONLY | O_CLOEXEC);
	bool done = file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text);

	if (file >= 0)
		close(file);
	return done;
}

static bool read_text(const char *path, char *text, size_t room)
{
	int file = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = file >= 0 ? read(file, text, room - 1) : -1;

	if (file >= 0)
		close(file);
	text[length > 0 ? length : 0] = '\0';
	return length > 0;
}

/* Peaks of one size after the other: what was given back for one is there for the next. */
static void peaks_of_all_sizes(void)
{
	static const size_t sizes[] = { 32, 500, 3000, 20000, 200000, 3000000, 90 };
	void **blocks = (void **)table_of(PEAK_BYTES / sizes[0], sizeof(*blocks));

	alarm(SECONDS);
	for (size_t s = 0; s < COUNT_OF(sizes); s++) {
		size_t count = PEAK_BYTES / (sizes[s] < 64 ? 64 : sizes[s]);
		for (size_t i = 0; i < count; i++) {
			blocks[i] = CALL(malloc)(sizes[s]);
			REQUIRE(blocks[i] != NULL);
			memset(blocks[i], (int)s, sizes[s]);
		}
		for (size_t i = 0; i < count; i++)
			CALL(free)(blocks[i]);
	}
}

/* A group below the one that we are in; version 2 of cgroups, or 1. */
static bool make_group(char *group, size_t room)
{
	static const char *const roots[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/memory" };
	static const char *const limits[] = { "memory.max", "memory.limit_in_bytes" };
	char path[256];
	char text[32];

	for (size_t i = 0; i < COUNT_OF(roots); i++) {
		snprintf(group, room, "%s/pyarena-test-%d", roots[i], (int)getpid());
		if (mkdir(group, 0755) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", group, limits[i]);
		snprintf(text, sizeof(text), "%zu", GROUP_BYTES);
		if (write_text(path, text))
			return true;
		rmdir(group);
	}
	return false;
}

/* Have a child do this as the only process of a group; it is given the group's directory. */
static void in_a_group(void (*work)(const char *group))
{
	char group[128];
	char path[256];

	if (!make_group(group, sizeof(group)))
		tap_skip("this process may not make a cgroup with a limit of memory");
	snprintf(path, sizeof(path), "%s/cgroup.procs", group);
	pid_t child = fork();
	if (child == 0) {
		REQUIRE(write_text(path, "0"), "%s: %s", path, strerror(errno));
		work(group);
		_exit(tap_status());
	}
	EXPECT(child > 0 && tap_child_succeeded(child, "in the group"));
	for (int i = 0; i < 100 && rmdir(group) != 0; i++)
		sleep_ms(10);
}

static void have_peaks_in_group(const char *group)
{
	(void)group;
	peaks_of_all_sizes();
}

static void in_a_group_that_is_nearly_full(void)
{
	in_a_group(have_peaks_in_group);
}

/* What the kernel charges the group for: memory.current. */
static size_t charged_now(const char *group)
{
	static const char *const names[] = { "memory.current", "memory.usage_in_bytes" };
	char path[256];
	char text[32];

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", group, names[i]);
		if (read_text(path, text, sizeof(text)))
			return strtoul(text, NULL, 10);
	}
	REQUIRE(false, "nothing tells what %s is charged for", group);
	return 0;
}

/* Pages of a file, which the kernel lets go of only when it has to. */
static void fill_with_a_file(const char *group)
{
	static char text[MIB];
	char path[] = "group-XXXXXX";
	int file = mkstemp(path);

	REQUIRE(file >= 0 && unlink(path) == 0, "%s: %s", path, strerror(errno));
	for (size_t i = 0; i < GROUP_BYTES / MIB; i++)
		REQUIRE(write(file, text, MIB) == (ssize_t)MIB, "%s", strerror(errno));
	fdatasync(file);
	REQUIRE(charged_now(group) > GROUP_BYTES - 4 * MIB, "%zu KiB", charged_now(group) / KIB);
}

static void have_peaks_in_full_group(const char *group)
{
	fill_with_a_file(group);
	peaks_of_all_sizes();
}

static void in_a_group_that_is_full(void)
{
	struct statfs here;

	if (statfs(".", &here) != 0 || here.f_type == TMPFS_MAGIC)
		tap_skip("files in this directory are memory themselves");
	in_a_group(have_peaks_in_full_group);
}

/* Resident memory is the process's view; the group is charged for page tables besides, and in batches. */
static void free_a_peak_in_group(const char *group)
{
	enum { SIZE = 200, COUNT = PEAK_BYTES / SIZE, KEPT = 1000, SLACK = 3 * MIB };
	void **blocks = (void **)table_of(COUNT, sizeof(*blocks));
	size_t resident[3], charged[3];

	for (size_t i = 0; i < COUNT; i++)
		blocks[i] = NULL; /* the table is there from now on */
	for (int when = 0; when < 3; when++) {
		resident[when] = resident_now();
		charged[when] = charged_now(group);
		for (size_t i = 0; when == 0 && i < COUNT; i++) {
			blocks[i] = CALL(malloc)(SIZE);
			REQUIRE(blocks[i] != NULL);
			memset(blocks[i], 1, SIZE);
		}
		for (size_t i = 0; when == 1 && i < COUNT; i++)
			if (i % KEPT != 0)
				CALL(free)(blocks[i]);
	}
	tap_note("resident %zu, %zu, %zu KiB; charged %zu, %zu, %zu KiB", resident[0] / KIB,
		 resident[1] / KIB, resident[2] / KIB, charged[0] / KIB, charged[1] / KIB,
		 charged[2] / KIB);
	EXPECT(resident[1] > resident[0] + PEAK_BYTES);
	EXPECT(charged[1] + SLACK > charged[0] + (resident[1] - resident[0]));
	EXPECT(charged[2] + resident[1] < charged[1] + resident[2] + SLACK);
	EXPECT(!tap_has_library() || resident[2] + PEAK_BYTES < resident[1] + 8 * MIB);
}

static void what_a_group_is_charged_falls_with_resident_memory(void)
{
	in_a_group(free_a_peak_in_group);
}

static size_t kib_of(const char *meminfo, const char *name)
{
	const char *line = strstr(meminfo, name);

	return line == NULL ? 0 : strtoul(line + strlen(name), NULL, 10);
}

/* The kernel promises no more than it has; the machine is not brought to its limit by this. */
static void no_overcommit(void)
{
	static const char setting[] = "/proc/sys/vm/overcommit_memory";
	char before[16];
	char meminfo[4096];

	if (tap_value("overcommit") == 0)
		tap_skip("sets vm.overcommit_memory of the whole machine; --overcommit 1 allows it");
	REQUIRE(read_text(setting, before, sizeof(before)));
	REQUIRE(read_text("/proc/meminfo", meminfo, sizeof(meminfo)));
	size_t limit = kib_of(meminfo, "CommitLimit:") * KIB;
	if (limit < kib_of(meminfo, "Committed_AS:") * KIB + 2048 * MIB)
		tap_skip("the machine has promised too much already");
	if (!write_text(setting, "2"))
		tap_skip("this process may not set vm.overcommit_memory");
	pid_t child = fork();
	if (child == 0) {
		peaks_of_all_sizes();
		errno = 0;
		EXPECT(CALL(malloc)(limit) == NULL && errno == ENOMEM);
		peaks_of_all_sizes();
		_exit(tap_status());
	}
	bool succeeded = child > 0 && tap_child_succeeded(child, "without overcommit");
	EXPECT(write_text(setting, before), "%s was %s", setting, before);
	EXPECT(succeeded);
}

/* --- transparent huge pages --- */

static struct setting {
	const char *path, *wanted;
	char before[64];
	bool is_set;
} settings[] = {
	{ .path = "/sys/kernel/mm/transparent_hugepage/enabled", .wanted = "always" },
	{ .path = "/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs",
	  .wanted = "10" },
	{ .path = "/sys/kernel/mm/transparent_hugepage/khugepaged/pages_to_scan", .wanted = "65536" },
};

/* What is chosen of several words stands in brackets. */
static bool set(struct setting *setting)
{
	char text[64];

	if (!read_text(setting->path, text, sizeof(text)))
		return false;
	char *chosen = strchr(text, '[');
	snprintf(setting->before, sizeof(setting->before), "%s", chosen == NULL ? text : chosen + 1);
	setting->before[strcspn(setting->before, "]\n")] = '\0';
	setting->is_set = write_text(setting->path, setting->wanted);
	return setting->is_set;
}

static void set_back(void)
{
	for (size_t i = 0; i < COUNT_OF(settings); i++)
		if (settings[i].is_set)
			EXPECT(write_text(settings[i].path, settings[i].before), "%s was %s",
			       settings[i].path, settings[i].before);
}

/* Of every four pages one is left. */
static char *mapping_with_holes(size_t bytes)
{
	char *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t page = page_bytes();

	REQUIRE(start != MAP_FAILED);
	memset(start, 1, bytes);
	for (size_t at = 0; at < bytes; at += 4 * page)
		REQUIRE(madvise(start + at, 3 * page, MADV_DONTNEED) == 0);
	return start;
}

/* Memory of the engine with holes, beside a mapping with holes, which khugepaged is seen to fill. */
static void watch_holes(size_t seconds)
{
	enum { BLOCKS = 64000, EACH = 1000 };
	void **blocks = (void **)table_of(BLOCKS, sizeof(*blocks));
	size_t page = page_bytes();

	for (size_t i = 0; i < BLOCKS; i++) {
		blocks[i] = CALL(malloc)(EACH);
		REQUIRE(blocks[i] != NULL);
		memset(blocks[i], 1, EACH);
	}
	for (size_t i = 0; i < BLOCKS; i++)
		if (i % 64 != 0)
			CALL(free)(blocks[i]);
	CALL(malloc_trim)(0);
	size_t before = resident_now();
	char *own = mapping_with_holes(32 * MIB);
	size_t filled = 0;
	for (size_t second = 0; second < seconds; second++)
		sleep_ms(1000);
	for (size_t at = 0; at < 32 * MIB; at += page) {
		unsigned char is_resident = 0;
		REQUIRE(mincore(own + at, page, &is_resident) == 0);
		filled += is_resident & 1;
	}
	munmap(own, 32 * MIB);
	size_t after = resident_now();
	tap_note(
		"figure: holes under huge pages: %zu KiB, after %zu s %zu KiB; of %zu pages of an unprotected "
		"mapping %zu were left, then %zu",
		before / KIB, seconds, after / KIB, 32 * MIB / page, 32 * MIB / page / 4, filled);
	EXPECT(after < before + 2 * MIB, "resident %zu KiB, then %zu KiB", before / KIB, after / KIB);
	EXPECT(filled > 32 * MIB / page / 2, "khugepaged did nothing, so nothing is proved");
}

static void huge_pages_always(void)
{
	if (tap_value("huge-pages") == 0)
		tap_skip("sets transparent huge pages of the whole machine; --huge-pages 60 allows it");
	for (size_t i = 0; i < COUNT_OF(settings); i++)
		if (!set(&settings[i])) {
			set_back();
			tap_skip("this process may not set transparent huge pages");
		}
	pid_t child = fork();
	if (child == 0) {
		watch_holes(tap_value("huge-pages"));
		_exit(tap_status());
	}
	EXPECT(child > 0 && tap_child_succeeded(child, "under huge pages"));
	set_back();
}

static const struct tap_point points[] = {
	{ "in_a_group_that_is_nearly_full", in_a_group_that_is_nearly_full },
	{ "in_a_group_that_is_full", in_a_group_that_is_full },
	{ "what_a_group_is_charged_falls_with_resident_memory",
	  what_a_group_is_charged_falls_with_resident_memory },
	{ "no_overcommit", no_overcommit },
	{ "huge_pages_always", huge_pages_always },
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, points, options);
}
