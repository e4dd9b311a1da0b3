/* SPDX-License-Identifier: MIT */
/*
 * Threads that CPython did not make enter it by PyGILState_Ensure, many at a time, some of them for
 * their whole life and some anew for each piece of work; the main thread waits without the GIL.
 */
#include <Python.h>
#include <pthread.h>

static int failed;

static void *work(void *argument)
{
	long number = (long)argument;

	for (int round = 0; round < 30; round++) {
		char *own = malloc((size_t)(round * 100 + 1));
		memset(own, 1, (size_t)(round * 100 + 1));
		PyGILState_STATE state = PyGILState_Ensure();
		PyObject *list = PyList_New(0);
		for (long i = 0; i < 500; i++) {
			PyObject *text = PyUnicode_FromFormat("%ld-%ld", number, i);
			if (!text || PyList_Append(list, text) != 0)
				failed = 1;
			Py_XDECREF(text);
			if (i % 100 == 0) {
				PyThreadState *saved = PyEval_SaveThread();
				sched_yield();
				PyEval_RestoreThread(saved);
			}
		}
		if (PyList_Size(list) != 500)
			failed = 1;
		Py_DECREF(list);
		PyGILState_Release(state);
		free(own);
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[8];

	Py_Initialize();
#if PY_VERSION_HEX < 0x03070000
	PyEval_InitThreads();
#endif
	PyThreadState *saved = PyEval_SaveThread();
	for (long round = 0; round < 3; round++) {
		for (long i = 0; i < 8; i++) {
			if (pthread_create(&threads[i], NULL, work, (void *)i) != 0)
				return 2;
		}
		for (int i = 0; i < 8; i++)
			pthread_join(threads[i], NULL);
	}
	PyEval_RestoreThread(saved);
	if (Py_FinalizeEx() != 0 || failed)
		return 1;
	puts("done");
	return 0;
}
