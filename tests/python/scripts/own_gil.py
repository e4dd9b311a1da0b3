# SPDX-License-Identifier: MIT
# pythons: 3.12
# Sub-interpreters with a GIL of their own run at the same time as the main one, each on its heap.
import threading

CODE = """
table = {}
for i in range(20000):
    table[i % 3000] = ("s%d" % i, [i] * (i % 12), bytes(i % 800))
for key, (text, items, data) in table.items():
    i = int(text[1:])
    assert i % 3000 == key and len(items) == i % 12 and len(data) == i % 800
large = [bytearray(200000) for _ in range(10)]
cycle = [table]
cycle.append(cycle)
"""

try:
    import _interpreters as interpreters

    def create():
        return interpreters.create("isolated")
except ImportError:
    import _xxsubinterpreters as interpreters

    def create():
        return interpreters.create(isolated=True)

failed = []


def run(identity, times):
    try:
        for _ in range(times):
            problem = interpreters.run_string(identity, CODE)
            assert problem is None, problem
    except BaseException as error:
        failed.append(repr(error))


for round in range(2):
    identities = [create() for _ in range(4)]
    threads = [threading.Thread(target=run, args=(identity, 2)) for identity in identities]
    for thread in threads:
        thread.start()
    exec(CODE, {})
    for thread in threads:
        thread.join()
    # Run again in other threads than before: a heap belongs to its interpreter.
    threads = [threading.Thread(target=run, args=(identity, 1)) for identity in identities]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for identity in identities:
        interpreters.destroy(identity)
    exec(CODE, {})
assert not failed, failed
print("done")
