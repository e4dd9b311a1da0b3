# SPDX-License-Identifier: MIT
# pythons: every
# A process without threads of its own forks after giving much memory back: CPython 3.12 and later
# count the threads that are there, and would warn of one that the library leaves behind.
import os
import time
import warnings

warnings.simplefilter("error")
for pause in (0, 0.001, 0.01, 0.05, 0.2, 0.5, 0):
    peak = [[i] for i in range(300000)]
    large = [bytearray(3000000) for _ in range(10)]
    del peak, large
    time.sleep(pause)
    pid = os.fork()
    if pid == 0:
        peak = [[i] for i in range(100000)]
        del peak
        os._exit(len(os.listdir("/proc/self/task")) - 1 if pause == 0 else 0)
    assert os.waitpid(pid, 0) == (pid, 0)
print("done")
