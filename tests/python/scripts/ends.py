# SPDX-License-Identifier: MIT
# pythons: few
# The ways in which a process ends: each gives the exit status and the output that it should.
import concurrent.futures
import signal
import subprocess
import sys

FILL = """
import atexit, os, signal, sys, threading, time, weakref
kept = [[i, str(i), bytes(i % 3000)] for i in range(20000)]
class Node:
    def __init__(self): self.itself = self; self.data = [1] * 100
    def __del__(self): self.data = [str(i) for i in range(100)]
cycles = [Node() for _ in range(500)]
def churn():
    mine = []
    while True:
        mine.append([str(i) for i in range(200)])
        if len(mine) > 50: del mine[:25]
"""
ENDS = [
    ("pass", 0, b""),
    ("atexit.register(lambda: print(len([str(i) for i in range(9999)])))", 0, b"9999\n"),
    ("weakref.finalize(cycles[0], lambda: None)\n"
     "weakref.finalize(cycles[1], lambda: print('gone'))\ncycles = None", 0, b"gone\n"),
    ("sys.exit(5)", 5, b""),
    ("os._exit(6)", 6, b""),
    ("raise SystemExit('message')", 1, b""),
    ("print(undefined)", 1, b""),
    ("os.abort()", -signal.SIGABRT, b""),
    ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", -signal.SIGTERM, b""),
    ("[threading.Thread(target=churn, daemon=True).start() for _ in range(4)]\n"
     "time.sleep(0.05)\nprint('main')", 0, b"main\n"),
    ("[threading.Thread(target=churn, daemon=True).start() for _ in range(4)]\n"
     "time.sleep(0.05)\nos._exit(8)", 8, b""),
    ("threading.Thread(target=lambda: (time.sleep(0.1), print(len(kept)))).start()", 0, b"20000\n"),
    ("threading.Thread(target=lambda: os._exit(9)).start()\ntime.sleep(9)", 9, b""),
    ("threading.Thread(target=lambda: sys.exit(3)).start()\nprint('main')", 0, b"main\n"),
    ("sys.stdout.write('unflushed'); sys.modules.clear()", 0, b"unflushed"),
    ("import builtins; builtins.kept = kept; sys.kept = cycles; sys.path_hooks.append(kept)", 0, b""),
    ("pid = os.fork()\nif pid: print(os.waitpid(pid, 0)[1])\nelse: atexit.register(kept.clear)", 0,
     b"0\n"),
    ("os.execv(sys.executable, [sys.executable, '-c', 'print(7)'])", 0, b"7\n"),
    ("import ctypes; ctypes.CDLL(None).exit(4)", 4, b""),
    ("import ctypes; ctypes.CDLL(None).quick_exit(2)", 2, b""),
]


def end(case):
    code, status, out = case
    process = subprocess.run([sys.executable, "-c", FILL + code], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
    assert (process.returncode, process.stdout) == (status, out), (code, process)
    assert b"pyarena" not in process.stderr, (code, process)


with concurrent.futures.ThreadPoolExecutor(2) as executor:
    list(executor.map(end, ENDS))
print("done")
