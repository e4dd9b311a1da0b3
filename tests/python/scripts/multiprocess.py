# SPDX-License-Identifier: MIT
# pythons: few
# multiprocessing by fork, spawn and forkserver: pools, queues, pipes, managers, shared memory.
import multiprocessing
import sys
import warnings


def work(n):
    table = {i: str(i) * (i % 20) for i in range(n)}
    return sum(map(len, table.values()))


def put(queue, n):
    for i in range(20):
        queue.put([i, "x" * n, bytes(n)])


def fill(connection):
    data = connection.recv()
    connection.send(data * 2)
    connection.close()


def share(name):
    from multiprocessing import shared_memory
    memory = shared_memory.SharedMemory(name)
    memory.buf[:5] = b"hello"
    memory.close()


def main():
    warnings.simplefilter("ignore")
    expected = [work(n) for n in range(1000, 1100)]
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with context.Pool(2, maxtasksperchild=30) as pool:
            assert pool.map(work, range(1000, 1100), chunksize=5) == expected
        queue = context.Queue()
        putters = [context.Process(target=put, args=(queue, 5000)) for _ in range(2)]
        for process in putters:
            process.start()
        items = [queue.get() for _ in range(40)]
        for process in putters:
            process.join()
            assert process.exitcode == 0
        assert sum(len(item[1]) + len(item[2]) for item in items) == 40 * 10000
        ours, theirs = context.Pipe()
        process = context.Process(target=fill, args=(theirs,))
        process.start()
        ours.send(b"y" * 1000000)
        assert len(ours.recv()) == 2000000
        process.join()
        assert process.exitcode == 0
    with multiprocessing.get_context("fork").Manager() as manager:
        shared = manager.dict()
        shared.update({i: [i] * 10 for i in range(100)})
        assert shared[50] == [50] * 10
    if sys.version_info >= (3, 8):
        from multiprocessing import shared_memory
        memory = shared_memory.SharedMemory(create=True, size=100000)
        process = multiprocessing.get_context("fork").Process(target=share, args=(memory.name,))
        process.start()
        process.join()
        assert bytes(memory.buf[:5]) == b"hello"
        memory.close()
        memory.unlink()
    print("done")


if __name__ == "__main__":
    main()
