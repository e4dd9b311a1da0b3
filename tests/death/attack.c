/* SPDX-License-Identifier: MIT */
/*
 * attack.c: one attack on the allocator for each name in the table, for test_attacks.py to run.
 *
 * `attack NAME` makes the mistake that a faulty program makes, and uses it as somebody would who knows the
 * allocator.  It writes "reached" when it has got what it wanted, "failed" when it has not.  What is
 * noticed before that ends the process.
 */
#include "../lib/blocks.h"

#define SMALL ((size_t)64)
#define LARGE ((size_t)1 << 20)

static void *volatile sink;

/* Without another request: what is told may be that the next would end in chaos. */
__attribute__((noreturn)) static void tell(bool has_reached)
{
	const char *word = has_reached ? "reached\n" : "failed\n";

	_exit(write(STDOUT_FILENO, word, strlen(word)) < 0 ? TAP_ERROR : 0);
}

static char *block_of(size_t size)
{
	char *block = (char *)CALL(malloc)(size);

	if (block == NULL)
		_exit(TAP_ERROR);
	memset(block, 1, size);
	return block;
}

/* --- the records of pools and arenas --- */

/* The first page of each MiB in which blocks are. */
static uintptr_t records_of(const void *block)
{
	return (uintptr_t)block / MIB * MIB;
}

/* Writes from the end of a block on, byte by byte, until records are written over. */
static void overflow_up_to(volatile char *from, uintptr_t records)
{
	while ((uintptr_t)from < records + 64)
		*from++ = 'A';
	tell(true);
}

/* Of two MiBs of blocks that adjoin each other, the last block of the lower. */
static void overflow_small_into_records(void)
{
	enum { COUNT = 4000 };
	static char *blocks[COUNT];
	char *last = NULL;

	for (size_t i = 0; i < COUNT; i++)
		blocks[i] = block_of(1000);
	for (size_t i = 0; i < COUNT; i++) {
		bool has_upper = false;
		for (size_t j = 0; j < COUNT && !has_upper; j++)
			has_upper = records_of(blocks[j]) == records_of(blocks[i]) + MIB;
		if (has_upper && (last == NULL || blocks[i] > last))
			last = blocks[i];
	}
	if (last == NULL)
		_exit(TAP_SKIP);
	overflow_up_to(last + 1000, records_of(last) + MIB);
}

/* A large object that ends where an arena begins, if one can be had. */
static void overflow_large_into_records(void)
{
	enum { COUNT = 3000 };
	static char *blocks[COUNT];
	char *large = NULL;
	uintptr_t records = UINTPTR_MAX;

	for (size_t i = 0; i < COUNT; i++)
		blocks[i] = block_of(1000);
	for (size_t i = 0; i < 8; i++) {
		char *object = block_of(LARGE);
		for (size_t j = 0; j < COUNT; j++) {
			if (blocks[j] < object || records_of(blocks[j]) >= records)
				continue;
			large = object;
			records = records_of(blocks[j]);
		}
	}
	if (large == NULL)
		_exit(TAP_SKIP);
	overflow_up_to(large + LARGE, records);
}

/* From the first block behind an arena's header back to it. */
static void underflow_into_records(void)
{
	enum { COUNT = 3000 };
	char *lowest = NULL;

	for (size_t i = 0; i < COUNT; i++) {
		char *block = block_of(1000);
		if (lowest == NULL || (uintptr_t)block % MIB < (uintptr_t)lowest % MIB)
			lowest = block;
	}
	for (volatile char *at = lowest; (uintptr_t)at > records_of(lowest) + 64;)
		*--at = 'A';
	tell(true);
}

/* --- writing beyond the end --- */

/* A block and the one that begins where it ends. */
static bool neighbours(size_t size, char **lower, char **upper)
{
	enum { COUNT = 200 };
	char *blocks[COUNT];

	for (size_t i = 0; i < COUNT; i++)
		blocks[i] = block_of(size);
	*lower = NULL;
	for (size_t i = 0; i < COUNT; i++) {
		for (size_t j = 0; j < COUNT; j++) {
			if (blocks[j] <= blocks[i] || blocks[j] > blocks[i] + size + 64)
				continue;
			*lower = blocks[i];
			*upper = blocks[j];
		}
	}
	return *lower != NULL;
}

/* What the neighbour holds is the attacker's, and nobody notices when the block is freed. */
static void overflow_into_neighbour(void)
{
	char *lower, *upper;

	if (!neighbours(SMALL, &lower, &upper))
		_exit(TAP_SKIP);
	memset(lower, 'A', (size_t)(upper - lower) + 8);
	CALL(free)(lower);
	tell(*upper == 'A');
}

static void overflow_of_neighbour_noticed_by_realloc(void)
{
	char *lower, *upper;

	if (!neighbours(SMALL, &lower, &upper))
		_exit(TAP_SKIP);
	memset(lower, 'A', (size_t)(upper - lower) + 8);
	sink = CALL(realloc)(lower, 2 * SMALL);
	tell(*upper == 'A');
}

/* A string's end, one byte too far. */
static void overflow_by_one_zero(void)
{
	char *lower, *upper;

	if (!neighbours(SMALL, &lower, &upper))
		_exit(TAP_SKIP);
	lower[SMALL] = 0;
	CALL(free)(lower);
	tell(*upper == 0);
}

/* A byte that is written over with what it was is no overflow that anybody could notice. */
static void write_another(char *byte)
{
	*byte = (char)~*byte;
}

/* In what the allocator gives more than was asked for, where others hide what they smuggle. */
static void overflow_into_the_gap(void)
{
	char *block = block_of(SMALL - 5);

	write_another(block + SMALL - 5);
	sink = block;
	CALL(free)(block);
	tell(true);
}

static void overflow_of_medium(void)
{
	char *block = block_of(100000);

	write_another(block + 100000);
	sink = block;
	CALL(free)(block);
	tell(true);
}

static void overflow_of_large_into_the_gap(void)
{
	char *block = block_of(LARGE + 100);

	write_another(block + LARGE + 100);
	sink = block;
	CALL(free)(block);
	tell(true);
}

/* From one large object into the next. */
static void overflow_behind_large(void)
{
	enum { COUNT = 8 };
	char *blocks[COUNT];
	char *lower = NULL, *upper = NULL;

	for (size_t i = 0; i < COUNT; i++)
		blocks[i] = block_of(LARGE);
	for (size_t i = 0; i < COUNT; i++) {
		for (size_t j = 0; j < COUNT; j++) {
			if (blocks[j] <= blocks[i] || blocks[j] > blocks[i] + LARGE + 64 * KIB)
				continue;
			lower = blocks[i];
			upper = blocks[j];
		}
	}
	if (lower == NULL)
		_exit(TAP_SKIP);
	for (volatile char *at = lower + LARGE; at <= upper; at++)
		*at = 'A';
	tell(*upper == 'A');
}

/* --- using what was freed --- */

/* Long enough for the block to be handed out again. */
static void work(void)
{
	enum { COUNT = 100 };
	void *blocks[COUNT];

	for (size_t round = 0; round < 200; round++) {
		for (size_t i = 0; i < COUNT; i++)
			blocks[i] = CALL(malloc)(SMALL);
		for (size_t i = 0; i < COUNT; i++)
			CALL(free)(blocks[i]);
	}
}

static void write_after_free(void)
{
	char *block = block_of(SMALL);

	CALL(free)(block);
	block[40] = 'A';
	work();
	tell(true);
}

/* Also where it is no block's start, and the block is in its pool's list already. */
static void write_after_free_and_work(void)
{
	char *block = block_of(SMALL);
	char *neighbour = block_of(SMALL);

	CALL(free)(block);
	for (size_t i = 0; i < 3000; i++)
		CALL(free)(CALL(malloc)(2000));
	block[40] = 'A';
	for (size_t i = 0; i < 5000; i++)
		sink = CALL(malloc)(SMALL);
	tell(neighbour[0] == 1);
}

static char target[128] __attribute__((aligned(16)));

/* The link in a free block is made to lead to the target; the second request from then on gets it. */
static void poison_the_list(void)
{
	char *block = block_of(SMALL);
	void *aim = target;

	CALL(free)(block);
	memcpy(block, &aim, sizeof(aim));
	for (size_t i = 0; i < 5000; i++)
		if (CALL(malloc)(SMALL) == (void *)target)
			tell(true);
	tell(false);
}

/* The same when the block has left the quarantine, if there is one: what is in the list is encoded. */
static void poison_the_list_later(void)
{
	enum { COUNT = 3000 };
	static char *blocks[COUNT];
	void *aim = target;

	for (size_t i = 0; i < COUNT; i++)
		blocks[i] = block_of(SMALL);
	for (size_t i = 0; i < COUNT; i++)
		CALL(free)(blocks[i]);
	for (size_t i = 0; i < COUNT; i++) {
		void *link;
		memcpy(&link, blocks[i], sizeof(link));
		if (link != NULL)
			memcpy(blocks[i], &aim, sizeof(aim));
	}
	for (size_t i = 0; i < 5000; i++)
		if (CALL(malloc)(SMALL) == (void *)target)
			tell(true);
	tell(false);
}

/* Freed, handed out again, freed by its first owner, handed out once more: then it has two. */
static void double_free_interleaved(void)
{
	char *block = block_of(SMALL);
	char *first = NULL;

	CALL(free)(block);
	for (size_t i = 0; i < 100 && first != block; i++)
		first = block_of(SMALL);
	CALL(free)(block);
	for (size_t i = 0; i < 100; i++)
		if (block_of(SMALL) == first)
			tell(true);
	tell(false);
}

/* What was in a freed block can be read through a pointer that is left, or by who gets it next. */
static void read_after_free(void)
{
	static const char secret[] = "correct horse";
	char *block = block_of(SMALL);

	memcpy(block + 24, secret, sizeof(secret));
	CALL(free)(block);
	tell(memcmp(block + 24, secret, sizeof(secret)) == 0);
}

static void read_what_another_left(void)
{
	enum { COUNT = 4000 };
	static char *blocks[COUNT];
	bool is_there = false;

	for (size_t i = 0; i < COUNT; i++) {
		blocks[i] = block_of(SMALL);
		blocks[i][24] = 'S';
	}
	for (size_t i = 0; i < COUNT; i++)
		CALL(free)(blocks[i]);
	for (size_t i = 0; i < COUNT; i++)
		is_there |= ((char *)CALL(malloc)(SMALL))[24] == 'S';
	tell(is_there);
}

static void read_after_free_of_large(void)
{
	char *block = block_of(LARGE);

	CALL(free)(block);
	tell(block[1000] == 1);
}

/* --- learning where blocks are --- */

/* The addresses of blocks, out of what is left in free ones. */
static void learn_addresses(void)
{
	enum { COUNT = 3000 };
	static char *blocks[COUNT];
	bool is_there = false;

	for (size_t i = 0; i < COUNT; i++)
		blocks[i] = block_of(SMALL);
	for (size_t i = 0; i < COUNT; i++)
		CALL(free)(blocks[i]);
	for (size_t i = 0; i < COUNT; i++) {
		uintptr_t word;
		memcpy(&word, blocks[i], sizeof(word));
		is_there |= word / MIB == (uintptr_t)blocks[i] / MIB;
	}
	tell(is_there);
}

/* That two requests one after the other get blocks one after the other. */
static void foresee_the_order(void)
{
	enum { COUNT = 200 };
	size_t in_order = 0;
	char *last = block_of(SMALL);

	for (size_t i = 0; i < COUNT; i++) {
		char *next = block_of(SMALL);
		in_order += next > last && next <= last + 2 * SMALL;
		last = next;
	}
	tell(in_order > COUNT / 2);
}

/* --- sizes --- */

static void free_with(const char *name, size_t size, size_t told)
{
	void (*release)(void *, size_t, size_t);
	void *symbol = dlsym(RTLD_DEFAULT, name);
	char *block = block_of(size);

	if (symbol == NULL)
		_exit(TAP_SKIP);
	memcpy(&release, &symbol, sizeof(release));
	release(block, strstr(name, "aligned") ? 16 : told, told);
	tell(true);
}

static void free_sized_too_large(void)
{
	free_with("free_sized", SMALL, SMALL + 1);
}

static void free_sized_too_small(void)
{
	free_with("free_sized", SMALL, SMALL - 1);
}

static void free_sized_of_large(void)
{
	free_with("free_sized", LARGE, LARGE / 2);
}

static void free_aligned_sized_wrong(void)
{
	free_with("free_aligned_sized", SMALL, 2 * SMALL);
}

/* As when an object is deleted through a pointer to its base class that has no virtual destructor. */
static void delete_as_another_class(void)
{
	free_with("_ZdlPvm", SMALL, SMALL / 2);
}

#define CASE(name) \
	{ \
#name, name \
	}
static const struct tap_point cases[] = {
	CASE(overflow_small_into_records),
	CASE(overflow_large_into_records),
	CASE(underflow_into_records),
	CASE(overflow_into_neighbour),
	CASE(overflow_of_neighbour_noticed_by_realloc),
	CASE(overflow_by_one_zero),
	CASE(overflow_into_the_gap),
	CASE(overflow_of_medium),
	CASE(overflow_of_large_into_the_gap),
	CASE(overflow_behind_large),
	CASE(write_after_free),
	CASE(write_after_free_and_work),
	CASE(poison_the_list),
	CASE(poison_the_list_later),
	CASE(double_free_interleaved),
	CASE(read_after_free),
	CASE(read_what_another_left),
	CASE(read_after_free_of_large),
	CASE(learn_addresses),
	CASE(foresee_the_order),
	CASE(free_sized_too_large),
	CASE(free_sized_too_small),
	CASE(free_sized_of_large),
	CASE(free_aligned_sized_wrong),
	CASE(delete_as_another_class),
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	tap_run_only(argc, argv, cases);
	return TAP_ERROR; /* each case tells what it reached, and ends */
}
