/* SPDX-License-Identifier: MIT */
/*
 * forks.c: every way to make a process while other threads allocate.  What a child does besides is in
 * children.c.
 */
#include "../lib/slots.h"

#include <spawn.h>
#include <sys/syscall.h>
#include <sys/time.h>

static struct tap_option options[] = {
	{ "forks", 600, "children while eight threads allocate; other points make fewer" },
	{ NULL, 0, NULL },
};

extern char **environ;

static void end_child(uint64_t number)
{
	if (number % 4 == 0)
		exit(tap_status());
	_exit(tap_status());
}

static void fork_often(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		pid_t child = fork();
		if (child == 0) {
			live_as_a_child(i);
			end_child(i);
		}
		REQUIRE(child > 0, "fork: %s", strerror(errno));
		REQUIRE(tap_child_succeeded(child, "child"), "child %llu", (unsigned long long)i);
	}
}

static void with_eight_threads(void)
{
	double begin = seconds_now();

	start_workers(WORKERS);
	fork_often(tap_value("forks"));
	stop_workers(WORKERS);
	tap_note("%llu children in %.1f s", (unsigned long long)tap_value("forks"),
		 seconds_now() - begin);
}

static void *fork_often_in_a_thread(void *count)
{
	fork_often((uint64_t)(uintptr_t)count);
	return NULL;
}

/* Three threads fork at the same time, none of them the main thread. */
static void from_other_threads(void)
{
	pthread_t forkers[3];
	uint64_t count = tap_value("forks") / 20 + 1;

	start_workers(3);
	for (size_t i = 0; i < COUNT_OF(forkers); i++)
		REQUIRE(pthread_create(&forkers[i], NULL, fork_often_in_a_thread,
				       (void *)(uintptr_t)count) == 0);
	for (size_t i = 0; i < COUNT_OF(forkers); i++)
		pthread_join(forkers[i], NULL);
	stop_workers(3);
}

/* Child, grandchild and great-grandchild, each with threads that allocate. */
static void fork_generations(int generations)
{
	if (generations == 0)
		return;
	start_workers(2);
	for (int i = 0; i < 3; i++) {
		pid_t child = fork();
		if (child == 0) {
			live_as_a_child((uint64_t)(generations * 10 + i));
			fork_generations(generations - 1);
			end_child((uint64_t)i);
		}
		REQUIRE(child > 0 && tap_child_succeeded(child, "child"), "generation %d from the last",
			generations);
	}
	stop_workers(2);
	__atomic_store_n(&stop, false, __ATOMIC_RELAXED);
}

static void generations(void)
{
	for (uint64_t i = 0; i <= tap_value("forks") / 1000; i++)
		fork_generations(3);
}

/* Programs started without a copy of this process. */
static void vfork_and_spawn(void)
{
	char program[] = "true";
	char *arguments[] = { program, NULL };

	start_workers(4);
	for (uint64_t i = 0; i < tap_value("forks") / 20; i++) {
		pid_t child = vfork();
		if (child == 0) {
			execvp(program, arguments);
			_exit(1);
		}
		REQUIRE(child > 0 && tap_child_succeeded(child, "vfork"));
		REQUIRE(posix_spawnp(&child, program, NULL, NULL, arguments, environ) == 0);
		REQUIRE(tap_child_succeeded(child, "posix_spawn"));
		if (i % 4 == 0)
			REQUIRE(system("true") == 0);
	}
	stop_workers(4);
}

static pid_t raw_clone(void)
{
	return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

/* No handlers run.  The child may call nothing but _exit, the parent goes on as if nothing was. */
static void without_handlers(void)
{
	start_workers(4);
	for (uint64_t i = 0; i < tap_value("forks") / 4; i++) {
		pid_t child = i % 2 == 0 ? _Fork() : raw_clone();
		if (child == 0)
			_exit(0);
		REQUIRE(child > 0 && tap_child_succeeded(child, i % 2 == 0 ? "_Fork" : "clone"));
	}
	stop_workers(4);
	fork_often(3);
}

/* With one thread nothing is held at that moment, and the child may allocate. */
static void without_handlers_and_threads(void)
{
	uint64_t random = 1;

	for (uint64_t i = 0; i < tap_value("forks") / 20; i++) {
		use_slots(&random, 500);
		pid_t child = i % 2 == 0 ? _Fork() : raw_clone();
		if (child == 0) {
			alarm(CHILD_SECONDS);
			free_inherited((void *)0);
			use_slots(&random, 500);
			free_inherited((void *)1);
			_exit(tap_status());
		}
		REQUIRE(child > 0 && tap_child_succeeded(child, i % 2 == 0 ? "_Fork" : "clone"));
	}
}

static int own_handlers_run;

static void allocate_in_a_handler(void)
{
	static void *kept;

	CALL(free)(kept);
	kept = CALL(malloc)((size_t)(own_handlers_run++ % 7) * 70000 + 10);
	REQUIRE(kept != NULL);
}

static void with_handlers_that_allocate(void)
{
	REQUIRE(pthread_atfork(allocate_in_a_handler, allocate_in_a_handler, allocate_in_a_handler) ==
		0);
	start_workers(4);
	fork_often(tap_value("forks") / 10);
	stop_workers(4);
	EXPECT(own_handlers_run == (int)(tap_value("forks") / 10) * 2, "%d", own_handlers_run);
}

/* Another library's handlers, which allocate too, registered before ours or after. */
static void with_plugin(bool first)
{
	char plugin[4096];
	char preload[8300];
	int (*handlers_run)(void);
	const char *library = getenv("LD_PRELOAD");
	void *symbol = dlsym(RTLD_DEFAULT, "plugin_handlers_run");

	if (symbol == NULL) {
		REQUIRE(tap_built_file(plugin, sizeof(plugin), "plugin.so"), "no plugin.so");
		if (library == NULL)
			snprintf(preload, sizeof(preload), "%s", plugin);
		else
			snprintf(preload, sizeof(preload), "%s:%s", first ? plugin : library,
				 first ? library : plugin);
		setenv("PLUGIN_FORK_HANDLERS", "1", 1);
		tap_restart_with("LD_PRELOAD", preload);
	}
	memcpy(&handlers_run, &symbol, sizeof(symbol));
	start_workers(4);
	fork_often(tap_value("forks") / 20);
	stop_workers(4);
	EXPECT(handlers_run() == (int)(tap_value("forks") / 20) * 2, "%d", handlers_run());
}

static void with_a_library_before_ours(void)
{
	with_plugin(true);
}

static void with_a_library_after_ours(void)
{
	with_plugin(false);
}

static FILE *stream;

/* Allocates while it holds a stream's lock, for which the next function waits with a lock on the
 * list of all streams, for which fork waits in turn, after it has run the handlers. */
static void *hold_a_stream(void *argument)
{
	uint64_t random = 7;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		flockfile(stream);
		use_slots(&random, 20);
		CALL(free)(CALL(malloc)(2 * MIB));
		funlockfile(stream);
	}
	return argument;
}

static void *flush_all_streams(void *argument)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		fflush(NULL);
	return argument;
}

static void *open_and_close_streams(void *argument)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		FILE *other = fopen("/dev/null", "w");
		REQUIRE(other != NULL);
		fprintf(other, "%d\n", 42);
		fclose(other);
	}
	return argument;
}

static void with_stdio_locks_held(void)
{
	static void *(*const bodies[])(void *) = { hold_a_stream, flush_all_streams,
						   open_and_close_streams, work, hold_a_stream };

	stream = fopen("/dev/null", "w");
	REQUIRE(stream != NULL);
	for (size_t i = 0; i < COUNT_OF(bodies); i++)
		REQUIRE(pthread_create(&workers[i], NULL, bodies[i], (void *)(uintptr_t)(i + 1)) == 0);
	for (uint64_t i = 0; i < tap_value("forks") / 20; i++) {
		pid_t child = fork();
		if (child == 0) {
			alarm(CHILD_SECONDS);
			free_inherited((void *)0);
			FILE *other = fopen("/dev/null", "w");
			REQUIRE(other != NULL);
			fprintf(other, "%d\n", 42);
			fclose(other);
			_exit(tap_status());
		}
		REQUIRE(child > 0 && tap_child_succeeded(child, "child"));
	}
	stop_workers(COUNT_OF(bodies));
	fclose(stream);
}

static volatile sig_atomic_t signals;
static pid_t (*volatile fork_of_handler)(void);

static void fork_on_signal(int number)
{
	int error = errno;
	int status = 1;
	pid_t child = fork_of_handler();

	if (child == 0)
		_exit(0);
	if (child > 0)
		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
	if (status != 0)
		_exit(TAP_ERROR);
	signals = signals + 1;
	errno = error;
	(void)number;
}

/* The handler interrupts this thread wherever it is in the allocator. */
static void fork_in_handlers(pid_t (*function)(void), int times)
{
	struct sigaction action;
	struct itimerval once = { { 0, 0 }, { 0, 700 } };
	uint64_t random = 3;

	memset(&action, 0, sizeof(action));
	action.sa_handler = fork_on_signal;
	action.sa_flags = SA_RESTART;
	fork_of_handler = function;
	REQUIRE(sigaction(SIGALRM, &action, NULL) == 0);
	/* One signal at a time: where a fork takes longer than an interval, no work would be done in between. */
	for (int seen = signals; seen < times; seen++) {
		REQUIRE(setitimer(ITIMER_REAL, &once, NULL) == 0);
		while (signals == seen)
			use_slots(&random, 100);
	}
}

static void fork_in_a_signal_handler(void)
{
	fork_in_handlers(fork, (int)(tap_value("forks") / 4));
}

static void _Fork_in_a_signal_handler_with_threads(void)
{
	sigset_t alarms;

	sigemptyset(&alarms);
	sigaddset(&alarms, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &alarms, NULL);
	start_workers(3);
	pthread_sigmask(SIG_UNBLOCK, &alarms, NULL);
	fork_in_handlers(_Fork, (int)(tap_value("forks") / 4));
	stop_workers(3);
}

static const struct tap_point points[] = {
	{ "with_eight_threads", with_eight_threads },
	{ "from_other_threads", from_other_threads },
	{ "generations", generations },
	{ "vfork_and_spawn", vfork_and_spawn },
	{ "without_handlers", without_handlers },
	{ "without_handlers_and_threads", without_handlers_and_threads },
	{ "with_handlers_that_allocate", with_handlers_that_allocate },
	{ "with_a_library_before_ours", with_a_library_before_ours },
	{ "with_a_library_after_ours", with_a_library_after_ours },
	{ "with_stdio_locks_held", with_stdio_locks_held },
	{ "fork_in_a_signal_handler", fork_in_a_signal_handler },
	{ "_Fork_in_a_signal_handler_with_threads", _Fork_in_a_signal_handler_with_threads },
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, points, options);
}
