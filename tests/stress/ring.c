/* SPDX-License-Identifier: MIT */
/*
 * ring.c: blocks made by one thread and freed by another: through a bounded queue, in bursts, handed
 * round and resized on the way, and after their maker has ended.  Address space stays bounded while
 * it goes on, and memory is back afterwards.
 */
#include "../lib/blocks.h"

#include <pthread.h>

#define ROOM 1000
#define BURST 100000
#define FLOW_LIMIT (256 * MIB) /* address space that a bounded flow of blocks may take */
#define REST_LIMIT (4 * MIB)   /* what may stay resident when all is freed and trimmed */
#define THREADS_MAX 8

static struct tap_option options[] = {
	{ "blocks", 1000000, "blocks that pass from thread to thread in a point" },
	{ NULL, 0, NULL },
};

struct message {
	size_t size; /* of the block, this header included */
	uint64_t contents;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct message *messages[ROOM];
	size_t head, count;
	size_t producers; /* still at work */
} queue = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static uint64_t blocks_each;
static size_t base_bytes;
static size_t most_mapped; /* [atomic] */

static struct message *make(uint64_t *random)
{
	uint64_t kind = random_below(random, 1000);
	size_t size = kind == 0   ? random_below(random, MIB)
		      : kind < 10 ? random_below(random, 60000)
				  : random_below(random, 600);
	struct message *message = (struct message *)CALL(malloc)(size + sizeof(*message));

	REQUIRE(message != NULL);
	message->size = size + sizeof(*message);
	message->contents = random_next(random);
	fill(message + 1, size < 500 ? size : 500, message->contents);
	return message;
}

static void check(const struct message *message)
{
	size_t size = message->size - sizeof(*message);

	REQUIRE(is_intact(message + 1, size < 500 ? size : 500, message->contents), "%p of %zu bytes",
		(const void *)message, message->size);
}

static void put(struct message *message)
{
	pthread_mutex_lock(&queue.lock);
	while (queue.count == ROOM)
		pthread_cond_wait(&queue.changed, &queue.lock);
	queue.messages[(queue.head + queue.count++) % ROOM] = message;
	pthread_cond_broadcast(&queue.changed);
	pthread_mutex_unlock(&queue.lock);
}

/* NULL when the producers have ended and the queue is empty. */
static struct message *take(void)
{
	struct message *message = NULL;

	pthread_mutex_lock(&queue.lock);
	while (queue.count == 0 && queue.producers > 0)
		pthread_cond_wait(&queue.changed, &queue.lock);
	if (queue.count > 0) {
		message = queue.messages[queue.head];
		queue.head = (queue.head + 1) % ROOM;
		queue.count--;
		pthread_cond_broadcast(&queue.changed);
	}
	pthread_mutex_unlock(&queue.lock);
	return message;
}

static void *produce(void *argument)
{
	uint64_t random = (uint64_t)(uintptr_t)argument;

	for (uint64_t i = 0; i < blocks_each; i++) {
		put(make(&random));
		if (i % 20000 == 0 && mapped_now() > __atomic_load_n(&most_mapped, __ATOMIC_RELAXED))
			__atomic_store_n(&most_mapped, mapped_now(), __ATOMIC_RELAXED);
	}
	pthread_mutex_lock(&queue.lock);
	queue.producers--;
	pthread_cond_broadcast(&queue.changed);
	pthread_mutex_unlock(&queue.lock);
	return NULL;
}

static void *consume(void *argument)
{
	struct message *message;

	while ((message = take()) != NULL) {
		check(message);
		CALL(free)(message);
	}
	return argument;
}

static void run(size_t producers, size_t consumers)
{
	pthread_t threads[2 * THREADS_MAX];
	size_t count = 0;

	queue.producers = producers;
	blocks_each = tap_value("blocks") / producers;
	base_bytes = resident_now();
	size_t mapped = mapped_now();
	for (size_t i = 0; i < producers; i++)
		REQUIRE(pthread_create(&threads[count++], NULL, produce, (void *)(uintptr_t)(i + 1)) ==
			0);
	for (size_t i = 0; i < consumers; i++)
		REQUIRE(pthread_create(&threads[count++], NULL, consume, NULL) == 0);
	while (count > 0)
		pthread_join(threads[--count], NULL);
	EXPECT(most_mapped < mapped + FLOW_LIMIT + (producers + consumers) * 80 * MIB,
	       "%zu MiB mapped for at most %d blocks", most_mapped / MIB, ROOM);
}

/* Only the library promises it: the C library keeps what its caches and arenas hold. */
static void check_rest(void)
{
	if (!tap_has_library())
		return;
	CALL(malloc_trim)(0);
	size_t now = resident_now();
	EXPECT(now < base_bytes + REST_LIMIT, "resident %zu KiB, then %zu KiB", base_bytes / KIB,
	       now / KIB);
}

static void one_to_one(void)
{
	run(1, 1);
	check_rest();
}

static void four_to_one(void)
{
	run(4, 1);
	check_rest();
}

static void one_to_four(void)
{
	run(1, 4);
	check_rest();
}

static void four_to_four(void)
{
	run(4, 4);
	check_rest();
}

static struct message *burst[BURST];

static void *make_burst(void *argument)
{
	uint64_t random = (uint64_t)(uintptr_t)argument;

	for (size_t i = 0; i < BURST; i++)
		burst[i] = make(&random);
	return NULL;
}

static void *free_burst(void *argument)
{
	size_t step = (size_t)(uintptr_t)argument;

	for (size_t i = 0; i < BURST; i++) {
		struct message *message = burst[i * step % BURST];
		check(message);
		CALL(free)(message);
	}
	return NULL;
}

/* The maker has always ended when its blocks are freed. */
static void bursts_after_the_end(void)
{
	pthread_t thread;
	size_t mapped = 0;

	base_bytes = resident_now();
	for (int round = 0; round < 8; round++) {
		REQUIRE(pthread_create(&thread, NULL, make_burst, (void *)(uintptr_t)(round + 1)) == 0);
		pthread_join(thread, NULL);
		if (round % 2 == 0) {
			free_burst((void *)1);
		} else {
			REQUIRE(pthread_create(&thread, NULL, free_burst, (void *)7) == 0);
			pthread_join(thread, NULL);
		}
		if (round == 1)
			mapped = mapped_now();
	}
	EXPECT(mapped_now() < mapped + 100 * MIB, "mapped %zu MiB, then %zu MiB", mapped / MIB,
	       mapped_now() / MIB);
	check_rest();
}

/* The maker lives on, but never frees and never allocates while others free its blocks. */
static void bursts_freed_by_others(void)
{
	pthread_t thread;
	size_t mapped = 0;

	base_bytes = resident_now();
	for (int round = 0; round < 8; round++) {
		make_burst((void *)(uintptr_t)(round + 1));
		REQUIRE(pthread_create(&thread, NULL, free_burst, (void *)7) == 0);
		pthread_join(thread, NULL);
		if (round == 1)
			mapped = mapped_now();
	}
	EXPECT(mapped_now() < mapped + 100 * MIB, "mapped %zu MiB, then %zu MiB", mapped / MIB,
	       mapped_now() / MIB);
	check_rest();
}

/* Each block is resized by every thread that it passes. */
static void *resize_and_pass(void *argument)
{
	uint64_t random = (uint64_t)(uintptr_t)argument;

	for (uint64_t i = 0; i < blocks_each; i++) {
		struct message *message = take();
		if (message == NULL)
			break;
		check(message);
		size_t known = message->size - sizeof(*message);
		size_t size = random_below(&random, random_below(&random, 100) == 0 ? 300000 : 900);
		uint64_t contents = message->contents;
		message = (struct message *)CALL(realloc)(message, size + sizeof(*message));
		REQUIRE(message != NULL);
		known = known < size ? known : size;
		REQUIRE(is_intact(message + 1, known < 500 ? known : 500, contents));
		message->size = size + sizeof(*message);
		fill(message + 1, size < 500 ? size : 500, contents);
		put(message);
	}
	return NULL;
}

static void handed_round_and_resized(void)
{
	pthread_t threads[4];
	uint64_t random = 1;

	base_bytes = resident_now();
	queue.producers = 1;
	blocks_each = tap_value("blocks") / 2 / COUNT_OF(threads);
	for (size_t i = 0; i < ROOM / 2; i++)
		put(make(&random));
	for (size_t i = 0; i < COUNT_OF(threads); i++)
		REQUIRE(pthread_create(&threads[i], NULL, resize_and_pass,
				       (void *)(uintptr_t)(i + 1)) == 0);
	for (size_t i = 0; i < COUNT_OF(threads); i++)
		pthread_join(threads[i], NULL);
	queue.producers = 0;
	consume(NULL);
	check_rest();
}

static const struct tap_point points[] = {
	{ "one_to_one", one_to_one },
	{ "four_to_one", four_to_one },
	{ "one_to_four", one_to_four },
	{ "four_to_four", four_to_four },
	{ "bursts_after_the_end", bursts_after_the_end },
	{ "bursts_freed_by_others", bursts_freed_by_others },
	{ "handed_round_and_resized", handed_round_and_resized },
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, points, options);
}
