/* SPDX-License-Identifier: MIT */
/*
 * capture.h: what a piece of code writes to standard error, for comparison to the letter, and how a
 * process that runs it ends.  Assert only after the capture: cmocka leaves a failed test by a jump.
 */
#ifndef CAPTURE_H
#define CAPTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define CAPTURE_SECONDS 60

struct capture {
	int file;
	int standard_error; /* the true one */
	char text[8192];
};

_Noreturn static inline void capture_fail(const char *call)
{
	perror(call);
	exit(99);
}

static inline void capture_begin(struct capture *capture)
{
	capture->file = memfd_create("capture", MFD_CLOEXEC);
	if (capture->file < 0)
		capture_fail("memfd_create");
	capture->standard_error = dup(STDERR_FILENO);
	if (capture->standard_error < 0 || dup2(capture->file, STDERR_FILENO) < 0)
		capture_fail("dup");
}

static inline const char *capture_end(struct capture *capture)
{
	ssize_t n = pread(capture->file, capture->text, sizeof capture->text - 1, 0);

	if (n < 0 || dup2(capture->standard_error, STDERR_FILENO) < 0)
		capture_fail("pread");
	capture->text[n] = '\0';
	char *emulator =
		strstr(capture->text, "qemu: uncaught target signal"); /* of a line of its own */
	if (emulator)
		*emulator = '\0';
	close(capture->file);
	close(capture->standard_error);
	return capture->text;
}

/* Run body in a child; its wait status.  A child that returns exits with 0, one that hangs is killed. */
static inline int capture_child(void (*body)(void), struct capture *capture)
{
	int status;

	fflush(NULL);
	capture_begin(capture);
	pid_t child = fork();
	if (child == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
		alarm(CAPTURE_SECONDS);
		body();
		_exit(0);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		capture_fail("fork");
	capture_end(capture);
	return status;
}

#endif
