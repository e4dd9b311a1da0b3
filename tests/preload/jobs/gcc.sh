# SPDX-License-Identifier: MIT
# needs: gcc
# One C file to assembly, to an object with debugging information and to a program that runs.
cat > job.c <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
struct node { struct node *left, *right; int key; };
static struct node *insert(struct node *tree, int key)
{
	if (!tree) {
		tree = calloc(1, sizeof *tree);
		tree->key = key;
	} else if (key < tree->key)
		tree->left = insert(tree->left, key);
	else
		tree->right = insert(tree->right, key);
	return tree;
}
static long sum(const struct node *tree)
{
	return tree ? tree->key + sum(tree->left) + sum(tree->right) : 0;
}
#define F(n) static int f##n(int x) { return x * n + (x >> (n & 7)); }
#define G(n) F(n##0) F(n##1) F(n##2) F(n##3) F(n##4) F(n##5) F(n##6) F(n##7) F(n##8) F(n##9)
G(1) G(2) G(3) G(4) G(5) G(6) G(7) G(8) G(9)
int main(void)
{
	struct node *tree = NULL;
	for (int i = 0; i < 100000; i++)
		tree = insert(tree, (int)(i * 2654435761u >> 8));
	printf("%ld %d %d\n", sum(tree), f10(7), f99(8));
	return 0;
}
END
gcc -O2 -Wno-unused-function -S job.c -o - | sha256sum
gcc -O2 -g -c job.c -o job.o
sha256sum < job.o
gcc -O1 -flto job.c -o job
./job
echo 'int main(void) { return undeclared; }' > wrong.c
gcc -c wrong.c || echo "status $?"
