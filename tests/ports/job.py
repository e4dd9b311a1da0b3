# SPDX-License-Identifier: MIT
"""What scripts/ports has a CPython of another machine do: objects of all sizes, threads, the library's interface."""
import ctypes
import json
import threading
import zlib

library = ctypes.CDLL(None)


def peak() -> list:
    rows = [{"i": i, "t": "x" * (i % 300)} for i in range(2000)]
    assert json.loads(json.dumps(rows)) == rows
    kept = [bytes(i * 50) for i in range(300)] + [bytes(400000 + i) for i in range(4)]
    del rows, kept[::2]
    return kept


thread = threading.Thread(target=peak)
thread.start()
thread.join()
survivors = peak()
assert library.pyarena_is_active()
stats = (ctypes.c_uint64 * 32)(32 * 8)
assert library.pyarena_stats(stats) == 0
assert stats[2] > sum(map(len, survivors)), "live bytes"
ctypes.PyDLL(None).malloc_trim(0)
peak()
print(sum(map(len, survivors)), zlib.crc32(b"".join(survivors)))
