# SPDX-License-Identifier: MIT
# needs: strace
# The preload is inherited through a tracer; every traced program ends as it should.
strace -f -o log true 2> error || { cat error >&2; exit 77; }
strace -f -e trace=execve -o log bash -c 'seq 1 1000 | sort -n | tail -n 1'
grep -c 'exited with 0' log
