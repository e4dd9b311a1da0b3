/* SPDX-License-Identifier: MIT */
/*
 * state.c on code of each shape that it knows, written here as compilers write it, and on code that is
 * nearly so: what is not known for certain is unknown.
 */
#include "state.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct gil {
	unsigned long interval;
	const void *last_holder;
	int locked;
};

/* As an interpreter looks to who searches it: words, one of which leads to the GIL further on. */
static struct {
	uintptr_t words[200];
	struct gil gil, other;
	char rest[17 * 1024];
	struct gil beyond;
} interpreter;

static void test_the_gil_is_found_by_who_holds_it(void **unused)
{
	const char state = 's', other_state = 'o';
	(void)unused;

	memset(&interpreter, 0, sizeof interpreter);
	interpreter.words[3] = 1;
	interpreter.words[4] = (uintptr_t)&state;
	interpreter.words[5] = (uintptr_t)&interpreter;
	interpreter.words[6] = UINTPTR_MAX;
	interpreter.gil.last_holder = &state;
	interpreter.gil.locked = 1;
	assert_int_equal(pa_state_find_gil(&interpreter, &state), 0);
	interpreter.words[100] = (uintptr_t)&interpreter.gil;
	assert_ptr_equal(pa_state_find_gil(&interpreter, &state), &interpreter.gil.locked);
	assert_false(pa_state_is_gil_free((uintptr_t)&interpreter.gil.locked));
	/* Another's, or nobody's. */
	assert_int_equal(pa_state_find_gil(&interpreter, &other_state), 0);
	interpreter.gil.locked = 0;
	assert_int_equal(pa_state_find_gil(&interpreter, &state), 0);
	assert_true(pa_state_is_gil_free((uintptr_t)&interpreter.gil.locked));
	interpreter.gil.locked = -1; /* CPython's: there is none yet */
	assert_int_equal(pa_state_find_gil(&interpreter, &state), 0);
	assert_false(pa_state_is_gil_free((uintptr_t)&interpreter.gil.locked));
	/* Two that look so are none; one, found twice, is one. */
	interpreter.gil.locked = 1;
	interpreter.words[20] = (uintptr_t)&interpreter.gil;
	assert_ptr_equal(pa_state_find_gil(&interpreter, &state), &interpreter.gil.locked);
	interpreter.other = interpreter.gil;
	interpreter.words[99] = (uintptr_t)&interpreter.other;
	assert_int_equal(pa_state_find_gil(&interpreter, &state), 0);
	/* Too far on in it, or elsewhere; or what leads there is. */
	static struct gil elsewhere;
	elsewhere = interpreter.beyond = interpreter.gil;
	interpreter.words[99] = (uintptr_t)&elsewhere;
	interpreter.words[98] = (uintptr_t)&interpreter.beyond;
	assert_ptr_equal(pa_state_find_gil(&interpreter, &state), &interpreter.gil.locked);
	interpreter.words[20] = interpreter.words[100] = 0;
	interpreter.words[128] = (uintptr_t)&interpreter.gil;
	assert_int_equal(pa_state_find_gil(&interpreter, &state), 0);
	interpreter.words[127] = (uintptr_t)&interpreter.gil;
	assert_ptr_equal(pa_state_find_gil(&interpreter, &state), &interpreter.gil.locked);
}

#ifdef __x86_64__

const void *variable = "of the process";
struct {
	char before[0x240];
	const void *field;
} runtime = { .field = "of the runtime" };
__thread const void *of_thread = "of the thread";

#define FUNCTION(name, body) \
	__asm__(".text\n.globl " #name "\n" #name ":\n" body "\n"); \
	extern const char name[];

#define RUNTIME "movq runtime@GOTPCREL(%rip), %rax\n.byte 0x48, 0x8b, 0x80\n.long 0x240\n"
#define OF_THREAD \
	".byte 0x66\nleaq of_thread@TLSGD(%rip), %rdi\n" \
	".byte 0x66, 0x66\nrex64 call __tls_get_addr@PLT\nmovq (%rax), %rax\n"

FUNCTION(plain, "movq variable(%rip), %rax\nret")
FUNCTION(with_landing, "endbr64\nmovq variable(%rip), %rax\nret")
FUNCTION(with_frame, "pushq %rbp\nmovq %rsp, %rbp\nmovq variable(%rip), %rax\npopq %rbp\nret")
FUNCTION(of_runtime, RUNTIME "ret")
FUNCTION(initial_exec, "movq of_thread@GOTTPOFF(%rip), %rax\nmovq %fs:(%rax), %rax\nret")
FUNCTION(general_dynamic, "subq $8, %rsp\n" OF_THREAD "addq $8, %rsp\nret")
FUNCTION(general_dynamic_framed, "pushq %rbp\nmovq %rsp, %rbp\n" OF_THREAD "popq %rbp\nret")

FUNCTION(goes_on, "movq variable(%rip), %rax\naddq $8, %rax\nret")
FUNCTION(goes_on_behind_runtime, RUNTIME "movq (%rax), %rax\nret")
FUNCTION(other_register, "movq variable(%rip), %rdx\nmovq %rdx, %rax\nret")
FUNCTION(jumps, "jmp *variable(%rip)")
FUNCTION(address_alone, "leaq variable(%rip), %rax\nret")
FUNCTION(no_call, ".byte 0x66\nleaq variable(%rip), %rdi\nmovq (%rdi), %rax\nret")

static const void *read_place(struct pa_state_place place)
{
	return place.kind == PA_STATE_OF_THREAD ? pa_state_of_thread(place.where)
						: pa_state_of_process(place.where);
}

static const struct known {
	const char *code;
	int kind;
	const void *const *value;
} known[] = {
	{ plain, PA_STATE_VARIABLE, &variable },
	{ with_landing, PA_STATE_VARIABLE, &variable },
	{ with_frame, PA_STATE_VARIABLE, &variable },
	{ of_runtime, PA_STATE_VARIABLE, &runtime.field },
	{ initial_exec, PA_STATE_OF_THREAD, NULL },
	{ general_dynamic, PA_STATE_OF_THREAD, NULL },
	{ general_dynamic_framed, PA_STATE_OF_THREAD, NULL },
};

static void test_known_shapes(void **state)
{
	(void)state;

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		struct pa_state_place place = pa_state_find(known[i].code);
		assert_int_equal(place.kind, known[i].kind);
		assert_ptr_equal(read_place(place), known[i].value ? *known[i].value : of_thread);
	}
}

static void *read_own(void *expected)
{
	of_thread = expected;
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		struct pa_state_place place = pa_state_find(known[i].code);
		if (place.kind == PA_STATE_OF_THREAD && read_place(place) != expected)
			return "another's";
	}
	return NULL;
}

static void test_each_thread_has_its_own(void **state)
{
	pthread_t thread;
	void *problem;
	char own;
	(void)state;

	assert_int_equal(pthread_create(&thread, NULL, read_own, &own), 0);
	assert_int_equal(pthread_join(thread, &problem), 0);
	assert_null(problem);
	assert_string_equal(of_thread, "of the thread");
}

static void test_other_shapes(void **state)
{
	const char *const other[] = { goes_on, goes_on_behind_runtime, other_register,
				      jumps,   address_alone,          no_call };
	(void)state;

	for (size_t i = 0; i < sizeof other / sizeof other[0]; i++)
		assert_int_equal(pa_state_find(other[i]).kind, PA_STATE_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_shapes),
		cmocka_unit_test(test_each_thread_has_its_own),
		cmocka_unit_test(test_other_shapes),
		cmocka_unit_test(test_the_gil_is_found_by_who_holds_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

static void test_other_architectures(void **state)
{
	(void)state;
	assert_int_equal(pa_state_find("anything").kind, PA_STATE_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_other_architectures),
		cmocka_unit_test(test_the_gil_is_found_by_who_holds_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
