# SPDX-License-Identifier: MIT
# pythons: default
# numpy: temporaries, views, sorting, linear algebra, growth, and arrays freed in other threads.
import sys
import threading

try:
    import numpy
except ImportError:
    print("numpy is not installed (Debian package python3-numpy)", file=sys.stderr)
    sys.exit(77)

total = 0.0
for n in range(1, 60):
    a = numpy.arange(n * 5000, dtype=numpy.float64).reshape(n, 5000)
    b = (a * 2 + 1) / (a + 1) - numpy.sin(a)
    total += float((b[:, ::2] ** 2).sum())
assert 100000 < total < 1e9, total
generator = numpy.random.default_rng(1)
data = generator.random(500000)
assert (numpy.diff(numpy.sort(data)) >= 0).all()
matrix = generator.random((200, 200))
assert numpy.allclose(matrix @ numpy.linalg.inv(matrix), numpy.eye(200), atol=1e-6)
grown = numpy.zeros(0)
for i in range(200):
    grown = numpy.append(grown, numpy.full(1000, i))
assert grown.sum() == 1000 * sum(range(200))
words = numpy.array(["w%d" % (i % 1000) for i in range(50000)], dtype=object)
assert len(numpy.unique(words.astype(str))) == 1000
resized = numpy.ones(1000)
resized.resize(3000000, refcheck=False)
assert resized[:1000].sum() == 1000 and resized[1000:].sum() == 0
results = []


def work(n):
    pieces = [numpy.full(i * 10, n, dtype=numpy.int32) for i in range(1, 400)]
    results.append((n, numpy.concatenate(pieces)))


threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for n, array in results:
    assert (array == n).all() and len(array) == 798000, len(array)
assert numpy.empty(0).size == 0 and (numpy.zeros(5000000) == 0).all()
aligned = [numpy.empty(i).ctypes.data % 16 for i in range(1, 500)]
assert not any(aligned)
try:
    numpy.empty(1 << 60, dtype=numpy.int8)
except MemoryError:
    pass
print("done")
