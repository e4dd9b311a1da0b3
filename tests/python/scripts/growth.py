# SPDX-License-Identifier: MIT
# pythons: few
# Lists, bytearrays, strings, dicts and streams that grow far and shrink again, contents checked.
import array
import collections
import io

numbers = []
for i in range(1500000):
    numbers.append(i)
assert numbers[::100000] == list(range(0, 1500000, 100000)) and numbers[-1] == 1499999
while len(numbers) > 10:
    del numbers[len(numbers) // 2:]
    assert numbers[-1] == len(numbers) - 1

text = bytearray()
for i in range(60):
    text += bytes([i]) * 1000000
assert len(text) == 60000000
assert all(text[i * 1000000] == text[i * 1000000 + 999999] == i for i in range(60))
for i in range(59):
    del text[-1000000:]
assert text == bytearray(1000000)
while text:
    del text[:max(1, len(text) // 3)]
slow = bytearray()
for i in range(300000):
    slow.append(i % 251)
assert bytes(slow[:251]) == bytes(range(251)) and sum(slow[-251:]) == sum(range(251))

string = ""
for i in range(30000):
    string += "%d," % i
assert string.split(",")[29999] == "29999" and len(string) == 168890

stream = io.BytesIO()
for i in range(3000):
    stream.write(bytes([i % 256]) * 5000)
stream.truncate(20000)
assert stream.getvalue() == b"".join(bytes([i]) * 5000 for i in range(4))

table = {}
for i in range(300000):
    table["k%d" % i] = i
for i in range(0, 300000, 2):
    del table["k%d" % i]
assert len(table) == 150000 and table["k299999"] == 299999
table.clear()
unique = set(range(400000))
unique -= set(range(0, 400000, 3))
assert len(unique) == 266666

floats = array.array("d", range(1000))
for _ in range(11):
    floats.extend(floats)
assert len(floats) == 2048000 and floats[1999] == 999.0 and floats[-1000] == 0.0
waiting = collections.deque()
for i in range(300000):
    waiting.append(i)
    if i % 3 == 0:
        assert waiting.popleft() == i // 3
assert len(waiting) == 200000

# Every size around the steps of the size classes, resized in both directions.
for size in list(range(0, 3000, 7)) + [2 ** n + d for n in range(11, 23) for d in (-1, 0, 1)]:
    block = bytearray(b"\5" * size)
    block += b"\6" * (size // 2)
    assert block.count(5) == size and block.count(6) == size // 2
    del block[size // 3:]
    assert block.count(5) == size // 3
print("done")
