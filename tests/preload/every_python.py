# SPDX-License-Identifier: MIT
# What every CPython does under the preload, 2.7 included: a bit of everything, printed.
import collections
import hashlib
import json
import re
import struct
import sys
import threading
import zlib


class Node(object):
    def __init__(self, value, children):
        self.value = value
        self.children = children


def tree(depth):
    return Node("n%d" % depth, [tree(depth - 1) for _ in range(3)] if depth else [])


def count(node):
    return 1 + sum(count(child) for child in node.children)


def work(results, number):
    table = {}
    for i in range(20000):
        table["key%d" % (i % 5000)] = (i, str(i), [i] * (i % 9))
    results[number] = sum(len(value[2]) for value in table.values())


print(count(tree(7)))
records = [{"id": i, "name": "x" * (i % 300), "tags": [i % 7, i / 2.0]} for i in range(3000)]
text = json.dumps(records, sort_keys=True)
assert json.loads(text) == records
print(len(text), hashlib.sha256(text.encode()).hexdigest())
packed = zlib.compress(text.encode() * 3, 6)
assert zlib.decompress(packed) == text.encode() * 3
print(len(re.findall(r"[x]{10,}", text)), len(re.sub("x+", "y", text)))
results = {}
threads = [threading.Thread(target=work, args=(results, n)) for n in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sorted(results.items()))
grown = bytearray()
for i in range(50000):
    grown += struct.pack("<I", i * 7919 & 0xffffffff)
print(len(grown), hashlib.md5(bytes(grown)).hexdigest())
queue = collections.deque(maxlen=1000)
for i in range(100000):
    queue.append((i, str(i)))
print(len(queue), queue[0])
del records[::2], text
print(sum(len(record["name"]) for record in records), 2 ** 5000 % 1000000007)
sys.stdout.flush()
