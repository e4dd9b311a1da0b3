/* SPDX-License-Identifier: MIT */
/*
 * slots.h: workers that allocate, resize and free without a pause, in slots that all threads share,
 * and what a child of such a process does: it finds whole blocks in the slots that nobody was using at
 * that moment, frees them, allocates, makes a thread and ends.  A child that hangs is ended by its alarm.
 */
#ifndef SLOTS_H
#define SLOTS_H

#include "blocks.h"

#include <pthread.h>

#define WORKERS 8
#define SLOTS 400
#define CHECKED ((size_t)256) /* so many bytes of a block have known contents */
#define CHILD_SECONDS 60

enum state { EMPTY, BUSY, FULL };

struct slot {
	int state; /* [atomic] */
	void *block;
	size_t size;
	uint64_t contents;
};

static struct slot slots[SLOTS];
static bool stop; /* [atomic] */
static pthread_t workers[WORKERS];

static inline size_t checked_bytes(const struct slot *slot)
{
	return slot->size < CHECKED ? slot->size : CHECKED;
}

static inline size_t random_size(uint64_t *random)
{
	uint64_t kind = random_below(random, 200);

	if (kind == 0)
		return random_below(random, 3 * MIB);
	if (kind < 10)
		return random_below(random, 100 * KIB);
	return random_below(random, 1500);
}

static inline void put_block(struct slot *slot, uint64_t *random)
{
	slot->size = random_size(random);
	switch (random_below(random, 8)) {
	case 0:
		slot->block = CALL(calloc)(slot->size, 1);
		break;
	case 1:
		slot->block = CALL(memalign)(64, slot->size);
		break;
	default:
		slot->block = CALL(malloc)(slot->size);
		break;
	}
	REQUIRE(slot->block != NULL);
	slot->contents = random_next(random);
	fill(slot->block, checked_bytes(slot), slot->contents);
}

static inline void check_block(const struct slot *slot)
{
	REQUIRE(is_intact(slot->block, checked_bytes(slot), slot->contents), "block %p of %zu bytes",
		slot->block, slot->size);
}

static inline void resize_block(struct slot *slot, uint64_t *random)
{
	size_t known = checked_bytes(slot);
	size_t size = random_size(random) + 1;

	slot->block = CALL(realloc)(slot->block, size);
	REQUIRE(slot->block != NULL);
	REQUIRE(is_intact(slot->block, known < size ? known : size, slot->contents));
	slot->size = size;
	fill(slot->block, checked_bytes(slot), slot->contents);
}

static inline void use_slot(struct slot *slot, uint64_t *random)
{
	int state = __atomic_load_n(&slot->state, __ATOMIC_RELAXED);

	/* Acquires what the thread that left the slot released. */
	if (state == BUSY || !__atomic_compare_exchange_n(&slot->state, &state, BUSY, false,
							  __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return;
	if (state == EMPTY) {
		put_block(slot, random);
		state = FULL;
	} else {
		check_block(slot);
		if (random_below(random, 4) == 0) {
			resize_block(slot, random);
		} else {
			CALL(free)(slot->block);
			state = EMPTY;
		}
	}
	__atomic_store_n(&slot->state, state, __ATOMIC_RELEASE);
}

static inline void use_slots(uint64_t *random, size_t times)
{
	for (size_t i = 0; i < times; i++)
		use_slot(&slots[random_below(random, SLOTS)], random);
}

static inline void *work(void *argument)
{
	uint64_t random = (uint64_t)(uintptr_t)argument;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		use_slots(&random, 100);
	return NULL;
}

static inline void *work_briefly(void *argument)
{
	uint64_t random = (uint64_t)(uintptr_t)argument;

	use_slots(&random, 50);
	return NULL;
}

/* A worker whose work is done by threads that come and go. */
static inline void *work_by_others(void *argument)
{
	uint64_t random = (uint64_t)(uintptr_t)argument;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		pthread_t thread;
		void *seed = (void *)(uintptr_t)random_next(&random);
		REQUIRE(pthread_create(&thread, NULL, work_briefly, seed) == 0);
		pthread_join(thread, NULL);
	}
	return NULL;
}

static inline void start_workers(size_t count)
{
	for (size_t i = 0; i < count; i++)
		REQUIRE(pthread_create(&workers[i], NULL, i == 0 ? work_by_others : work,
				       (void *)(uintptr_t)(i + 1)) == 0);
}

static inline void stop_workers(size_t count)
{
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (size_t i = 0; i < count; i++)
		pthread_join(workers[i], NULL);
}

static inline void *free_inherited(void *argument)
{
	size_t from = (size_t)(uintptr_t)argument;

	for (size_t i = from; i < SLOTS; i += 2) {
		int state = FULL;
		if (!__atomic_compare_exchange_n(&slots[i].state, &state, BUSY, false, __ATOMIC_ACQUIRE,
						 __ATOMIC_RELAXED))
			continue;
		check_block(&slots[i]);
		CALL(free)(slots[i].block);
		__atomic_store_n(&slots[i].state, EMPTY, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* What a child does: only this thread is left of its parent. */
static inline void live_as_a_child(uint64_t random)
{
	pthread_t thread;

	alarm(CHILD_SECONDS);
	for (size_t i = 0; i < SLOTS; i++)
		if (slots[i].state == BUSY)
			slots[i].state = EMPTY; /* the block is lost with the thread that held it */
	if (random_below(&random, 4) == 0)
		use_slots(&random, 50);
	free_inherited((void *)0);
	REQUIRE(pthread_create(&thread, NULL, free_inherited, (void *)1) == 0);
	use_slots(&random, 200);
	pthread_join(thread, NULL);
	if (random_below(&random, 16) == 0)
		CALL(malloc_trim)(0);
	use_slots(&random, 200);
}

#endif
