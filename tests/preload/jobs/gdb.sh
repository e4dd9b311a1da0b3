# SPDX-License-Identifier: MIT
# needs: gdb gcc
# A program debugged in batch: breakpoint, stack, values, gdb's own Python.
cat > job.c <<'END'
#include <stdlib.h>
#include <string.h>
struct point { int x, y; const char *name; };
static int deep(struct point *point, int level)
{
	return level == 0 ? point->x + point->y : deep(point, level - 1);
}
int main(void)
{
	struct point *point = malloc(sizeof *point);
	*point = (struct point){3, 4, "corner"};
	int result = deep(point, 5) - 7;
	free(point);
	return result;
}
END
gcc -g -O0 job.c -o job
gdb -batch -nx -ex 'set debuginfod enabled off' -ex run ./job > try 2>&1
grep -q 'exited normally' try || { cat try >&2; exit 77; }
gdb -batch -nx -ex 'set debuginfod enabled off' -ex 'break deep if level == 0' -ex run -ex bt -ex 'print *point' -ex 'info locals' -ex 'ptype struct point' \
	-ex 'python print(sum(len(str(i)) for i in range(20000)))' -ex 'print (int)strlen(point->name)' -ex continue ./job 2>&1 |
	sed -E 's/0x[0-9a-f]+/ADDRESS/g; s/process [0-9]+/process N/' | grep -v -e libthread_db -e 'Using host'
