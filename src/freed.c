/* SPDX-License-Identifier: MIT */
/*
 * freed.c: see freed.h.  Owns nothing; the caller guards the list.
 */
#include "freed.h"

#include <string.h>

static const struct pa_mapping none;

static char *end_of(const struct pa_freed_entry *entry)
{
	return entry->mapping.start + entry->mapping.bytes;
}

/* The first entry that does not lie before start. */
static unsigned find(const struct pa_freed *freed, const char *start)
{
	unsigned low = 0, high = freed->count;

	while (low < high) {
		unsigned middle = (low + high) / 2;
		if (freed->entries[middle].mapping.start < start)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void remove_at(struct pa_freed *freed, unsigned i)
{
	freed->count--;
	memmove(&freed->entries[i], &freed->entries[i + 1],
		(freed->count - i) * sizeof freed->entries[0]);
}

/* Take bytes from the front of an entry. */
static struct pa_mapping take_front(struct pa_freed *freed, unsigned i, size_t bytes)
{
	struct pa_freed_entry *entry = &freed->entries[i];
	struct pa_mapping taken = { entry->mapping.start, bytes };

	entry->mapping.start += bytes;
	entry->mapping.bytes -= bytes;
	freed->bytes -= bytes;
	if (entry->mapping.bytes == 0)
		remove_at(freed, i);
	return taken;
}

static struct pa_mapping take_back(struct pa_freed *freed, unsigned i, size_t bytes)
{
	struct pa_freed_entry *entry = &freed->entries[i];

	entry->mapping.bytes -= bytes;
	freed->bytes -= bytes;
	struct pa_mapping taken = { end_of(entry), bytes };
	if (entry->mapping.bytes == 0)
		remove_at(freed, i);
	return taken;
}

/* Signed differences: the clock may go round. */
static unsigned oldest(const struct pa_freed *freed)
{
	unsigned found = 0;

	for (unsigned i = 1; i < freed->count; i++)
		if ((int32_t)(freed->entries[i].stamp - freed->entries[found].stamp) < 0)
			found = i;
	return found;
}

struct pa_mapping pa_freed_put(struct pa_freed *freed, struct pa_mapping mapping)
{
	unsigned i = find(freed, mapping.start);
	struct pa_freed_entry *next = i < freed->count ? &freed->entries[i] : NULL;
	struct pa_freed_entry *previous = i > 0 ? &freed->entries[i - 1] : NULL;
	bool joins_next = next && mapping.start + mapping.bytes == next->mapping.start;
	struct pa_mapping evicted = none;

	if (previous && end_of(previous) == mapping.start) {
		previous->mapping.bytes += mapping.bytes;
		previous->stamp = ++freed->clock;
		freed->bytes += mapping.bytes;
		if (joins_next) {
			previous->mapping.bytes += next->mapping.bytes;
			remove_at(freed, i);
		}
		return none;
	}
	freed->bytes += mapping.bytes;
	if (joins_next) {
		next->mapping.start = mapping.start;
		next->mapping.bytes += mapping.bytes;
		next->stamp = ++freed->clock;
		return none;
	}
	if (freed->count == PA_FREED_MAX) {
		evicted = pa_freed_take_oldest(freed, SIZE_MAX);
		i = find(freed, mapping.start);
	}
	memmove(&freed->entries[i + 1], &freed->entries[i],
		(freed->count - i) * sizeof freed->entries[0]);
	freed->entries[i] = (struct pa_freed_entry){ mapping, ++freed->clock };
	freed->count++;
	return evicted;
}

struct pa_mapping pa_freed_take(struct pa_freed *freed, size_t bytes)
{
	unsigned best = freed->count;

	for (unsigned i = 0; i < freed->count; i++) {
		size_t have = freed->entries[i].mapping.bytes;
		if (have >= bytes &&
		    (best == freed->count || have < freed->entries[best].mapping.bytes))
			best = i;
	}
	return best == freed->count ? none : take_front(freed, best, bytes);
}

struct pa_mapping pa_freed_take_at(struct pa_freed *freed, const char *start, size_t bytes)
{
	unsigned i = find(freed, start);

	if (i == freed->count || freed->entries[i].mapping.start != start ||
	    freed->entries[i].mapping.bytes < bytes)
		return none;
	return take_front(freed, i, bytes);
}

struct pa_mapping pa_freed_take_largest(struct pa_freed *freed, size_t at_least)
{
	unsigned best = 0;

	for (unsigned i = 1; i < freed->count; i++)
		if (freed->entries[i].mapping.bytes > freed->entries[best].mapping.bytes)
			best = i;
	if (freed->count == 0 || freed->entries[best].mapping.bytes < at_least)
		return none;
	return take_front(freed, best, freed->entries[best].mapping.bytes);
}

struct pa_mapping pa_freed_take_oldest(struct pa_freed *freed, size_t at_most)
{
	if (freed->count == 0)
		return none;
	unsigned i = oldest(freed);
	return take_back(freed, i, pa_min(freed->entries[i].mapping.bytes, at_most));
}
