/* SPDX-License-Identifier: MIT */
/* The record that readers from outside start from: it is whole, and what it points to is what it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "life.h"
#include "malloc.h"
#include "manager.h"
#include "record.h"
#include "reserve.h"
#include "sizeclass.h"

extern struct pa_record pyarena_record;

static const struct pa_record_field *field(const char *name)
{
	for (uint32_t i = 0; i < pyarena_record.field_count; i++)
		if (strcmp(pyarena_record.fields[i].name, name) == 0)
			return &pyarena_record.fields[i];
	fail_msg("no field %s", name);
	return NULL;
}

static uint64_t value(const void *structure, const char *name)
{
	const struct pa_record_field *it = field(name);
	uint64_t n = 0;

	memcpy(&n, (const char *)structure + it->offset, it->width);
	return n;
}

static void test_begins_as_readers_expect(void **state)
{
	(void)state;
	assert_memory_equal(pyarena_record.magic, "pyarena", 8);
	assert_int_equal(pyarena_record.version, PA_RECORD_VERSION);
	assert_int_equal(pyarena_record.bytes, sizeof pyarena_record);
	assert_string_equal(pyarena_record.library, PA_VERSION);
	assert_int_equal(offsetof(struct pa_record, fields) % 8, 0);
	assert_int_equal(sizeof(struct pa_record_field), 32);
}

static void test_names_are_whole_and_differ(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < pyarena_record.field_count; i++) {
		const struct pa_record_field *one = &pyarena_record.fields[i];
		assert_non_null(memchr(one->name, 0, sizeof one->name));
		assert_non_null(strchr(one->name, '.'));
		assert_true(one->width == 1 || one->width == 2 || one->width == 4 || one->width == 8);
		assert_ptr_equal(field(one->name), one);
	}
}

static void test_is_published_with_all_places(void **state)
{
	(void)state;
	pa_record_publish();
	assert_int_equal(pyarena_record.is_published, 1);
	assert_int_equal(pyarena_record.place_count, PA_PLACE_COUNT);
	for (unsigned i = 0; i < PA_PLACE_COUNT; i++)
		assert_non_null(pyarena_record.places[i]);
}

static void test_places_lead_to_the_counters(void **state)
{
	(void)state;
	struct pa_reserve *reserve = (void *)(uintptr_t)pyarena_record.places[PA_PLACE_RESERVE];
	const char *classes = pyarena_record.places[PA_PLACE_CLASSES];

	assert_ptr_equal(reserve, &pa_reserve);
	assert_int_equal(value(reserve, "reserve.limit_units"),
			 pa_load_relaxed(&pa_reserve.limit_units));
	for (uint32_t i = 0; i < pyarena_record.class_count; i++)
		assert_int_equal(value(classes + i * pyarena_record.class_bytes, "class.block_bytes"),
				 pa_classes[i].block_bytes);
	assert_int_equal(field("reserve.dirty_units")->kind, PA_FIELD_SIGNED);
	assert_int_equal(field("pool.slack")->kind, PA_FIELD_SIGNED);
}

static void test_places_lead_to_heaps_and_arenas(void **state)
{
	(void)state;
	void *block = pa_malloc(100);
	const struct pa_arena *arena = pa_arena_of(block);
	const uint64_t *list = *(const uint64_t *const *)pyarena_record.places[PA_PLACE_ARENAS];
	const void *heap = *(const void *const *)pyarena_record.places[PA_PLACE_HEAPS];
	bool has_arena = false;

	for (uint64_t i = 0; i < list[1]; i++)
		has_arena |= list[2 + i] == (uintptr_t)arena;
	assert_true(has_arena);
	assert_ptr_equal((const void *)value(arena, "arena.heap"), heap);
	assert_int_equal(value(heap, "heap.id"), 1);
	assert_int_equal(field("arena.touched")->kind, PA_FIELD_BITMAP);
	assert_int_equal(field("arena.touched")->count, PA_UNIT_WORDS);
	pa_free(block, "free");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_begins_as_readers_expect),
		cmocka_unit_test(test_names_are_whole_and_differ),
		cmocka_unit_test(test_is_published_with_all_places),
		cmocka_unit_test(test_places_lead_to_the_counters),
		cmocka_unit_test(test_places_lead_to_heaps_and_arenas),
	};

	pa_life_start((char *const[]){ NULL });
	return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
