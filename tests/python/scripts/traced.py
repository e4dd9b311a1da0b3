# SPDX-License-Identifier: MIT
# pythons: few
# tracemalloc wraps the allocators: started and stopped with blocks living across, sums, snapshots.
import threading
import tracemalloc

before = [bytes(i % 2000) for i in range(5000)]
for round in range(4):
    tracemalloc.start(1 + round * 5)
    base, _ = tracemalloc.get_traced_memory()
    during = [bytearray(1000) for _ in range(3000)]
    now, peak = tracemalloc.get_traced_memory()
    assert 3000 * 1000 < now - base < 3000 * 1300, now - base
    assert peak >= now
    first = tracemalloc.take_snapshot()
    more = {i: str(i) * 10 for i in range(5000)}
    second = tracemalloc.take_snapshot()
    top = second.compare_to(first, "lineno")[0]
    assert top.traceback[0].filename == __file__ and top.count_diff > 4000, top
    trace = tracemalloc.get_object_traceback(during[7])
    assert trace[0].filename == __file__, trace
    del before[::3], during[::2]
    now, _ = tracemalloc.get_traced_memory()
    threads = [threading.Thread(target=lambda: [str(i) for i in range(5000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tracemalloc.clear_traces()
    tracemalloc.stop()
    # Made while traced, freed untraced; and the other way round.
    del during[::2], more
    before += [bytes(i % 2000) for i in range(3000)]
    assert all(len(block) == 1000 for block in during)
assert not tracemalloc.is_tracing()
assert sum(map(len, before)) > 1000000
print("done")
