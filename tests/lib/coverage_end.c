/* SPDX-License-Identifier: MIT */
/*
 * coverage_end.c: for scripts/coverage, which links it into programs that have the engine in them: what
 * ran is counted also where a process ends by _exit or abort, as children of tests do.
 */
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

void __gcov_dump(void);

void _exit(int status)
{
	__gcov_dump();
	for (;;)
		syscall(SYS_exit_group, status);
}

void abort(void)
{
	static volatile sig_atomic_t is_dumped;

	if (!is_dumped) {
		is_dumped = 1;
		__gcov_dump();
	}
	raise(SIGABRT);
	signal(SIGABRT, SIG_DFL);
	raise(SIGABRT);
	for (;;)
		;
}
