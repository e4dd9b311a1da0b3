/* SPDX-License-Identifier: MIT */
/*
 * An application that embeds CPython: it initializes and finalizes the interpreter three times, with
 * work of its own on malloc before, between and after.  Prints "done".
 */
#include <Python.h>

static char *blocks[3000];

static void fill(void)
{
	for (size_t i = 0; i < 3000; i++) {
		blocks[i] = malloc(i + 1);
		memset(blocks[i], (int)i, i + 1);
	}
}

static void drop(void)
{
	for (size_t i = 0; i < 3000; i++) {
		for (size_t k = 0; k <= i; k += 97) {
			if (blocks[i][k] != (char)i)
				abort();
		}
		free(blocks[i]);
	}
}

int main(void)
{
	for (int round = 0; round < 3; round++) {
		fill();
		Py_Initialize();
		void *raw = PyMem_RawMalloc(100);
		int result = PyRun_SimpleString(
			"import gc, json, re, threading\n"
			"rows = [{'i': i, 't': 'x' * (i % 300)} for i in range(20000)]\n"
			"assert json.loads(json.dumps(rows)) == rows\n"
			"threads = [threading.Thread(target=lambda: [str(i) for i in range(9999)]) for _ in range(3)]\n"
			"[t.start() for t in threads]; [t.join() for t in threads]\n"
			"class Node: pass\n"
			"node = Node(); node.itself = node; node.rows = rows\n"
			"del rows[::2], node\n");
		drop();
		fill();
		if (result != 0 || Py_FinalizeEx() != 0)
			return 1;
		PyMem_RawFree(raw);
		drop();
	}
	puts("done");
	return 0;
}
