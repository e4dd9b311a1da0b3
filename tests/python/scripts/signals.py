# SPDX-License-Identifier: MIT
# pythons: few
# A timer interrupts allocation every millisecond; handlers allocate, raise, and switch threads.
import faulthandler
import os
import signal
import sys
import tempfile
import threading
import time

kept = []
count = 0


class Interrupt(Exception):
    pass


def on_timer(number, frame):
    global count, armed
    count += 1
    kept.append([str(i) * 3 for i in range(50)])
    if len(kept) > 100:
        del kept[:50]
    if count % 5 == 0 and armed:
        armed = False  # another would come while this one is caught
        raise Interrupt("x" * 1000)


armed = False
signal.signal(signal.SIGALRM, on_timer)
signal.signal(signal.SIGUSR1, lambda number, frame: kept.append(bytes(100)))
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
raised = 0
finished = False


def shoot():
    while not finished:
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
        time.sleep(0.0005)


thread = threading.Thread(target=shoot)
thread.start()
begin = time.monotonic()
while time.monotonic() < begin + 0.7 or (count <= 50 or raised <= 3) and time.monotonic() < begin + 60:
    try:
        armed = True
        rows = [{"i": i, "t": "x" * (i % 500)} for i in range(2000)]
        armed = False
        assert [row["i"] for row in rows] == list(range(2000))
    except Interrupt:
        raised += 1
    armed = False
finished = True
thread.join()
signal.setitimer(signal.ITIMER_REAL, 0)
assert count > 50 and raised > 3, (count, raised)
with tempfile.TemporaryFile() as file:
    faulthandler.register(signal.SIGUSR2, file=file, all_threads=True)
    os.kill(os.getpid(), signal.SIGUSR2)
    faulthandler.dump_traceback_later(0.01, file=file)
    dumps, end = 0, time.monotonic() + 30
    while dumps < 2 and time.monotonic() < end:
        time.sleep(0.05)
        dumps = os.pread(file.fileno(), 1 << 20, 0).count(b"most recent call first")  # it is written to at its end
    faulthandler.cancel_dump_traceback_later()
    assert dumps >= 2, dumps
sys.stdout.write("done\n")
