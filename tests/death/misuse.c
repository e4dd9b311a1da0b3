/* SPDX-License-Identifier: MIT */
/*
 * misuse.c: one misuse of the allocator for each name in the table, for test_misuse.py to run.
 *
 * `misuse NAME [ADDRESS]` writes the pointer that it is about to misuse to standard output and does
 * it.  What comes back alive writes "survived".  The blocks that a case keeps beside its victim make
 * sure that the victim's arena outlives it.
 */
#include "../lib/blocks.h"

#include <pthread.h>
#include <sys/mman.h>

#define SMALL ((size_t)100)
#define MEDIUM ((size_t)100000)
#define LARGE ((size_t)8 << 20)

static void *volatile sink;
static void *given_address; /* the second argument */
static char in_bss[256] __attribute__((aligned(16)));
static const char in_rodata[64] __attribute__((aligned(16))) = "constant";

static void *tell(void *pointer)
{
	dprintf(STDOUT_FILENO, "%#lx\n", (unsigned long)(uintptr_t)pointer);
	return pointer;
}

static char *block_of(size_t size)
{
	char *block = (char *)CALL(malloc)(size);

	if (block == NULL)
		_exit(TAP_ERROR);
	memset(block, 1, size);
	return block;
}

/* A block between two others of its kind, which stay. */
static char *victim_of(size_t size)
{
	block_of(size);
	char *victim = block_of(size);
	block_of(size);
	return victim;
}

static void *free_it(void *pointer)
{
	CALL(free)(pointer);
	return NULL;
}

static void in_a_thread(void *(*body)(void *), void *argument)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, body, argument) != 0)
		_exit(TAP_ERROR);
	pthread_join(thread, NULL);
}

static void free_twice(char *victim)
{
	CALL(free)(victim);
	CALL(free)(tell(victim));
}

/* Not the allocator's. */

static void free_address(void)
{
	CALL(free)(tell(given_address));
}

static void free_stack(void)
{
	char on_stack[256] __attribute__((aligned(16))) = "";

	CALL(free)(tell(on_stack + 16));
}

static void free_stack_of_a_thread(void)
{
	char on_stack[256] __attribute__((aligned(16))) = "";

	in_a_thread(free_it, tell(on_stack));
}

static void free_static(void)
{
	CALL(free)(tell(in_bss + 16));
}

static void free_constant(void)
{
	CALL(free)(tell((void *)(uintptr_t)in_rodata));
}

static void free_code(void)
{
	CALL(free)(tell((void *)(uintptr_t)free_code));
}

static void free_environment(void)
{
	CALL(free)(tell(getenv("PATH")));
}

static void free_own_mapping(void)
{
	void *mapping = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CALL(free)(tell(mapping));
}

/* What malloc of the C library itself gave, when the library does not stand aside. */
static void free_of_another_allocator(void)
{
	void *(*other)(size_t);
	void *symbol = dlsym(RTLD_DEFAULT, "__libc_malloc");

	if (symbol == NULL)
		_exit(TAP_SKIP);
	memcpy(&other, &symbol, sizeof(other));
	CALL(free)(tell(other(SMALL)));
}

static void realloc_address(void)
{
	sink = CALL(realloc)(tell(given_address), 10);
}

static void reallocarray_address(void)
{
	sink = CALL(reallocarray)(tell(given_address), 10, 10);
}

static void realloc_address_to_nothing(void)
{
	sink = CALL(realloc)(tell(given_address), 0);
}

static void usable_size_of_address(void)
{
	CALL(malloc_usable_size)(tell(given_address));
}

static void call_by_name(const char *name)
{
	void (*release)(void *, size_t, size_t);
	void *symbol = dlsym(RTLD_DEFAULT, name);

	if (symbol == NULL)
		_exit(TAP_ERROR);
	memcpy(&release, &symbol, sizeof(release));
	release(tell(given_address), 16, 16);
}

static void delete_address(void)
{
	call_by_name("_ZdlPv");
}

static void delete_sized_address(void)
{
	call_by_name("_ZdlPvm");
}

static void free_sized_address(void)
{
	call_by_name("free_sized");
}

static void free_with_stderr_closed(void)
{
	close(STDERR_FILENO);
	CALL(free)(tell(in_bss));
}

/* The allocator's, but not the start of a block. */

static void free_interior_small(void)
{
	CALL(free)(tell(victim_of(SMALL) + 16));
}

static void free_interior_medium(void)
{
	CALL(free)(tell(victim_of(MEDIUM) + 4096));
}

static void free_interior_large(void)
{
	CALL(free)(tell(victim_of(LARGE) + 4096));
}

static void free_end_of_large(void)
{
	CALL(free)(tell(victim_of(LARGE) + LARGE - 16));
}

static void free_middle_of_large(void)
{
	CALL(free)(tell(victim_of(LARGE) + LARGE / 2));
}

static void free_misaligned_by_1(void)
{
	CALL(free)(tell(victim_of(SMALL) + 1));
}

static void free_misaligned_by_8(void)
{
	CALL(free)(tell(victim_of(SMALL) + 8));
}

static void free_misaligned_medium(void)
{
	CALL(free)(tell(victim_of(MEDIUM) + 8));
}

static void free_misaligned_large(void)
{
	CALL(free)(tell(victim_of(LARGE) + 1));
}

static void free_before_small(void)
{
	CALL(free)(tell(block_of(SMALL) - 16));
}

static void free_before_large(void)
{
	CALL(free)(tell(block_of(LARGE) - 16));
}

/* One block of its size only, so that what follows has never been a block. */
static void free_past_small(void)
{
	char *block = block_of(3000);

	CALL(free)(tell(block + CALL(malloc_usable_size)(block)));
}

static void free_past_medium(void)
{
	char *block = block_of(MEDIUM);

	CALL(free)(tell(block + CALL(malloc_usable_size)(block)));
}

static void free_past_large(void)
{
	char *block = block_of(LARGE);

	CALL(free)(tell(block + CALL(malloc_usable_size)(block)));
}

/* Where an allocator of aligned arenas keeps its records. */
static void free_start_of_mebibyte(void)
{
	uintptr_t block = (uintptr_t)victim_of(SMALL);

	CALL(free)(tell((void *)(block / MIB * MIB)));
}

static void realloc_interior(void)
{
	sink = CALL(realloc)(tell(victim_of(SMALL) + 32), 1000);
}

static void realloc_interior_large(void)
{
	sink = CALL(realloc)(tell(victim_of(LARGE) + 8192), 2 * LARGE);
}

static void usable_size_of_interior(void)
{
	CALL(malloc_usable_size)(tell(victim_of(SMALL) + 16));
}

/* Freed already. */

static void double_free_small(void)
{
	free_twice(victim_of(SMALL));
}

static void double_free_zero(void)
{
	free_twice(victim_of(0));
}

static void double_free_page(void)
{
	free_twice(victim_of(4096));
}

static void double_free_medium(void)
{
	free_twice(victim_of(MEDIUM));
}

static void double_free_large(void)
{
	free_twice(victim_of(LARGE));
}

static void double_free_aligned(void)
{
	sink = CALL(memalign)(256, 300);
	char *victim = (char *)CALL(memalign)(256, 300);
	sink = CALL(memalign)(256, 300);
	free_twice(victim);
}

static void double_free_only_block(void)
{
	free_twice(block_of(5000));
}

/* Between the two frees others of the same size are freed. */
static void double_free_after_others(void)
{
	char *before[100];
	char *after[100];

	for (size_t i = 0; i < COUNT_OF(before); i++)
		before[i] = block_of(SMALL);
	char *victim = block_of(SMALL);
	for (size_t i = 0; i < COUNT_OF(after); i++)
		after[i] = block_of(SMALL);
	block_of(SMALL);
	for (size_t i = 0; i < COUNT_OF(before); i += 2)
		CALL(free)(before[i]);
	CALL(free)(victim);
	for (size_t i = 0; i < COUNT_OF(after); i++)
		CALL(free)(after[i]);
	CALL(free)(tell(victim));
}

/* Between the two frees a great many blocks come and go. */
static void double_free_after_work(void)
{
	char *victim = victim_of(SMALL);

	CALL(free)(victim);
	for (size_t i = 0; i < 20000; i++) {
		size_t size = 200 + i * 7 % 30000;
		CALL(free)(CALL(malloc)(size));
	}
	CALL(free)(tell(victim));
}

/* All pages around it have been given back when it is freed again. */
static void double_free_after_trim(void)
{
	enum { COUNT = 10000 };
	static char *blocks[COUNT];

	for (size_t i = 0; i < COUNT; i++)
		blocks[i] = block_of(SMALL);
	for (size_t i = 0; i < COUNT; i++)
		if (i % 2000 != 0)
			CALL(free)(blocks[i]);
	CALL(malloc_trim)(0);
	CALL(free)(tell(blocks[1001]));
}

/* A block that is not mapped any more, as its whole arena. */
static char *block_of_a_released_arena(void)
{
	enum { COUNT = 20 * MIB / 400 };
	static char *blocks[COUNT];
	unsigned char is_resident;

	for (size_t i = 0; i < COUNT; i++)
		blocks[i] = block_of(400);
	for (size_t i = 0; i < COUNT; i++)
		CALL(free)(blocks[i]);
	CALL(malloc_trim)(0);
	for (size_t i = 0; i < COUNT; i++) {
		void *page = (void *)((uintptr_t)blocks[i] / page_bytes() * page_bytes());
		if (mincore(page, 1, &is_resident) != 0 && errno == ENOMEM)
			return (char *)tell(blocks[i]);
	}
	_exit(TAP_ERROR);
}

static void free_in_a_released_arena(void)
{
	CALL(free)(block_of_a_released_arena());
}

static void realloc_in_a_released_arena(void)
{
	sink = CALL(realloc)(block_of_a_released_arena(), 1000);
}

static void usable_size_in_a_released_arena(void)
{
	CALL(malloc_usable_size)(block_of_a_released_arena());
}

static void double_free_in_a_thread(void)
{
	char *victim = victim_of(SMALL);

	CALL(free)(victim);
	in_a_thread(free_it, tell(victim));
	for (size_t i = 0; i < 1000; i++) /* where a list of remote frees is looked through later */
		block_of(SMALL);
}

static void double_free_after_a_thread(void)
{
	char *victim = victim_of(SMALL);

	in_a_thread(free_it, victim);
	CALL(free)(tell(victim));
	for (size_t i = 0; i < 1000; i++)
		block_of(SMALL);
}

static void double_free_by_two_threads(void)
{
	char *victim = victim_of(SMALL);

	in_a_thread(free_it, victim);
	in_a_thread(free_it, tell(victim));
	for (size_t i = 0; i < 1000; i++)
		block_of(SMALL);
}

static void double_free_of_medium_in_a_thread(void)
{
	char *victim = victim_of(MEDIUM);

	CALL(free)(victim);
	in_a_thread(free_it, tell(victim));
	for (size_t i = 0; i < 100; i++)
		block_of(MEDIUM);
}

static void *make_victim(void *place)
{
	*(char **)place = victim_of(SMALL);
	return NULL;
}

static void double_free_of_an_ended_threads_block(void)
{
	char *victim = NULL;

	in_a_thread(make_victim, &victim);
	CALL(free)(victim);
	CALL(free)(tell(victim));
	for (size_t i = 0; i < 1000; i++)
		block_of(SMALL);
}

static void double_free_in_a_child(void)
{
	char *victim = victim_of(SMALL);

	CALL(free)(victim);
	pid_t child = fork();
	if (child == 0) {
		CALL(free)(tell(victim));
		_exit(0);
	}
	int status = 0;
	waitpid(child, &status, 0);
	if (WIFSIGNALED(status)) {
		signal(WTERMSIG(status), SIG_DFL);
		raise(WTERMSIG(status));
	}
}

static void double_free_after_realloc(void)
{
	char *victim = victim_of(SMALL);
	char *moved = (char *)CALL(realloc)(victim, 20000);

	if (moved != victim)
		CALL(free)(tell(victim));
}

static void realloc_freed(void)
{
	char *victim = victim_of(SMALL);

	CALL(free)(victim);
	sink = CALL(realloc)(tell(victim), 2 * SMALL);
}

static void realloc_freed_in_place(void)
{
	char *victim = victim_of(SMALL);

	CALL(free)(victim);
	sink = CALL(realloc)(tell(victim), SMALL);
}

static void realloc_freed_to_nothing(void)
{
	char *victim = victim_of(SMALL);

	CALL(free)(victim);
	sink = CALL(realloc)(tell(victim), 0);
}

static void realloc_freed_medium(void)
{
	char *victim = victim_of(MEDIUM);

	CALL(free)(victim);
	sink = CALL(realloc)(tell(victim), 2 * MEDIUM);
}

static void realloc_freed_large(void)
{
	char *victim = victim_of(LARGE);

	CALL(free)(victim);
	sink = CALL(realloc)(tell(victim), 2 * LARGE);
}

static void usable_size_of_freed(void)
{
	char *victim = victim_of(SMALL);

	CALL(free)(victim);
	CALL(malloc_usable_size)(tell(victim));
}

/* No misuse: what shows that the others die of it. */
static void nothing_wrong(void)
{
	free(NULL);
	CALL(free)(tell(victim_of(SMALL)));
	CALL(free)(CALL(realloc)(victim_of(MEDIUM), LARGE));
	in_a_thread(free_it, victim_of(LARGE));
}

#define CASE(name) \
	{ \
#name, name \
	}
static const struct tap_point cases[] = {
	CASE(nothing_wrong),
	CASE(free_address),
	CASE(free_stack),
	CASE(free_stack_of_a_thread),
	CASE(free_static),
	CASE(free_constant),
	CASE(free_code),
	CASE(free_environment),
	CASE(free_own_mapping),
	CASE(free_of_another_allocator),
	CASE(realloc_address),
	CASE(reallocarray_address),
	CASE(realloc_address_to_nothing),
	CASE(usable_size_of_address),
	CASE(delete_address),
	CASE(delete_sized_address),
	CASE(free_sized_address),
	CASE(free_with_stderr_closed),
	CASE(free_interior_small),
	CASE(free_interior_medium),
	CASE(free_interior_large),
	CASE(free_end_of_large),
	CASE(free_middle_of_large),
	CASE(free_misaligned_by_1),
	CASE(free_misaligned_by_8),
	CASE(free_misaligned_medium),
	CASE(free_misaligned_large),
	CASE(free_before_small),
	CASE(free_before_large),
	CASE(free_past_small),
	CASE(free_past_medium),
	CASE(free_past_large),
	CASE(free_start_of_mebibyte),
	CASE(realloc_interior),
	CASE(realloc_interior_large),
	CASE(usable_size_of_interior),
	CASE(double_free_small),
	CASE(double_free_zero),
	CASE(double_free_page),
	CASE(double_free_medium),
	CASE(double_free_large),
	CASE(double_free_aligned),
	CASE(double_free_only_block),
	CASE(double_free_after_others),
	CASE(double_free_after_work),
	CASE(double_free_after_trim),
	CASE(free_in_a_released_arena),
	CASE(realloc_in_a_released_arena),
	CASE(usable_size_in_a_released_arena),
	CASE(double_free_in_a_thread),
	CASE(double_free_after_a_thread),
	CASE(double_free_by_two_threads),
	CASE(double_free_of_medium_in_a_thread),
	CASE(double_free_of_an_ended_threads_block),
	CASE(double_free_in_a_child),
	CASE(double_free_after_realloc),
	CASE(realloc_freed),
	CASE(realloc_freed_in_place),
	CASE(realloc_freed_to_nothing),
	CASE(realloc_freed_medium),
	CASE(realloc_freed_large),
	CASE(usable_size_of_freed),
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	if (argc == 3)
		given_address = (void *)(uintptr_t)strtoull(argv[2], NULL, 0);
	/* A first thread, so that starting the next one need not allocate where a victim has been. */
	in_a_thread(free_it, NULL);
	if (tap_run_only(argc, argv, cases) != 0)
		return TAP_ERROR;
	dprintf(STDOUT_FILENO, "survived\n");
	return 0;
}
