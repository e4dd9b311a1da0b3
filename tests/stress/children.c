/* SPDX-License-Identifier: MIT */
/*
 * children.c: what children of a process with busy threads do besides allocating: fork again, make
 * threads, run another program, allocate where POSIX allows them nothing, or go on where a signal
 * handler forked in the midst of the allocator; and forks while threads end.
 */
#include "../lib/slots.h"

#include <sys/syscall.h>
#include <sys/time.h>

#define EXECUTED "CHILDREN_EXECUTED" /* environment: this is a program that a child has become */

static struct tap_option options[] = {
	{ "forks", 100, "children of each kind" },
	{ NULL, 0, NULL },
};

static uint64_t forks_wanted(void)
{
	return tap_value("forks");
}

/* A child of function(), the parent's end of it; number says which one it is. */
static void check_child(pid_t child, const char *what, uint64_t number)
{
	REQUIRE(child > 0, "%s: %s", what, strerror(errno));
	REQUIRE(tap_child_succeeded(child, what), "child %llu", (unsigned long long)number);
}

/* --- children that become another program --- */

static void become_another_program(void)
{
	char *arguments[] = { tap.argv[0], NULL };

	setenv(EXECUTED, "1", 1);
	execv("/proc/self/exe", arguments);
	_exit(TAP_ERROR);
}

static void *become_another_program_in_a_thread(void *argument)
{
	become_another_program();
	return argument;
}

static int live_as_another_program(void)
{
	uint64_t random = 1;

	alarm(CHILD_SECONDS);
	start_workers(2);
	use_slots(&random, 500);
	stop_workers(2);
	return tap_status();
}

/* With threads of its own, and a child of its own beside them, which does the same. */
static void fork_and_execute(int generations)
{
	pthread_t thread;

	live_as_a_child((uint64_t)generations);
	/* None that makes threads: the kernel refuses them while another thread executes. */
	for (size_t i = 0; i < 2; i++)
		REQUIRE(pthread_create(&workers[i], NULL, work, (void *)(i + 1)) == 0);
	pid_t child = generations == 0 ? 0 : fork();
	if (child == 0 && generations > 0)
		fork_and_execute(generations - 1);
	if (generations > 0)
		check_child(child, "grandchild", (uint64_t)generations);
	if (generations % 2 == 0)
		become_another_program();
	REQUIRE(pthread_create(&thread, NULL, become_another_program_in_a_thread, NULL) == 0);
	pthread_join(thread, NULL);
}

static void fork_thread_and_exec(void)
{
	start_workers(4);
	for (uint64_t i = 0; i < forks_wanted() / 4; i++) {
		pid_t child = fork();
		if (child == 0)
			fork_and_execute((int)(i % 3));
		check_child(child, "child", i);
	}
	stop_workers(4);
}

/* --- children that share their parent's memory, or have no handlers run --- */

static void *volatile made_by_a_child;

__attribute__((noinline, noreturn)) static void allocate_before_exec(void)
{
	uint64_t random = (uint64_t)getpid();

	CALL(free)(made_by_a_child);
	made_by_a_child = CALL(malloc)(random_below(&random, 300 * KIB));
	REQUIRE(made_by_a_child != NULL);
	use_slots(&random, 100);
	_exit(tap_status());
}

/* As programs do who make their arguments there: the memory is the parent's, and so are the blocks. */
static void allocate_after_vfork(void)
{
	start_workers(3);
	for (uint64_t i = 0; i < forks_wanted(); i++) {
		pid_t child = vfork();
		if (child == 0)
			allocate_before_exec();
		check_child(child, "vfork", i);
		CALL(free)(made_by_a_child);
		made_by_a_child = NULL;
	}
	stop_workers(3);
}

static pid_t raw_clone(void)
{
	return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

/* The heaps and locks of all others are as a fork in the midst of anything leaves them. */
static void allocate_without_handlers(void)
{
	tap_need_library();
	start_workers(4);
	for (uint64_t i = 0; i < forks_wanted(); i++) {
		pid_t child = i % 2 == 0 ? _Fork() : raw_clone();
		if (child == 0) {
			uint64_t random = i;
			alarm(CHILD_SECONDS);
			use_slots(&random, 300);
			free_inherited((void *)(uintptr_t)(i % 2));
			CALL(malloc_trim)(0);
			use_slots(&random, 300);
			_exit(tap_status());
		}
		check_child(child, i % 2 == 0 ? "_Fork" : "clone", i);
	}
	stop_workers(4);
}

/* --- a signal handler forks, and the child goes on where it was interrupted --- */

static volatile sig_atomic_t forks_made;
static volatile sig_atomic_t is_a_child;
static pid_t (*volatile fork_of_handler)(void);

static void fork_and_go_on(int number)
{
	int error = errno;
	int status = 1;
	pid_t child = fork_of_handler();

	if (child == 0) {
		is_a_child = 1;
		alarm(CHILD_SECONDS);
	} else {
		while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
		if (status != 0)
			_exit(TAP_ERROR);
		forks_made = forks_made + 1;
	}
	errno = error;
	(void)number;
}

static void go_on_as_a_child(uint64_t random)
{
	use_slots(&random, 200);
	free_inherited((void *)0);
	free_inherited((void *)1);
	CALL(malloc_trim)(0);
	use_slots(&random, 200);
	_exit(tap_status());
}

static void fork_in_handlers(pid_t (*function)(void), size_t threads)
{
	struct sigaction action;
	struct itimerval once = { { 0, 0 }, { 0, 700 } };
	sigset_t signals;
	uint64_t random = 3;

	tap_need_library();
	sigemptyset(&signals);
	sigaddset(&signals, SIGVTALRM);
	pthread_sigmask(SIG_BLOCK, &signals, NULL); /* in the workers */
	start_workers(threads);
	pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
	memset(&action, 0, sizeof(action));
	action.sa_handler = fork_and_go_on;
	action.sa_flags = SA_RESTART;
	fork_of_handler = function;
	REQUIRE(sigaction(SIGVTALRM, &action, NULL) == 0);
	/* One signal at a time: where a fork takes longer than an interval, no work would be done in between. */
	for (int seen = forks_made; seen < (int)forks_wanted(); seen++) {
		REQUIRE(setitimer(ITIMER_VIRTUAL, &once, NULL) == 0);
		while (forks_made == seen && !is_a_child)
			use_slots(&random, 20);
		if (is_a_child)
			go_on_as_a_child(random);
	}
	stop_workers(threads);
}

static void go_on_after_fork_in_a_handler(void)
{
	fork_in_handlers(fork, 0);
}

static void go_on_after_fork_in_a_handler_with_threads(void)
{
	fork_in_handlers(fork, 3);
}

static void go_on_after_Fork_in_a_handler(void)
{
	fork_in_handlers(_Fork, 0);
}

static void go_on_after_Fork_in_a_handler_with_threads(void)
{
	fork_in_handlers(_Fork, 3);
}

/* --- forks while threads end, and while the process ends --- */

static void fork_once(const char *what)
{
	pid_t child = fork();

	if (child == 0) {
		live_as_a_child(1);
		_exit(tap_status());
	}
	check_child(child, what, 0);
}

static pthread_key_t key;

/* Set again, it runs after the allocator's own destructor too. */
static void fork_in_a_destructor(void *rounds)
{
	uint64_t random = (uint64_t)(uintptr_t)rounds;

	use_slots(&random, 50);
	fork_once("child of a destructor");
	use_slots(&random, 50);
	if ((uintptr_t)rounds > 1)
		pthread_setspecific(key, (void *)((uintptr_t)rounds - 1));
}

static void *end_with_a_fork(void *argument)
{
	uint64_t random = 11;

	use_slots(&random, 50);
	pthread_setspecific(key, (void *)3);
	return argument;
}

static void fork_at_a_threads_end(void)
{
	REQUIRE(pthread_key_create(&key, fork_in_a_destructor) == 0);
	start_workers(2);
	for (uint64_t i = 0; i < forks_wanted() / 4; i += 2) {
		pthread_t threads[2];
		for (size_t j = 0; j < COUNT_OF(threads); j++)
			REQUIRE(pthread_create(&threads[j], NULL, end_with_a_fork, NULL) == 0);
		for (size_t j = 0; j < COUNT_OF(threads); j++)
			pthread_join(threads[j], NULL);
	}
	stop_workers(2);
}

static void fork_at_the_end(void)
{
	fork_once("child of the end");
}

static void fork_at_exit(void)
{
	for (uint64_t i = 0; i < forks_wanted() / 4; i++) {
		fflush(NULL);
		pid_t child = fork();
		if (child == 0) {
			live_as_a_child(i);
			start_workers(3);
			REQUIRE(atexit(fork_at_the_end) == 0);
			exit(tap_status());
		}
		check_child(child, "child", i);
	}
}

static void free_in_cleanup(void *block)
{
	CALL(free)(block);
}

static void allocate_and_test(size_t size)
{
	void *block = CALL(malloc)(size);

	pthread_cleanup_push(free_in_cleanup, block);
	pthread_testcancel();
	pthread_cleanup_pop(1);
}

static void *allocate_until_cancelled(void *argument)
{
	uint64_t random = (uint64_t)(uintptr_t)argument;

	for (;;)
		allocate_and_test(random_below(&random, 50000));
	return NULL;
}

static void *cancel_threads(void *argument)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		pthread_t thread;
		REQUIRE(pthread_create(&thread, NULL, allocate_until_cancelled, argument) == 0);
		pthread_cancel(thread);
		pthread_join(thread, NULL);
	}
	return NULL;
}

static void fork_while_threads_are_cancelled(void)
{
	for (size_t i = 0; i < 3; i++)
		REQUIRE(pthread_create(&workers[i], NULL, cancel_threads, (void *)(i + 1)) == 0);
	for (uint64_t i = 0; i < forks_wanted(); i++)
		fork_once("child");
	stop_workers(3);
}

/* --- forks under signals whose handlers call only what is safe there --- */

static void do_what_is_safe(int number)
{
	int error = errno;

	if (write(-1, "", 1) < 0 && getpid() > 0)
		errno = error;
	(void)number;
}

static void fork_under_signals(void)
{
	struct sigaction action;
	struct itimerval interval = { { 0, 300 }, { 0, 300 } };
	struct itimerval none = { { 0, 0 }, { 0, 0 } };

	memset(&action, 0, sizeof(action));
	action.sa_handler = do_what_is_safe;
	action.sa_flags = SA_RESTART;
	REQUIRE(sigaction(SIGALRM, &action, NULL) == 0);
	start_workers(3);
	REQUIRE(setitimer(ITIMER_REAL, &interval, NULL) == 0);
	for (uint64_t i = 0; i < forks_wanted(); i++) {
		pid_t child = fork();
		if (child == 0) {
			signal(SIGALRM, SIG_DFL); /* ends a child that hangs */
			live_as_a_child(i);
			_exit(tap_status());
		}
		check_child(child, "child", i);
	}
	setitimer(ITIMER_REAL, &none, NULL);
	stop_workers(3);
}

static const struct tap_point points[] = {
	{ "fork_thread_and_exec", fork_thread_and_exec },
	{ "allocate_after_vfork", allocate_after_vfork },
	{ "allocate_without_handlers", allocate_without_handlers },
	{ "go_on_after_fork_in_a_handler", go_on_after_fork_in_a_handler },
	{ "go_on_after_fork_in_a_handler_with_threads", go_on_after_fork_in_a_handler_with_threads },
	{ "go_on_after_Fork_in_a_handler", go_on_after_Fork_in_a_handler },
	{ "go_on_after_Fork_in_a_handler_with_threads", go_on_after_Fork_in_a_handler_with_threads },
	{ "fork_at_a_threads_end", fork_at_a_threads_end },
	{ "fork_at_exit", fork_at_exit },
	{ "fork_while_threads_are_cancelled", fork_while_threads_are_cancelled },
	{ "fork_under_signals", fork_under_signals },
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	tap.argv = argv;
	if (getenv(EXECUTED) != NULL)
		return live_as_another_program();
	return tap_main(argc, argv, points, options);
}
