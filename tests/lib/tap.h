/* SPDX-License-Identifier: MIT */
/*
 * tap.h: test programs that print TAP.
 *
 * A program is a table of points.  Each point runs in a process of its own, with LD_PRELOAD set to
 * the library that $PYARENA_LIB names, so a crash or a hang fails one point, and the process that
 * reports it never loads the library.  PYARENA_LIB=none runs them on the C library's malloc, which
 * proves the tests themselves.  `PROGRAM --point NAME` runs one point in place, for a debugger.
 */
#ifndef TAP_H
#define TAP_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TAP_SKIP 77
#define TAP_ERROR 99
#define TAP_SECONDS 600 /* for a point: against hangs, on a machine however busy */
#define TAP_FAILURES_SHOWN 20
#define TAP_REASON_FD "TAP_REASON_FD"

struct tap_point {
	const char *name;
	void (*run)(void);
};

struct tap_option {
	const char *name; /* without the dashes; its argument is a number */
	uint64_t value;
	const char *help;
};

struct tap_state {
	int argc;
	char **argv;
	struct tap_option *options;
	int failures; /* [atomic] */
};

static struct tap_state tap;

/* Works in any process and thread: one write, no allocation. */
__attribute__((format(printf, 1, 2))) static inline void tap_note(const char *format, ...)
{
	char line[1024] = "# ";
	va_list arguments;

	va_start(arguments, format);
	int length = vsnprintf(line + 2, sizeof(line) - 3, format, arguments);
	va_end(arguments);
	size_t used = length < 0 ? 2 : (size_t)length + 2;
	if (used > sizeof(line) - 2)
		used = sizeof(line) - 2;
	line[used] = '\n';
	if (write(STDOUT_FILENO, line, used + 1) < 0)
		_exit(TAP_ERROR);
}

static inline int tap_status(void)
{
	return __atomic_load_n(&tap.failures, __ATOMIC_RELAXED) == 0 ? 0 : 1;
}

__attribute__((format(printf, 4, 5))) static inline void tap_failed(const char *file, int line,
								    const char *condition,
								    const char *format, ...)
{
	char text[512];
	va_list arguments;
	const char *slash = strrchr(file, '/');

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	tap_note("%s:%d: not so: %s%s%s", slash == NULL ? file : slash + 1, line, condition,
		 text[1] == '\0' ? "" : ":", text[1] == '\0' ? "" : text);
	if (__atomic_add_fetch(&tap.failures, 1, __ATOMIC_RELAXED) >= TAP_FAILURES_SHOWN)
		_exit(1);
}

/* The first goes on after a failure, the second ends the process. */
#define EXPECT(condition, ...) \
	do { \
		if (!(condition)) \
			tap_failed(__FILE__, __LINE__, #condition, " " __VA_ARGS__); \
	} while (0)
#define REQUIRE(condition, ...) \
	do { \
		if (!(condition)) { \
			tap_failed(__FILE__, __LINE__, #condition, " " __VA_ARGS__); \
			_exit(1); \
		} \
	} while (0)

/* Ends the point as skipped. */
__attribute__((noreturn)) static inline void tap_skip(const char *reason)
{
	const char *descriptor = getenv(TAP_REASON_FD);

	if (descriptor == NULL)
		tap_note("skipped: %s", reason);
	else if (write(atoi(descriptor), reason, strlen(reason)) < 0)
		_exit(TAP_ERROR);
	_exit(TAP_SKIP);
}

static inline bool tap_has_library(void)
{
	return dlsym(RTLD_DEFAULT, "pyarena_version") != NULL;
}

static inline void tap_need_library(void)
{
	if (!tap_has_library())
		tap_skip("holds for libpyarena only");
}

static inline uint64_t tap_value(const char *name)
{
	for (struct tap_option *option = tap.options; option != NULL && option->name != NULL; option++)
		if (strcmp(option->name, name) == 0)
			return option->value;
	tap_note("no option %s", name);
	_exit(TAP_ERROR);
}

__attribute__((noreturn)) static inline void tap_restart(void)
{
	fflush(NULL);
	execv("/proc/self/exe", tap.argv);
	tap_note("cannot run myself again: %s", strerror(errno));
	_exit(TAP_ERROR);
}

/* Go on in a fresh process that has this in its environment; returns at once where it has. */
static inline void tap_restart_with(const char *name, const char *value)
{
	const char *now = getenv(name);

	if (now != NULL && strcmp(now, value) == 0)
		return;
	if (setenv(name, value, 1) != 0)
		_exit(TAP_ERROR);
	tap_restart();
}

/* The path of a file that was built beside this program, in place: directory must hold PATH_MAX. */
static inline bool tap_built_file(char *path, size_t room, const char *name)
{
	static const char *const places[] = { "", ".libs/" };
	char self[4096];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (length < 0)
		return false;
	self[length] = '\0';
	*strrchr(self, '/') = '\0';
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		int written = snprintf(path, room, "%s/%s%s", self, places[i], name);
		if (written > 0 && (size_t)written < room && access(path, R_OK) == 0)
			return true;
	}
	return false;
}

/* Wait for a child; true if it exited with 0, else says what it did. */
static inline bool tap_child_succeeded(pid_t child, const char *what)
{
	int status = 0;

	while (waitpid(child, &status, 0) < 0) {
		if (errno != EINTR) {
			tap_note("%s: waitpid: %s", what, strerror(errno));
			return false;
		}
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	if (WIFSIGNALED(status))
		tap_note("%s: killed by signal %d", what, WTERMSIG(status));
	else
		tap_note("%s: exit status %d", what, WEXITSTATUS(status));
	return false;
}

static inline void tap_usage(const struct tap_point *points)
{
	printf("usage: %s [--point NAME] [--seconds N]", tap.argv[0]);
	for (struct tap_option *o = tap.options; o != NULL && o->name != NULL; o++)
		printf(" [--%s N]", o->name);
	printf("\n\nPYARENA_LIB names the library to preload, or is \"none\".\n"
	       "  --point NAME   run one point in this process\n"
	       "  --seconds N    a point may take so long (%d)\n",
	       TAP_SECONDS);
	for (struct tap_option *o = tap.options; o != NULL && o->name != NULL; o++)
		printf("  --%s N   %s (%llu)\n", o->name, o->help, (unsigned long long)o->value);
	printf("points:\n");
	for (; points->name != NULL; points++)
		printf("  %s\n", points->name);
}

/* Start a point: own process group, dies with its parent. */
static inline pid_t tap_start_point(const char *name, int reason)
{
	pid_t parent = getpid();
	pid_t child = fork();

	if (child != 0)
		return child;
	char descriptor[16];
	char option[] = "--point";
	const char *library = getenv("PYARENA_LIB");
	char **arguments = (char **)calloc((size_t)tap.argc + 3, sizeof(char *));
	sigset_t none;

	if (arguments == NULL)
		_exit(TAP_ERROR);
	for (int i = 0; i < tap.argc; i++)
		arguments[i] = tap.argv[i];
	arguments[tap.argc] = option;
	arguments[tap.argc + 1] = strdup(name);
	snprintf(descriptor, sizeof(descriptor), "%d", reason);
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(TAP_ERROR);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setenv(TAP_REASON_FD, descriptor, 1);
	if (strcmp(library, "none") != 0)
		setenv("LD_PRELOAD", library, 1);
	unsetenv("PYARENA_LIB"); /* the library would say that it is no option */
	execv("/proc/self/exe", arguments);
	_exit(TAP_ERROR);
}

/* Run a point and print its line.  Returns whether it is no failure. */
static inline bool tap_report_point(const char *name, int number, unsigned seconds)
{
	int reason[2];
	int status = 0;
	char why[256] = "";
	sigset_t ended;
	struct timespec limit = { .tv_sec = (time_t)seconds, .tv_nsec = 0 };

	if (pipe2(reason, O_NONBLOCK) != 0) {
		printf("Bail out! pipe: %s\n", strerror(errno));
		exit(TAP_ERROR);
	}
	sigemptyset(&ended);
	sigaddset(&ended, SIGCHLD);
	sigprocmask(SIG_BLOCK, &ended, NULL);
	pid_t child = tap_start_point(name, reason[1]);
	if (child < 0) {
		printf("Bail out! fork: %s\n", strerror(errno));
		exit(TAP_ERROR);
	}
	bool late = false;
	while (waitpid(child, &status, WNOHANG) == 0) {
		if (sigtimedwait(&ended, NULL, &limit) < 0 && errno == EAGAIN) {
			late = true;
			kill(-child, SIGKILL);
			waitpid(child, &status, 0);
			break;
		}
	}
	kill(-child, SIGKILL); /* what it left behind */
	if (read(reason[0], why, sizeof(why) - 1) < 0)
		why[0] = '\0';
	close(reason[0]);
	close(reason[1]);
	bool skipped = WIFEXITED(status) && WEXITSTATUS(status) == TAP_SKIP;
	bool passed = skipped || (!late && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	if (late)
		printf("# no end after %u s\n", seconds);
	else if (WIFSIGNALED(status))
		printf("# killed by signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
	if (!passed)
		printf("# again: LD_PRELOAD=%s %s --point %s\n", getenv("PYARENA_LIB"), tap.argv[0],
		       name);
	printf("%s %d - %s%s%s\n", passed ? "ok" : "not ok", number, name, skipped ? " # SKIP " : "",
	       skipped ? why : "");
	fflush(stdout);
	return passed;
}

static inline int tap_run_point(const struct tap_point *points, const char *name)
{
	for (; points->name != NULL; points++) {
		if (strcmp(points->name, name) != 0)
			continue;
		points->run();
		return tap_status();
	}
	fprintf(stderr, "no point %s\n", name);
	return TAP_ERROR;
}

/*
 * For a program whose points end it, one for each run: argv[1] names the point, or is --list.  Leaves no core
 * behind.  Returns the point's status, or ends with TAP_ERROR if it is none.
 */
static inline int tap_run_only(int argc, char **argv, const struct tap_point *points)
{
	struct rlimit none = { 0, 0 };

	setrlimit(RLIMIT_CORE, &none);
	if (argc < 2)
		exit(TAP_ERROR);
	if (strcmp(argv[1], "--list") != 0)
		return tap_run_point(points, argv[1]);
	for (; points->name != NULL; points++)
		puts(points->name);
	exit(0);
}

/* The whole of main(). */
static inline int tap_main(int argc, char **argv, const struct tap_point *points,
			   struct tap_option *options)
{
	const char *only = NULL;
	const char *library = getenv("PYARENA_LIB");
	uint64_t seconds = TAP_SECONDS;
	int count = 0;
	int failed = 0;

	tap.argc = argc;
	tap.argv = argv;
	tap.options = options;
	for (int i = 1; i < argc; i++) {
		struct tap_option *option = options;
		const char *name = strncmp(argv[i], "--", 2) == 0 ? argv[i] + 2 : "";
		if (strcmp(name, "help") == 0) {
			tap_usage(points);
			return 0;
		}
		while (option != NULL && option->name != NULL && strcmp(option->name, name) != 0)
			option++;
		bool known = option != NULL && option->name != NULL;
		if (i + 1 == argc ||
		    (!known && strcmp(name, "point") != 0 && strcmp(name, "seconds") != 0)) {
			fprintf(stderr, "%s: %s; see --help\n", argv[0],
				i + 1 == argc ? "an argument is missing" : "unknown option");
			return TAP_ERROR;
		}
		i++;
		if (known)
			option->value = strtoull(argv[i], NULL, 0);
		else if (strcmp(name, "point") == 0)
			only = argv[i];
		else
			seconds = strtoull(argv[i], NULL, 0);
	}
	if (only != NULL)
		return tap_run_point(points, only);
	if (library == NULL || (strcmp(library, "none") != 0 && access(library, R_OK) != 0)) {
		printf("Bail out! PYARENA_LIB is %s\n", library == NULL ? "not set" : "no such file");
		return TAP_ERROR;
	}
	while (points[count].name != NULL)
		count++;
	printf("1..%d\n", count);
	fflush(stdout);
	for (int i = 0; i < count; i++)
		failed += tap_report_point(points[i].name, i + 1, (unsigned)seconds) ? 0 : 1;
	return failed == 0 ? 0 : 1;
}

#endif
