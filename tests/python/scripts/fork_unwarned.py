# SPDX-License-Identifier: MIT
# pythons: 3.12
# A process without threads of its own forks after swinging up and down: CPython 3.12 and later count
# the threads that are there, and would warn of one that the library has for an idle process.
import os
import time
import warnings

warnings.simplefilter("error")
for pause in (0, 0.1, 0.49, 0.5, 0.51, 0.6, 0):
    for _ in range(20):
        peak = [[i] for i in range(100000)]
        large = [bytearray(3000000) for _ in range(10)]
        del peak, large
    time.sleep(pause)
    pid = os.fork()
    if pid == 0:
        peak = [[i] for i in range(100000)]
        del peak
        os._exit(0)
    assert os.waitpid(pid, 0) == (pid, 0)
print("done")
