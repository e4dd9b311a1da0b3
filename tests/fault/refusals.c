/* SPDX-License-Identifier: MIT */
/*
 * refusals.c: a seccomp filter refuses system calls that an allocator can do without, from the start
 * or from some moment on, as container runtimes and sandboxes do.  Everything goes on to work: what
 * cannot be given back stays, and what is not cleared by the kernel is cleared all the same.
 */
#include "../lib/blocks.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/syscall.h>

#define FILTERED "TAP_FILTERED" /* environment: the filter is there already */

#if defined(__x86_64__)
#define THIS_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define THIS_ARCH AUDIT_ARCH_AARCH64
#else
#define THIS_ARCH 0
#endif

static void refuse(const long *calls, size_t count, int error)
{
	struct sock_filter program[32];
	unsigned short length = 0;

	if (THIS_ARCH == 0)
		tap_skip("the test does not know this architecture's system calls");
	REQUIRE(count <= 10);
	program[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
							 offsetof(struct seccomp_data, arch));
	program[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, THIS_ARCH, 1, 0);
	program[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	program[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
							 offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < count; i++) {
		program[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
								 (uint32_t)calls[i], 0, 1);
		program[length++] = (struct sock_filter)BPF_STMT(
			BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ((uint32_t)error & SECCOMP_RET_DATA));
	}
	program[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog filter = { .len = length, .filter = program };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
		tap_skip("this kernel has no seccomp filters");
}

/* The same for this process from its first instruction. */
static void refuse_from_start(const long *calls, size_t count, int error)
{
	if (getenv(FILTERED) != NULL)
		return;
	refuse(calls, count, error);
	tap_restart_with(FILTERED, "1");
}

static void *blocks[60000];

/* A peak, a few survivors, and zeroes where it has been. */
static void rise_fall_and_calloc(size_t size)
{
	size_t count = 12 * MIB / size < COUNT_OF(blocks) ? 12 * MIB / size : COUNT_OF(blocks);

	for (size_t i = 0; i < count; i++) {
		blocks[i] = CALL(malloc)(size);
		REQUIRE(blocks[i] != NULL);
		memset(blocks[i], 0xff, size);
		fill(blocks[i], 16, i);
	}
	for (size_t i = 0; i < count; i++) {
		EXPECT(is_intact(blocks[i], 16, i), "block %zu of %zu bytes", i, size);
		if (i % 64 != 0)
			CALL(free)(blocks[i]);
	}
	CALL(malloc_trim)(0);
	for (size_t i = 0; i < count; i++) {
		if (i % 64 == 0)
			continue;
		blocks[i] = CALL(calloc)(size, 1);
		REQUIRE(blocks[i] != NULL);
		EXPECT(is_zero(blocks[i], size), "calloc of %zu bytes", size);
	}
	for (size_t i = 0; i < count; i++) {
		EXPECT(i % 64 != 0 || is_intact(blocks[i], 16, i), "survivor %zu of %zu bytes", i,
		       size);
		CALL(free)(blocks[i]);
	}
}

/* Two blocks that grow and shrink through all sizes side by side. */
static void grow_and_shrink(void)
{
	void *growing[2] = { NULL, NULL };
	size_t size = 8;

	for (; size < 24 * MIB; size = size * 5 / 4 + 8)
		for (size_t i = 0; i < 2; i++) {
			size_t next = size * 5 / 4 + 8;
			if (growing[i] == NULL)
				growing[i] = CALL(malloc)(size);
			else
				EXPECT(is_intact(growing[i], size, i), "%zu bytes", size);
			growing[i] = CALL(realloc)(growing[i], next);
			REQUIRE(growing[i] != NULL);
			EXPECT(size == 8 || is_intact(growing[i], size, i), "%zu to %zu bytes", size,
			       next);
			fill(growing[i], next, i);
		}
	while (size > 64) {
		size_t next = size / 3;
		for (size_t i = 0; i < 2; i++) {
			growing[i] = CALL(realloc)(growing[i], next);
			REQUIRE(growing[i] != NULL);
			EXPECT(find_damage(growing[i], 0, next / 8 * 8, i) == next / 8 * 8,
			       "%zu to %zu bytes", size, next);
			fill(growing[i], next, i);
		}
		size = next;
	}
	CALL(free)(growing[0]);
	CALL(free)(growing[1]);
}

static void *work_in_a_thread(void *argument)
{
	void *own[600];

	for (size_t i = 0; i < COUNT_OF(own); i++) {
		own[i] = CALL(calloc)(1, i * i);
		REQUIRE(own[i] != NULL && is_zero(own[i], i * i));
		memset(own[i], 0xff, i * i);
	}
	for (size_t i = 0; i < COUNT_OF(own); i++)
		CALL(free)(own[i]);
	return argument;
}

static void work_in_threads(void)
{
	pthread_t threads[3];

	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < COUNT_OF(threads); i++)
			REQUIRE(pthread_create(&threads[i], NULL, work_in_a_thread, NULL) == 0);
		for (size_t i = 0; i < COUNT_OF(threads); i++)
			pthread_join(threads[i], NULL);
	}
}

static void work(void)
{
	static const size_t sizes[] = { 40, 700, 5000, 33000, 150000, 4000000 };

	for (int round = 0; round < 2; round++) {
		for (size_t s = 0; s < COUNT_OF(sizes); s++)
			rise_fall_and_calloc(sizes[s]);
		grow_and_shrink();
	}
	CALL(free)(CALL(memalign)(8 * MIB, 3 * MIB));
	/* Cycles take no more address space, whatever is refused. */
	size_t mapped = mapped_now();
	for (int round = 0; round < 4; round++)
		for (size_t s = 0; s < COUNT_OF(sizes); s += 2)
			rise_fall_and_calloc(sizes[s]);
	EXPECT(mapped_now() < mapped + 80 * MIB, "mapped %zu MiB, then %zu MiB", mapped / MIB,
	       mapped_now() / MIB);
}

static void work_with_threads_and_children(void)
{
	work();
	work_in_threads();
	pid_t child = fork();
	if (child == 0) {
		alarm(100);
		rise_fall_and_calloc(700);
		grow_and_shrink();
		work_in_threads();
		_exit(tap_status());
	}
	REQUIRE(child > 0 && tap_child_succeeded(child, "child"));
}

static const long purging[] = { SYS_madvise };
static const long batched_purging[] = { SYS_process_madvise };
static const long moving[] = { SYS_mremap };
static const long all_three[] = { SYS_madvise, SYS_process_madvise, SYS_mremap };
static const long threads_and_processes[] = { SYS_clone, SYS_clone3 };
static const long naming[] = { SYS_prctl, SYS_membarrier, SYS_openat, SYS_pidfd_open };

static void madvise_ENOSYS(void)
{
	rise_fall_and_calloc(700);
	refuse(purging, COUNT_OF(purging), ENOSYS);
	work_with_threads_and_children();
}

static void madvise_EPERM_from_start(void)
{
	refuse_from_start(purging, COUNT_OF(purging), EPERM);
	work_with_threads_and_children();
}

static void process_madvise_ENOSYS(void)
{
	rise_fall_and_calloc(700);
	refuse(batched_purging, COUNT_OF(batched_purging), ENOSYS);
	work_with_threads_and_children();
}

static void process_madvise_EPERM_from_start(void)
{
	refuse_from_start(batched_purging, COUNT_OF(batched_purging), EPERM);
	work_with_threads_and_children();
}

static void mremap_ENOSYS(void)
{
	refuse(moving, COUNT_OF(moving), ENOSYS);
	work_with_threads_and_children();
}

static void mremap_ENOMEM_from_start(void)
{
	refuse_from_start(moving, COUNT_OF(moving), ENOMEM);
	work_with_threads_and_children();
}

static void all_three_EPERM(void)
{
	rise_fall_and_calloc(5000);
	refuse(all_three, COUNT_OF(all_three), EPERM);
	work_with_threads_and_children();
}

static void all_three_ENOSYS_from_start(void)
{
	refuse_from_start(all_three, COUNT_OF(all_three), ENOSYS);
	work_with_threads_and_children();
}

static void all_three_EINVAL_when_all_is_given_back(void)
{
	tap_need_library();
	tap_restart_with("PYARENA_KEEP_FREE", "0");
	refuse(all_three, COUNT_OF(all_three), EINVAL);
	work_with_threads_and_children();
}

/* No thread can be made, for whatever purpose, and then the process is idle. */
static void clone_EPERM(void)
{
	rise_fall_and_calloc(700);
	refuse(threads_and_processes, COUNT_OF(threads_and_processes), EPERM);
	work();
	sleep_ms(1500);
	work();
}

static void prctl_and_files_EPERM(void)
{
	mapped_now(); /* opens the file that tells it */
	refuse(naming, COUNT_OF(naming), EPERM);
	work();
}

static const struct tap_point points[] = {
	{ "madvise_ENOSYS", madvise_ENOSYS },
	{ "madvise_EPERM_from_start", madvise_EPERM_from_start },
	{ "process_madvise_ENOSYS", process_madvise_ENOSYS },
	{ "process_madvise_EPERM_from_start", process_madvise_EPERM_from_start },
	{ "mremap_ENOSYS", mremap_ENOSYS },
	{ "mremap_ENOMEM_from_start", mremap_ENOMEM_from_start },
	{ "all_three_EPERM", all_three_EPERM },
	{ "all_three_ENOSYS_from_start", all_three_ENOSYS_from_start },
	{ "all_three_EINVAL_when_all_is_given_back", all_three_EINVAL_when_all_is_given_back },
	{ "clone_EPERM", clone_EPERM },
	{ "prctl_and_files_EPERM", prctl_and_files_EPERM },
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, points, NULL);
}
