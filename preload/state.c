/* SPDX-License-Identifier: MIT */
/*
 * state.c: see state.h.  Owns nothing.  Knows the shapes that gcc, clang and the linker give to the function
 * when they optimise: all else is unknown, which is slower and no worse.  And the shape of a GIL, without which an
 * idle process keeps more.
 */
#include "state.h"

#include <string.h>

/* As far as 3.12 and 3.13 have it. */
struct gil {
	unsigned long interval;
	const void *last_holder;
	int locked;
};

#define GIL_LEADS_IN 1024      /* bytes of the interpreter, with a pointer to its GIL, */
#define GIL_WITHIN (16 * 1024) /* which is further on in it: it is several times as large */

uintptr_t pa_state_find_gil(const void *interpreter, const void *state)
{
	uintptr_t start = (uintptr_t)interpreter, found = 0;
	const uintptr_t *words = interpreter;

	for (unsigned i = 0; i < GIL_LEADS_IN / sizeof *words; i++) {
		if (words[i] % sizeof *words != 0 || words[i] - start > GIL_WITHIN - sizeof(struct gil))
			continue;
		const struct gil *gil = (const struct gil *)words[i];
		if (gil->last_holder != state || gil->locked != 1)
			continue;
		if (found && found != (uintptr_t)&gil->locked)
			return 0;
		found = (uintptr_t)&gil->locked;
	}
	return found;
}

#ifdef __x86_64__

struct code {
	const unsigned char *at;
};

/* Go on behind these bytes; false if others are there. */
static bool skip(struct code *code, const char *bytes, size_t count)
{
	if (memcmp(code->at, bytes, count) != 0)
		return false;
	code->at += count;
	return true;
}

#define SKIP(code, bytes) skip(code, bytes, sizeof bytes - 1)

static intptr_t take_displacement(struct code *code)
{
	int32_t displacement;

	memcpy(&displacement, code->at, sizeof displacement);
	code->at += sizeof displacement;
	return displacement;
}

/* Relative to the next instruction. */
static uintptr_t take_address(struct code *code)
{
	intptr_t displacement = take_displacement(code);

	return (uintptr_t)code->at + (uintptr_t)displacement;
}

static bool is_end(struct code *code)
{
	SKIP(code, "\x48\x83\xc4\x08"); /* add $8, %rsp */
	SKIP(code, "\x5d");             /* pop %rbp */
	return SKIP(code, "\xc3");      /* ret */
}

static uintptr_t pointer_at(uintptr_t address)
{
	return *(const uintptr_t *)address;
}

/* How a shared object finds its thread-local variables, see the ELF specification for them. */
struct tls_index {
	unsigned long module, offset;
};
extern void *__tls_get_addr(struct tls_index *index);

/* An offset that is the same in all threads: the object was there when the program began. */
static uintptr_t offset_of(uintptr_t index)
{
	return (uintptr_t)__tls_get_addr((struct tls_index *)index) - pa_thread_identity();
}

static struct pa_state_place unknown(void)
{
	return (struct pa_state_place){ PA_STATE_UNKNOWN, 0 };
}

static struct pa_state_place variable(uintptr_t address)
{
	return (struct pa_state_place){ PA_STATE_VARIABLE, address };
}

static struct pa_state_place of_thread(uintptr_t offset)
{
	return (struct pa_state_place){ PA_STATE_OF_THREAD, offset };
}

/* Behind a mov from an address: what is there is the state, or leads to it. */
static struct pa_state_place find_at(struct code *code, uintptr_t address)
{
	if (SKIP(code, "\x48\x8b\x80")) /* mov displacement(%rax), %rax */
		return variable(pointer_at(address) + (uintptr_t)take_displacement(code));
	if (SKIP(code, "\x64\x48\x8b\x00")) /* mov %fs:(%rax), %rax */
		return of_thread(pointer_at(address));
	return variable(address);
}

/* Behind a mov from %fs:displacement: the state; or, made so by the linker, the thread's own address. */
static struct pa_state_place find_in_thread(struct code *code, uintptr_t displacement)
{
	uintptr_t offset;

	if (displacement != 0)
		return of_thread(displacement);
	if (SKIP(code, "\x48\x8d\x80")) /* lea displacement(%rax), %rax */
		offset = (uintptr_t)take_displacement(code);
	else if (SKIP(code, "\x48\x03\x05")) /* add address, %rax */
		offset = pointer_at(take_address(code));
	else
		return unknown();
	return SKIP(code, "\x48\x8b\x00") ? of_thread(offset) : unknown(); /* mov (%rax), %rax */
}

/* Behind the lea of a thread-local variable's index. */
static struct pa_state_place find_by_index(struct code *code, uintptr_t index)
{
	if (!SKIP(code, "\x66\x66\x48\xe8") && !SKIP(code, "\x66\x48\xff\x15"))
		return unknown();
	take_displacement(code); /* call __tls_get_addr */
	return SKIP(code, "\x48\x8b\x00") ? of_thread(offset_of(index)) : unknown();
}

static struct pa_state_place find(struct code *code)
{
	SKIP(code, "\xf3\x0f\x1e\xfa"); /* endbr64 */
	SKIP(code, "\x55\x48\x89\xe5"); /* push %rbp; mov %rsp, %rbp */
	SKIP(code, "\x48\x83\xec\x08"); /* sub $8, %rsp */
	if (SKIP(code, "\x48\x8b\x05")) /* mov address, %rax */
		return find_at(code, take_address(code));
	if (SKIP(code, "\x48\x8d\x05")) { /* lea address, %rax */
		uintptr_t address = take_address(code);
		return SKIP(code, "\x48\x8b\x80")
			       ? variable(address + (uintptr_t)take_displacement(code))
			       : unknown();
	}
	if (SKIP(code, "\x48\xc7\xc0")) { /* mov $offset, %rax */
		uintptr_t offset = (uintptr_t)take_displacement(code);
		return SKIP(code, "\x64\x48\x8b\x00") ? of_thread(offset) : unknown();
	}
	if (SKIP(code, "\x64\x48\x8b\x04\x25")) /* mov %fs:displacement, %rax */
		return find_in_thread(code, (uintptr_t)take_displacement(code));
	if (SKIP(code, "\x66\x48\x8d\x3d")) /* lea index, %rdi */
		return find_by_index(code, take_address(code));
	return unknown();
}

struct pa_state_place pa_state_find(const void *accessor)
{
	struct code code = { accessor };
	struct pa_state_place place = find(&code);

	return is_end(&code) ? place : unknown();
}

#else

struct pa_state_place pa_state_find(const void *accessor)
{
	(void)accessor;
	return (struct pa_state_place){ PA_STATE_UNKNOWN, 0 };
}

#endif
