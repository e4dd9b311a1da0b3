# SPDX-License-Identifier: MIT
# pythons: every
# The C modules of the standard library that keep memory of their own: each does a piece of work.
import bz2
import csv
import ctypes
import datetime
import decimal
import functools
import hashlib
import heapq
import io
import itertools
import json
import lzma
import mmap
import random
import re
import select
import sqlite3
import socket
import struct
import tempfile
import time
import unicodedata
import xml.etree.ElementTree
import zlib

text = "".join("%d line of text %d\n" % (i, i * i) for i in range(8000))
data = text.encode()
assert zlib.decompress(zlib.compress(data)) == data
assert bz2.decompress(bz2.compress(data)) == data
assert lzma.decompress(lzma.compress(data, preset=1)) == data
connection = sqlite3.connect(":memory:")
connection.execute("create table t(a integer, b text)")
connection.executemany("insert into t values(?, ?)", ((i, "x" * (i % 200)) for i in range(5000)))
connection.create_function("twice", 1, lambda value: value * 2)
assert connection.execute("select sum(twice(a)), max(length(b)) from t").fetchone() == (24995000, 199)
connection.close()
root = xml.etree.ElementTree.fromstring(
    "<r>" + "".join("<i n='%d'>%s</i>" % (i, "t" * (i % 50)) for i in range(3000)) + "</r>")
assert sum(int(item.get("n")) for item in root) == 4498500
assert len(xml.etree.ElementTree.tostring(root)) > 80000
with decimal.localcontext() as context:
    context.prec = 2000
    assert str(decimal.Decimal(2).sqrt())[1990:2000].isdigit()
rows = io.StringIO()
csv.writer(rows).writerows([i, "a,b", 'q"q'] for i in range(3000))
rows.seek(0)
assert sum(int(row[0]) for row in csv.reader(rows)) == 4498500
assert json.loads(json.dumps({"k%d" % i: [i, None, 1.5, "é"] for i in range(3000)}))["k7"][0] == 7
assert len(re.findall(r"(\d+) line of (\w+) (\d+)", text)) == 8000
assert hashlib.sha256(data).hexdigest() == hashlib.new("sha256", data).hexdigest()
heap = [random.random() for _ in range(20000)]
ordered = sorted(heap)
heapq.heapify(heap)
assert [heapq.heappop(heap) for _ in range(20000)] == ordered
assert len(list(itertools.permutations(range(7)))) == 5040
cached = functools.lru_cache(maxsize=1000)(lambda n: [n] * (n % 10))
assert sum(len(cached(i * 7 % 3000)) for i in range(9000)) == 40500
with tempfile.TemporaryFile() as file:
    file.write(data * 5)
    file.flush()
    with mmap.mmap(file.fileno(), 0) as view:
        assert view.find(b"7999 line") > 0 and len(view) == len(data) * 5
one, two = socket.socketpair()
one.sendall(data[:50000])
assert select.select([two], [], [], 5)[0] == [two] and len(two.recv(60000)) > 0
one.close()
two.close()
assert unicodedata.normalize("NFD", "é" * 5000) == "e\u0301" * 5000
assert struct.unpack("<1000I", struct.pack("<1000I", *range(1000)))[999] == 999
buffers = [ctypes.create_string_buffer(i) for i in range(1, 3000)]
Record = type("Record", (ctypes.Structure,), {"_fields_": [("a", ctypes.c_int * 100)]})
records = (Record * 200)()
records[150].a[50] = 7
assert records[150].a[50] == 7 and sum(map(len, buffers)) == 4498500
assert datetime.datetime.strptime("2020-02-29", "%Y-%m-%d") + datetime.timedelta(1) \
    == datetime.datetime(2020, 3, 1) and time.strftime("%Y", time.gmtime(0)) == "1970"
print("done")
