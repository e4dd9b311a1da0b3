# SPDX-License-Identifier: MIT
# pythons: few
# Pickles in every protocol, deep copies, marshal, and a pickle from one process read by another.
import collections
import copy
import datetime
import decimal
import marshal
import pickle
import subprocess
import sys

Point = collections.namedtuple("Point", "x y name")
data = {
    "points": [Point(i, i / 3, "p%d" % i) for i in range(5000)],
    "texts": ["é" * (i % 300) for i in range(2000)],
    "bytes": [bytes(i) for i in range(0, 40000, 400)],
    "sets": [frozenset(range(i)) for i in range(100)],
    "numbers": [2 ** i for i in range(0, 3000, 10)],
    "dates": [datetime.date(2000, 1, 1) + datetime.timedelta(i) for i in range(1000)],
    "decimals": [decimal.Decimal(i) / 7 for i in range(1000)],
}
data["itself"] = data
for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
    text = pickle.dumps(data, protocol)
    again = pickle.loads(text)
    assert again.pop("itself") is again
    assert again == {key: value for key, value in data.items() if key != "itself"}
del data["itself"]
assert copy.deepcopy(data) == data
plain = {"a": data["texts"], "b": data["numbers"], "c": data["bytes"]}
assert marshal.loads(marshal.dumps(plain)) == plain
if pickle.HIGHEST_PROTOCOL >= 5:
    buffers = []
    big = bytearray(5000000)
    text = pickle.dumps(pickle.PickleBuffer(big), 5, buffer_callback=buffers.append)
    assert len(text) < 100 and pickle.loads(text, buffers=buffers) == big
code = "import pickle, sys; pickle.dump([b * 2 for b in pickle.load(sys.stdin.buffer)], sys.stdout.buffer)"
result = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(data["bytes"]),
                        stdout=subprocess.PIPE, check=True)
assert pickle.loads(result.stdout) == [b * 2 for b in data["bytes"]]
print("done")
