# SPDX-License-Identifier: MIT
# pythons: every
# The GIL changes hands as often as it can while threads allocate, pass objects on and free them.
import queue
import sys
import threading

sys.setswitchinterval(1e-6)


def churn(number):
    kept = {}
    for i in range(6000):
        kept[i % 500] = (number, i, "t%d-%d" % (number, i), [i] * (i % 30))
        if i % 3 == 0:
            other = kept.get(i * 7 % 500)
            if other:
                assert other[0] == number and other[2] == "t%d-%d" % (number, other[1])
                assert len(other[3]) == other[1] % 30


def produce(target, number):
    for i in range(3000):
        target.put((number, i, bytes([i % 256]) * (i % 1500), {"i": i}))
    target.put(None)


def consume(source, results):
    total, ended = 0, 0
    while ended < 4:
        item = source.get()
        if item is None:
            ended += 1
            continue
        number, i, data, record = item
        assert len(data) == i % 1500 and record["i"] == i
        assert data == bytes([i % 256]) * len(data)
        total += i
    results.append(total)


source, results = queue.Queue(maxsize=200), []
threads = [threading.Thread(target=churn, args=(n,)) for n in range(6)]
threads += [threading.Thread(target=produce, args=(source, n)) for n in range(4)]
threads += [threading.Thread(target=consume, args=(source, results))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert results == [4 * sum(range(3000))]

# Objects outlive the threads that made them, and are freed by another.
made = []
for round in range(200):
    thread = threading.Thread(target=lambda: made.append([str(i) * 5 for i in range(200)]))
    thread.start()
    thread.join()
    if round % 2:
        made.pop(0)
assert all(row == [str(i) * 5 for i in range(200)] for row in made)

# Small stacks, locals of threads, and exceptions in threads.
threading.stack_size(256 * 1024)
local = threading.local()
seen = []


def with_local(n):
    local.data = [bytes(n)] * 3
    try:
        raise ValueError("x" * n)
    except ValueError as error:
        seen.append(len(error.args[0]) + len(local.data[0]))


threads = [threading.Thread(target=with_local, args=(n,)) for n in range(100)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert sorted(seen) == [2 * n for n in range(100)]
print("done")
