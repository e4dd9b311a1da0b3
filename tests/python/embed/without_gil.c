/* SPDX-License-Identifier: MIT */
/*
 * Misuse that must stay safe: threads let go of the GIL and go on to call PyMem_* and PyObject_*,
 * while others make and free objects under it.  Some blocks are freed by the other side.
 */
#include <Python.h>
#include <pthread.h>
#include <stdatomic.h>

#define MISUSERS 3
#define PROPER 2
#define PASSED_ON 64

static _Atomic(unsigned char *) passed_on[PASSED_ON]; /* block[0] is 1 for PyMem, 2 for PyObject */
static _Atomic(int) failed;
static _Atomic(int) misusers_left = MISUSERS;

static unsigned char *take(unsigned slot)
{
	return atomic_exchange(&passed_on[slot % PASSED_ON], NULL);
}

static void give(unsigned slot, unsigned char *block)
{
	unsigned char *old = atomic_exchange(&passed_on[slot % PASSED_ON], block);
	if (!old)
		return;
	if (*old == 1)
		PyMem_Free(old);
	else
		PyObject_Free(old);
}

/* Without the GIL: a few hundred blocks of all sizes, checked, some passed on. */
static void churn(unsigned seed)
{
	unsigned char *blocks[200] = { NULL };
	size_t sizes[200];

	for (unsigned i = 0; i < 4000; i++) {
		unsigned n = (seed * 31 + i * 7919) % 200;
		unsigned domain = 1 + n % 2;
		if (blocks[n]) {
			for (size_t k = 1; k < sizes[n]; k++)
				failed |= blocks[n][k] != (unsigned char)n;
			if (i % 5 == 0)
				give(i, blocks[n]);
			else if (domain == 1)
				PyMem_Free(blocks[n]);
			else
				PyObject_Free(blocks[n]);
		}
		sizes[n] = 1 + (i * 37 + seed) % 600;
		blocks[n] = domain == 1 ? PyMem_Malloc(sizes[n]) : PyObject_Calloc(1, sizes[n]);
		memset(blocks[n], (int)n, sizes[n]);
		if (i % 3 == 0 && domain == 1) {
			blocks[n] = PyMem_Realloc(blocks[n], sizes[n] + 300);
			failed |= sizes[n] > 1 && blocks[n][sizes[n] - 1] != (unsigned char)n;
		}
		blocks[n][0] = (unsigned char)domain;
	}
	for (unsigned n = 0; n < 200; n++) {
		if (n % 2 == 0)
			PyMem_Free(blocks[n]);
		else
			PyObject_Free(blocks[n]);
	}
}

static void *misuse(void *argument)
{
	for (unsigned round = 0; round < 40; round++) {
		PyGILState_STATE state = PyGILState_Ensure();
		PyObject *own = PyList_New(100);
		PyThreadState *saved = PyEval_SaveThread();
		churn((unsigned)(long)argument * 1000 + round);
		PyEval_RestoreThread(saved);
		Py_DECREF(own);
		PyGILState_Release(state);
	}
	misusers_left--;
	return NULL;
}

static void *proper(void *argument)
{
	PyGILState_STATE state = PyGILState_Ensure();

	for (unsigned round = 0; misusers_left > 0; round++) {
		PyObject *list = PyList_New(0);
		for (long i = 0; i < 300; i++) {
			PyObject *text = PyUnicode_FromFormat("%ld-%ld", (long)argument, i);
			failed |= !text || PyList_Append(list, text) != 0;
			Py_XDECREF(text);
		}
		failed |= PyList_Size(list) != 300;
		Py_DECREF(list);
		unsigned char *block = take(round);
		if (block && *block == 1)
			PyMem_Free(block);
		else if (block)
			PyObject_Free(block);
		if (round % 5 == 0) {
			PyThreadState *saved = PyEval_SaveThread();
			sched_yield();
			PyEval_RestoreThread(saved);
		}
	}
	PyGILState_Release(state);
	return NULL;
}

int main(void)
{
	pthread_t threads[MISUSERS + PROPER];

	Py_Initialize();
	PyThreadState *saved = PyEval_SaveThread();
	for (long i = 0; i < MISUSERS + PROPER; i++) {
		if (pthread_create(&threads[i], NULL, i < MISUSERS ? misuse : proper, (void *)i) != 0)
			return 2;
	}
	for (int i = 0; i < MISUSERS + PROPER; i++)
		pthread_join(threads[i], NULL);
	PyEval_RestoreThread(saved);
	for (unsigned slot = 0; slot < PASSED_ON; slot++)
		give(slot, NULL);
	if (Py_FinalizeEx() != 0 || failed)
		return 1;
	puts("done");
	return 0;
}
