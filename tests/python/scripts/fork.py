# SPDX-License-Identifier: MIT
# pythons: few
# Forks while four threads allocate; children allocate, start threads, fork again, and end well.
import os
import sys
import threading
import warnings

warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 on: forking with threads
stop = False


def churn(number):
    kept = []
    while not stop:
        kept.append([{"n": i, "text": "x" * (i * 7 % 700)} for i in range(50)])
        if len(kept) > 40:
            del kept[::2]
        for row in kept:
            assert row[number]["n"] == number


def build(n):
    table = {i: (str(i), [i] * (i % 20), bytes(i % 3000)) for i in range(n)}
    return sum(len(text) + len(items) + len(data) for text, items, data in table.values())


EXPECTED = build(2000)


def child(depth):
    """What a forked child does; the exit status tells how deep it came."""
    global stop
    assert build(2000) == EXPECTED
    found = []
    threads = [threading.Thread(target=lambda: found.append(build(2000))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [EXPECTED] * 3
    if depth > 0:
        grandchild = os.fork()
        if grandchild == 0:
            child(depth - 1)
        ended, status = os.waitpid(grandchild, 0)
        assert status == 7 << 8, status
    os._exit(7)


threads = [threading.Thread(target=churn, args=(n,)) for n in range(4)]
for thread in threads:
    thread.start()
for number in range(16):
    pid = os.fork()
    if pid == 0:
        try:
            child(number % 4)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0) == (pid, 7 << 8)
stop = True
for thread in threads:
    thread.join()

# A chain: each process frees what its parent made, forks once more and waits.
inherited = [[i, str(i)] for i in range(5000)]
level = 0
while level < 12:
    pid = os.fork()
    if pid:
        status = os.waitpid(pid, 0)[1]
        if level == 0:
            assert status == 0, status
            break
        os._exit(1 if status else 0)
    level += 1
    assert inherited[level] == [level, str(level)]
    del inherited[::2]
    inherited += [[i, str(i)] for i in range(2000)]
    inherited[:15] = [[i, str(i)] for i in range(15)]
if level:
    os._exit(0)

# Forks inside threads, several at a time; the child is the thread that forked.
failed = []


def forker():
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            os._exit(0 if build(500) else 1)
        if os.waitpid(pid, 0)[1] != 0:
            failed.append(pid)


threads = [threading.Thread(target=forker) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failed
sys.stdout.write("done\n")
