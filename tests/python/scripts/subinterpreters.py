# SPDX-License-Identifier: MIT
# pythons: every
# Sub-interpreters that share the GIL: made, run, filled, left with live objects, and taken down.
import sys
import threading

try:
    import _interpreters as interpreters
except ImportError:
    try:
        import _xxsubinterpreters as interpreters
    except ImportError:
        interpreters = None

CODE = """
import json, re, collections
table = {i: ("s%d" % i, [i] * (i % 10)) for i in range(3000)}
assert len(json.loads(json.dumps(table))) == 3000
cycle = []
cycle.append(cycle)
class Node:
    def __del__(self):
        self.gone = [1, 2, 3]
node = Node()
node.self = node
assert sum(len(v[1]) for v in table.values()) == 13500
"""


def create():
    if interpreters.__name__ == "_interpreters":
        return interpreters.create("legacy")
    if sys.version_info >= (3, 9):
        return interpreters.create(isolated=False)
    return interpreters.create()


def run(identity):
    assert interpreters.run_string(identity, CODE) is None


def whole_life():
    identity = create()
    run(identity)
    run(identity)
    interpreters.destroy(identity)


if interpreters is None:
    try:
        from _testcapi import run_in_subinterp
    except ImportError:
        print("this CPython has no module for sub-interpreters", file=sys.stderr)
        sys.exit(77)
    for _ in range(10):
        assert run_in_subinterp(CODE) == 0
else:
    for _ in range(5):
        whole_life()
    several = [create() for _ in range(5)]
    for identity in several:
        run(identity)
    before = [str(i) for i in range(20000)]
    for identity in several[::2]:
        interpreters.destroy(identity)
    after = [str(i) for i in range(20000)]
    assert before == after
    # Each runs in a thread of its own; the threads take turns under one GIL.
    sys.setswitchinterval(1e-5)
    threads = [threading.Thread(target=run, args=(identity,)) for identity in several[1::2]]
    threads += [threading.Thread(target=whole_life) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for identity in several[1::2]:
        interpreters.destroy(identity)
print("done")
