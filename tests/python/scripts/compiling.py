# SPDX-License-Identifier: MIT
# pythons: few
# A good part of the standard library read, parsed, compiled and marshalled, in two threads.
import ast
import marshal
import sysconfig
import threading
from pathlib import Path

place = Path(sysconfig.get_paths()["stdlib"])
files = sorted(place.glob("*.py"))[:40]
results = {}


def work(chosen):
    for file in chosen:
        source = file.read_bytes()
        code = compile(source, str(file), "exec", dont_inherit=True)
        results[file] = len(marshal.dumps(code)), sum(1 for _ in ast.walk(ast.parse(source)))


threads = [threading.Thread(target=work, args=(files[n::2],)) for n in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
first = dict(results)
work(files)
assert results == first and len(results) == len(files) > 30
print("done")
