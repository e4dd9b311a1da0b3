/* SPDX-License-Identifier: MIT */
/*
 * A C program that loads the C++ library later and privately, as an interpreter does with extension
 * modules: operator new finds the new handler and std::bad_alloc all the same.
 */
#include "../lib/blocks.h"

#define TERMINATED 42

typedef void (*handler)(void);

static void *(*operator_new)(size_t);
static void *(*operator_new_nothrow)(size_t, const void *);
static handler (*set_new_handler)(handler);
static handler (*set_terminate)(handler);
static const void *nothrow;
static int handler_calls;
static volatile size_t too_much = PTRDIFF_MAX - 100000;

static void *symbol_of(void *library, const char *name)
{
	void *symbol = dlsym(library, name);

	REQUIRE(symbol != NULL, "%s", dlerror());
	return symbol;
}

static void set(void *function, void *symbol)
{
	memcpy(function, &symbol, sizeof(symbol));
}

static void load(void)
{
	CALL(free)(CALL(malloc)(100));
	void *library = dlopen("libstdc++.so.6", RTLD_NOW | RTLD_LOCAL);
	if (library == NULL)
		tap_skip("there is no libstdc++.so.6");
	/* What a C++ module would be bound to: ours, if it is preloaded. */
	void *scope = tap_has_library() ? RTLD_DEFAULT : library;
	set(&operator_new, symbol_of(scope, "_Znwm"));
	set(&operator_new_nothrow, symbol_of(scope, "_ZnwmRKSt9nothrow_t"));
	set(&set_new_handler, symbol_of(library, "_ZSt15set_new_handlerPFvvE"));
	set(&set_terminate, symbol_of(library, "_ZSt13set_terminatePFvvE"));
	nothrow = symbol_of(library, "_ZSt7nothrow");
}

static void note_termination(void)
{
	_exit(TERMINATED);
}

static void count_call(void)
{
	if (++handler_calls == 3)
		set_new_handler(NULL);
}

/* Nobody catches the exception here, so it ends in the terminate handler. */
static void exhaustion_throws(void)
{
	load();
	pid_t child = fork();
	if (child == 0) {
		set_terminate(note_termination);
		operator_new(too_much);
		_exit(1);
	}
	int status = 0;
	REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == TERMINATED, "wait status %#x", status);
}

static void new_handler_is_called(void)
{
	load();
	pid_t child = fork();
	if (child == 0) {
		set_new_handler(count_call);
		EXPECT(operator_new_nothrow(too_much, nothrow) == NULL);
		EXPECT(handler_calls == 3, "nothrow: %d calls", handler_calls);
		handler_calls = 1;
		set_new_handler(count_call);
		set_terminate(note_termination);
		if (tap_status() == 0)
			operator_new(too_much);
		_exit(1);
	}
	int status = 0;
	REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == TERMINATED, "wait status %#x", status);
}

static const struct tap_point points[] = {
	{ "exhaustion_throws", exhaustion_throws },
	{ "new_handler_is_called", new_handler_is_called },
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, points, NULL);
}
