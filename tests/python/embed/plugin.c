/* SPDX-License-Identifier: MIT */
/*
 * An application that is not linked with libpython and loads it late, as a plug-in host does: long
 * after the preload's constructor has run.  argv[1] is libpython.  Prints "done".
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int count, char **arguments)
{
	char *text = strdup("kept across");

	if (count != 2)
		return 2;
	for (int round = 0; round < 2; round++) {
		void *python = dlopen(arguments[1], RTLD_NOW | RTLD_GLOBAL);
		if (!python) {
			fprintf(stderr, "%s\n", dlerror());
			return 2;
		}
		void (*initialize)(void) = (void (*)(void))dlsym(python, "Py_Initialize");
		int (*run)(const char *) = (int (*)(const char *))dlsym(python, "PyRun_SimpleString");
		int (*finalize)(void) = (int (*)(void))dlsym(python, "Py_FinalizeEx");
		initialize();
		if (run("import json\n"
			"rows = [{'i': i, 't': 'x' * (i % 300)} for i in range(20000)]\n"
			"assert json.loads(json.dumps(rows)) == rows\n") != 0 ||
		    finalize() != 0)
			return 1;
		dlclose(python);
	}
	if (strcmp(text, "kept across") != 0)
		return 1;
	free(text);
	puts("done");
	return 0;
}
