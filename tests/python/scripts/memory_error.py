# SPDX-License-Identifier: MIT
# pythons: few
# RLIMIT_AS is lowered: allocations of each kind end in MemoryError, what was there stays intact, and
# when room is made the process goes on as if nothing had been.
import resource
import subprocess
import sys
import threading


def lower(more):
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + more, resource.RLIM_INFINITY))


def exhaust(make):
    kept, spare = [], [bytearray(1 << 20)]
    try:
        for i in range(10 ** 8):
            kept.append(make(i))
    except MemoryError:
        del spare[:]
        if not kept:
            raise
        first, last, count = kept[0], kept[-1], len(kept)
        del kept[:]
        return first, last, count
    raise AssertionError("no MemoryError")


# CPython before 3.8 ends a thread by pthread_exit, for which the first one loads libgcc_s: there is
# to be room for that, whichever thread holds all there is.
first_thread = threading.Thread(target=int)
first_thread.start()
first_thread.join()

survivors = [[i, str(i)] for i in range(20000)]
lower(80 << 20)
for round in range(2):
    assert exhaust(lambda i: bytes(5 << 20))[2] >= 4
    assert exhaust(lambda i: bytearray(100000))[2] >= 200
    assert exhaust(lambda i: b"%d" % i * 200)[2] > 10000
    first, last, count = exhaust(lambda i: [i])
    assert first == [0] and last == [count - 1] and count > 100000
    try:
        list(range(10 ** 9))
    except MemoryError:
        pass
    try:
        "x" * (1 << 40)
    except MemoryError:
        pass
    grown = bytearray(b"start")
    try:
        while True:
            grown += bytes(len(grown))
    except MemoryError:
        assert grown[:5] == b"start" and len(grown) > 1 << 20
    del grown
    assert all(row == [i, str(i)] for i, row in enumerate(survivors))
    assert len({i: str(i) for i in range(50000)}) == 50000

failed = []
all_begun = threading.Event()


def in_thread():
    all_begun.wait()  # while one of them holds all the room there is, no other can be begun
    try:
        exhaust(lambda i: bytes(300000))
    except MemoryError:
        pass  # the other threads left no room for one block
    except BaseException as error:
        failed.append(error)


threading.stack_size(256 * 1024)
threads = []
for _ in range(3):
    thread = threading.Thread(target=in_thread)
    thread.start()
    threads.append(thread)
all_begun.set()
for thread in threads:
    thread.join()
assert not failed, failed
assert all(row == [i, str(i)] for i, row in enumerate(survivors))
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert len(bytes(200 << 20)) == 200 << 20

# As the shell's "ulimit -v 400000" sets it, before the program begins.
limit = 400000 * 1024
code = ("import json, threading\n"
        "t = [threading.Thread(target=lambda: [str(i) for i in range(9999)]) for _ in range(4)]\n"
        "[x.start() for x in t]; [x.join() for x in t]\n"
        "rows = [{'i': i} for i in range(200000)]\n"
        "print(len(json.dumps(rows)))")
result = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True,
                        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
assert int(result.stdout) > 2000000
print("done")
