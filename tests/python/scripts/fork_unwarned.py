# SPDX-License-Identifier: MIT
# pythons: 3.12
# A process without threads of its own forks while the library watches for it to become idle: CPython
# 3.12 and later count the threads that are there, and would warn of the one that watches.  A child is
# born with one thread, is watched as soon as it has something to give back, and forks unwarned as well.
import os
import time
import warnings

# To ask for errors would not do: fork clears them.
warned = []
warnings.simplefilter("always")
warnings.showwarning = lambda message, *_: warned.append(message)
# What is kept is told by the user: then there is nothing to watch for.
WATCHED = 1 if "PYARENA_KEEP_FREE" in os.environ else 2
# Hardened, every call takes the slow path, of which the child's first may begin to watch.
BORN = 2 if "PYARENA_HARDEN" in os.environ else 1


def threads():
    return len(os.listdir("/proc/self/task"))


def swing():
    """Go up and down until the thread that watches is there: it takes a habit to be allowed a reserve."""
    for _ in range(20000):
        items = [bytes(2000) for _ in range(3000)]
        del items
        if threads() == WATCHED:
            return
    raise AssertionError(f"{threads()} threads after all swings, not {WATCHED}")


def fork_after(pause, job):
    for _ in range(3):  # a fork waits a tenth of a second for the thread's end: too short, on a very busy machine
        del warned[:]
        swing()
        time.sleep(pause)
        pid = os.fork()
        if pid == 0:
            job()
            os._exit(0)
        assert os.waitpid(pid, 0) == (pid, 0), f"the child failed that was forked after {pause} s"
        if not warned:
            return
    raise AssertionError(warned)


def be_born():
    assert threads() <= BORN, f"a child begins with {threads()} threads"


def settle():
    """Wait without a call of the allocator: the thread ends by itself."""
    for _ in range(5):  # usually once
        time.sleep(2)
        if threads() == 1:
            return
    raise AssertionError(f"{threads()} threads in an idle process")


def fork_again():
    be_born()
    fork_after(0, be_born)
    swing()
    settle()


# The thread looks twice a second and ends when there was nothing in between: meet it doing so.
for pause in (0, 0.1, 0.49, 0.5, 0.51, 1):
    fork_after(pause, be_born)
fork_after(0, fork_again)
swing()
settle()
print("done")
