# SPDX-License-Identifier: MIT
# pythons: few
# concurrent.futures: threads and processes, results, exceptions, and work that is cancelled.
import concurrent.futures
import json
import warnings


def work(n):
    text = json.dumps([{"id": i, "text": "x" * (i % 100)} for i in range(n)])
    return len(json.loads(text)), len(text)


def fail(n):
    raise ValueError("no " * n)


def main():
    warnings.simplefilter("ignore")
    expected = [work(n) for n in range(300)]
    for kind in (concurrent.futures.ThreadPoolExecutor, concurrent.futures.ProcessPoolExecutor):
        with kind(max_workers=4) as executor:
            assert list(executor.map(work, range(300))) == expected
            futures = [executor.submit(fail if n % 3 else work, n) for n in range(60)]
            for n, future in enumerate(futures):
                error = future.exception()
                assert (error is None) == (n % 3 == 0)
                assert error is None or str(error) == "no " * n
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        futures = [executor.submit(work, 200) for _ in range(200)]
        cancelled = sum(future.cancel() for future in reversed(futures))
        assert cancelled + sum(not future.cancelled() for future in futures) == 200
    print("done")


if __name__ == "__main__":
    main()
