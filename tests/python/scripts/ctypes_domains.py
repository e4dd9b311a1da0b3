# SPDX-License-Identifier: MIT
# pythons: every
# CPython's three allocation domains called through ctypes, with the GIL: sizes, contents, realloc.
import ctypes
import sys

api = ctypes.pythonapi
size = ctypes.c_size_t
pointer = ctypes.c_void_p
for domain in ("PyMem_Raw", "PyMem_", "PyObject_"):
    allocate, clear = getattr(api, domain + "Malloc"), getattr(api, domain + "Calloc")
    resize, free = getattr(api, domain + "Realloc"), getattr(api, domain + "Free")
    for function in (allocate, clear, resize):
        function.restype = pointer
    free.restype = None
    blocks = []
    for i in range(1, 3000):
        block = allocate(size(i))
        assert block and (block % 16 == 0 or i <= 8), hex(block)
        ctypes.memset(block, i & 255, i)
        blocks.append((block, i))
    for block, i in blocks:
        assert ctypes.string_at(block, i) == bytes([i & 255]) * i
    for n, (block, i) in enumerate(blocks[::2]):
        more = resize(pointer(block), size(i * 3))
        assert ctypes.string_at(more, i) == bytes([i & 255]) * i
        blocks[n * 2] = (more, i)
    for block, i in blocks[::3]:
        free(pointer(block))
    del blocks[::3]
    for i in (1, 100, 512, 513, 4096, 70000, 1 << 20, 30 << 20):
        block = clear(size(i), size(1))
        assert ctypes.string_at(block, i).count(0) == i
        ctypes.memset(block, 1, i)
        block = resize(pointer(block), size(i * 2))
        assert ctypes.string_at(block, i) == b"\1" * i
        block = resize(pointer(block), size(max(i // 4, 1)))
        assert ctypes.string_at(block, max(i // 4, 1)) == b"\1" * max(i // 4, 1)
        free(pointer(block))
    for block, i in blocks:
        assert ctypes.string_at(block, i) == bytes([i & 255]) * i
        free(pointer(block))
    # Nothing is unique, freed, or NULL where CPython's manual says otherwise.
    first, second = allocate(size(0)), allocate(size(0))
    assert first and second and first != second
    grown = resize(pointer(first), size(0))
    assert grown
    free(pointer(grown))
    free(pointer(second))
    free(None)
    block = resize(None, size(40))
    assert block
    free(pointer(block))
    assert not allocate(size(sys.maxsize + 1))
    assert not allocate(size(sys.maxsize))
    assert not clear(size(1 << 40), size(1 << 40))
    block = allocate(size(64))
    ctypes.memset(block, 7, 64)
    assert not resize(pointer(block), size(sys.maxsize - 5))
    assert ctypes.string_at(block, 64) == b"\7" * 64
    free(pointer(block))
print("done")
