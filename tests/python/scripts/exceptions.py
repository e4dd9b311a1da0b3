# SPDX-License-Identifier: MIT
# pythons: few
# Deep recursion, long chains of exceptions and generators, and structures nested deeply.
import sys
import threading

sys.setrecursionlimit(20000)
threading.stack_size(256 * 1024 * 1024)


def deep(n, text):
    local = [n, text * (n % 5)]
    return local[0] if n == 0 else deep(n - 1, text) + 1 - len(local) // 2


def chain(n):
    try:
        if n == 0:
            raise ValueError("bottom")
        chain(n - 1)
    except ValueError as error:
        raise ValueError("level %d" % n) from error


def nested(n):
    if n:
        yield n
        yield from nested(n - 1)


def main():
    for _ in range(3):
        assert deep(10000, "abc") == 0
        try:
            deep(10 ** 6, "x")
        except RecursionError:
            pass
        else:
            raise AssertionError("no RecursionError")
    try:
        chain(2000)
    except ValueError as error:
        length = 0
        while error is not None:
            length, error = length + 1, error.__cause__
        assert length == 2002
    assert sum(nested(1000)) == 500500
    link = None
    for i in range(300000):
        link = (i, link)
    assert link[0] == 299999
    del link
    row = []
    for _ in range(100000):
        row = [row]
    del row
    for i in range(30000):
        try:
            raise KeyError("k%d" % i)
        except KeyError as error:
            assert error.args == ("k%d" % i,)
    results.append("done")


results = []
thread = threading.Thread(target=main)
thread.start()
thread.join()
print(*results)
