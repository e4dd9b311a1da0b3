# SPDX-License-Identifier: MIT
# pythons: few
# Children by fork and exec, vfork, posix_spawn, with pipes, with a function before exec, many at once.
import os
import subprocess
import sys
import threading
import warnings

warnings.simplefilter("ignore")
ballast = [[i, str(i)] for i in range(100000)]

for _ in range(20):
    assert subprocess.check_output(["echo", "x" * 100]) == b"x" * 100 + b"\n"
data = os.urandom(1 << 20)
assert subprocess.run(["cat"], input=data, stdout=subprocess.PIPE, check=True).stdout == data
code = "import sys; d = sys.stdin.buffer.read(); print(len(d) * 2); sys.exit(5)"
process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE,
                           stdout=subprocess.PIPE, preexec_fn=lambda: [str(i) for i in range(9999)])
assert process.communicate(data)[0] == b"%d\n" % (2 << 20)
assert process.returncode == 5
assert subprocess.call("kill -9 $$", shell=True) == -9
assert os.system("exit 3") == 3 << 8
assert os.popen("sort -r <<END\na\nb\nEND").read() == "b\na\n"

running = [subprocess.Popen(["sleep", "0.1"]) for _ in range(20)]
assert [process.wait() for process in running] == [0] * 20

if hasattr(os, "posix_spawn"):
    for _ in range(20):
        pid = os.posix_spawn("/bin/true", ["true"], os.environ)
        assert os.waitpid(pid, 0) == (pid, 0)
pid = os.spawnlp(os.P_NOWAIT, "true", "true")
assert os.waitpid(pid, 0) == (pid, 0)

failed = []


def spawn():
    for n in range(10):
        kept = [str(i) * 3 for i in range(1000)]
        if subprocess.check_output(["echo", str(n)]) != b"%d\n" % n or kept[5] != "555":
            failed.append(n)


threads = [threading.Thread(target=spawn) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failed
try:
    subprocess.call(["/nonexistent/program"])
except FileNotFoundError:
    pass
assert all(row == [i, str(i)] for i, row in enumerate(ballast))
print("done")
