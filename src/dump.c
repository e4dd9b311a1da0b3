/* SPDX-License-Identifier: MIT */
/*
 * dump.c: see dump.h.  Follows the places of the record as a reader outside does, under the locks that
 * keep what they lead to where it is.  Owns no state.
 */
#include "dump.h"

#include "heap.h"
#include "large.h"
#include "lock.h"
#include "manager.h"
#include "os.h"
#include "record.h"
#include "reserve.h"

#define COMMAND_BYTES 512

static void put(const struct pa_report_sink *to, const void *address, const void *start, size_t bytes)
{
	struct pa_dump_piece piece = { .address = (uintptr_t)address, .bytes = bytes };

	to->write(to->context, (const char *)&piece, sizeof piece);
	to->write(to->context, start, bytes);
}

static void put_memory(const struct pa_report_sink *to, const void *start, size_t bytes)
{
	put(to, start, start, bytes);
}

static void put_word(const struct pa_report_sink *to, enum pa_record_place place)
{
	put_memory(to, pyarena_record.places[place], sizeof(uint64_t));
}

/*
 * A pointer at a place, and the table that it leads to: so many words, of which one tells the number of
 * entries behind them, of so many words each.
 */
static void put_table(const struct pa_report_sink *to, enum pa_record_place place, size_t head_words,
		      size_t entry_words)
{
	const uint64_t *table = *(const uint64_t *const *)pyarena_record.places[place];

	put_word(to, place);
	if (table)
		put_memory(to, table,
			   (head_words + table[head_words - 1] * entry_words) * sizeof(uint64_t));
}

static void put_arena(void *context, struct pa_arena *arena)
{
	put_memory(context, arena, PA_UNIT_BYTES);
}

static void put_command(const struct pa_report_sink *to)
{
	char command[COMMAND_BYTES];
	size_t bytes = pa_os_read_file("/proc/self/cmdline", command, sizeof command);

	if (bytes > 0)
		put(to, NULL, command, bytes);
}

void pa_dump_write(int process_id, const struct pa_report_sink *to)
{
	struct pa_dump_head head = {
		.magic = PA_DUMP_MAGIC,
		.form = PA_DUMP_FORM,
		.process_id = (uint64_t)process_id,
		.record = (uintptr_t)&pyarena_record,
	};

	to->write(to->context, (const char *)&head, sizeof head);
	put_command(to);
	put_memory(to, &pyarena_record, sizeof pyarena_record);
	put_memory(to, pyarena_record.fields,
		   pyarena_record.field_count * sizeof *pyarena_record.fields);
	put_memory(to, pyarena_record.places[PA_PLACE_RESERVE], sizeof pa_reserve);
	put_memory(to, pa_classes, (PA_CLASSES + 1) * sizeof *pa_classes);

	pa_lock(PA_LOCK_LIFE);
	put_word(to, PA_PLACE_HEAPS);
	put_word(to, PA_PLACE_ADOPTIONS);
	for (struct pa_heap *heap = pa_heap_first_locked(); heap; heap = heap->next)
		put_memory(to, heap, sizeof *heap);
	pa_lock(PA_LOCK_MANAGER);
	put_memory(to, pyarena_record.places[PA_PLACE_MANAGER], sizeof(struct pa_manager_counts));
	put_table(to, PA_PLACE_ARENAS, 2, 1);
	pa_manager_visit_locked(put_arena, (void *)to);
	pa_lock(PA_LOCK_LARGE);
	put_word(to, PA_PLACE_LARGE_COUNT);
	put_word(to, PA_PLACE_LARGE_BYTES);
	put_word(to, PA_PLACE_LARGE_CACHED);
	put_table(to, PA_PLACE_LARGE_TABLE, 1, 2);
	pa_unlock(PA_LOCK_LARGE);
	pa_unlock(PA_LOCK_MANAGER);
	pa_unlock(PA_LOCK_LIFE);
	put(to, NULL, NULL, 0);
}
