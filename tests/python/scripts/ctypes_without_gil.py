# SPDX-License-Identifier: MIT
# pythons: every
# Misuse that must stay safe: PyMem_* and PyObject_* called by threads that do not hold the GIL
# (ctypes.CDLL lets go of it around a call) while others make and free objects under it.
import ctypes
import sys
import threading

if ctypes.CDLL(None).pyarena_is_active() != 1:
    sys.exit("CPython's own allocator does not survive this")
sys.setswitchinterval(1e-6)
library = ctypes.CDLL(None)  # without the GIL
pointer, size = ctypes.c_void_p, ctypes.c_size_t
for domain in ("PyMem_", "PyObject_"):
    getattr(library, domain + "Malloc").restype = pointer
    getattr(library, domain + "Realloc").restype = pointer
    getattr(library, domain + "Calloc").restype = pointer
    getattr(library, domain + "Free").restype = None
api = ctypes.PyDLL(None)  # with the GIL
api.PyMem_Free.restype = api.PyObject_Free.restype = None
api.PyObject_Malloc.restype = pointer
passed_on = []
failed = []


def misuse(number, domain):
    allocate, free = getattr(library, domain + "Malloc"), getattr(library, domain + "Free")
    resize, clear = getattr(library, domain + "Realloc"), getattr(library, domain + "Calloc")
    blocks = []
    for i in range(2500):
        n = 1 + i * 37 % 700
        block = clear(size(1), size(n)) if i % 5 == 0 else allocate(size(n))
        ctypes.memset(block, number, n)
        blocks.append((block, n))
        if i % 7 == 0:
            block, n = blocks.pop(len(blocks) // 2)
            if ctypes.string_at(block, n) != bytes([number]) * n:
                failed.append(("content", number))
            block = resize(pointer(block), size(n + 300))
            blocks.append((block, n))
        if len(blocks) > 200:
            block, n = blocks.pop(0)
            if ctypes.string_at(block, n) != bytes([number]) * n:
                failed.append(("content", number))
            if i % 3 == 0:
                passed_on.append((domain, block, n, number))  # freed under the GIL by another
            else:
                free(pointer(block))
    for block, n in blocks:
        if ctypes.string_at(block, n) != bytes([number]) * n:
            failed.append(("content", number))
        free(pointer(block))


def proper(number):
    kept = {}
    for i in range(12000):
        kept[i % 300] = (number, i, "p%d" % i, [i] * (i % 25))
        other = kept.get(i * 11 % 300)
        if other and (other[0] != number or other[2] != "p%d" % other[1]):
            failed.append(("object", number))
        if i % 50 == 0 and passed_on:
            domain, block, n, owner = passed_on.pop()
            if ctypes.string_at(block, n) != bytes([owner]) * n:
                failed.append(("passed on", owner))
            getattr(api, domain + "Free")(pointer(block))
        if i % 100 == 0:
            # Made under the GIL, freed without it.
            library.PyObject_Free(pointer(api.PyObject_Malloc(size(50 + i % 400))))


threads = [threading.Thread(target=misuse, args=(n + 1, ("PyMem_", "PyObject_")[n % 2]))
           for n in range(4)]
threads += [threading.Thread(target=proper, args=(n,)) for n in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failed, failed[:5]
print("done")
