# SPDX-License-Identifier: MIT
# pythons: every
# The garbage collector: cycles, weak references, finalizers that bring objects back, generations.
import gc
import sys
import weakref


class Node(object):
    __slots__ = ("links", "value", "__weakref__")

    def __init__(self, value):
        self.value = value
        self.links = []


class Phoenix(object):
    alive = []

    def __init__(self, data):
        self.data = data
        self.itself = self

    def __del__(self):
        Phoenix.alive.append(self)


for round in range(3):
    nodes = [Node("n%d" % i) for i in range(20000)]
    for i, node in enumerate(nodes):
        node.links += [nodes[i * 7 % 20000], nodes[i * 13 % 20000], node]
    watched = [weakref.ref(node) for node in nodes[::100]]
    kept = nodes[::1000]
    for node in kept:
        del node.links[:]
    del node, nodes
    gc.collect()
    assert sum(reference() is not None for reference in watched) == len(kept)
    assert [node.value for node in kept] == ["n%d" % i for i in range(0, 20000, 1000)]

for i in range(1000):
    Phoenix("p%d" % i)
gc.collect()
assert sorted(phoenix.data for phoenix in Phoenix.alive) == sorted("p%d" % i for i in range(1000))
assert all(phoenix.itself is phoenix for phoenix in Phoenix.alive)
del Phoenix.alive[:]

calls = []
gc.callbacks.append(lambda phase, info: calls.append(phase))
gc.set_threshold(50, 2, 2)
table = {}
for i in range(20000):
    cycle = [str(i)]
    cycle.append(cycle)
    table[i % 97] = cycle
del gc.callbacks[:]
assert calls and calls.count("start") == calls.count("stop")
assert all(row[1] is row and int(row[0]) % 97 == key for key, row in table.items())
gc.freeze()
gc.collect()
gc.unfreeze()
gc.disable()
values = weakref.WeakValueDictionary((i, Node(i)) for i in range(1000))
assert len(values) == 0
order = []
objects = [Node(i) for i in range(500)]
for node in objects:
    weakref.finalize(node, order.append, node.value)
del objects, node
assert sorted(order) == list(range(500))
assert len(gc.get_objects()) > 1000 and sys.getrefcount(table) >= 2
print("done")
