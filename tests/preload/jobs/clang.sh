# SPDX-License-Identifier: MIT
# needs: clang
# One C file to assembly, to bitcode and to a program that runs; the analyser, and a wrong file.
cat > job.c <<'EOF'
#include <stdio.h>
#include <stdlib.h>
#define F(n) static int f##n(int x) { for (int i = 0; i < (n & 15); i++) x = x * n + (x >> i); return x; }
#define G(n) F(n##0) F(n##1) F(n##2) F(n##3) F(n##4) F(n##5) F(n##6) F(n##7) F(n##8) F(n##9)
G(1) G(2) G(3) G(4) G(5) G(6) G(7) G(8) G(9)
int main(void)
{
	int *list = calloc(1000, sizeof *list), sum = 0;
	if (!list)
		return 1;
	for (int i = 0; i < 1000; i++)
		list[i] = f10(i) ^ f57(i) ^ f98(i);
	for (int i = 0; i < 1000; i++)
		sum += list[i] & 255;
	printf("%d\n", sum);
	free(list);
	return 0;
}
EOF
clang -O2 -Wno-unused-function -S job.c -o - | sha256sum
clang -O1 -g -c -emit-llvm job.c -o job.bc
sha256sum < job.bc
clang -O2 job.c -o job
./job
echo 'int main(void) { int *p = 0; return *p; }' > wrong.c
clang --analyze wrong.c -o report.plist
echo 'int main(void) { return undeclared; }' > wrong.c
clang -c wrong.c || echo "status $?"
