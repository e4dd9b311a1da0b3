/* SPDX-License-Identifier: MIT */
/*
 * Interpreters with a GIL of their own (3.12 on), each in a thread, running at the same time, made
 * and ended over and over, while others of them and the main one go on allocating.
 */
#include <Python.h>
#include <pthread.h>

static const char code[] =
	"table = {}\n"
	"for i in range(30000):\n"
	"    table[i % 2000] = ('s%d' % i, [i] * (i % 12), bytes(i % 700))\n"
	"for key, (text, items, data) in table.items():\n"
	"    i = int(text[1:])\n"
	"    assert i % 2000 == key and len(items) == i % 12 and len(data) == i % 700\n"
	"large = [bytearray(300000) for _ in range(5)]\n"
	"cycle = [table]\n"
	"cycle.append(cycle)\n";

static int failed;

static void *work(void *argument)
{
	(void)argument;
	for (int round = 0; round < 4; round++) {
		PyInterpreterConfig config = {
			.use_main_obmalloc = 0,
			.allow_fork = 0,
			.allow_exec = 0,
			.allow_threads = 1,
			.allow_daemon_threads = 0,
			.check_multi_interp_extensions = 1,
			.gil = PyInterpreterConfig_OWN_GIL,
		};
		PyThreadState *state = NULL;
		PyGILState_STATE outer = PyGILState_Ensure();
		PyThreadState *before = PyThreadState_Get();
		PyStatus status = Py_NewInterpreterFromConfig(&state, &config);
		if (PyStatus_Exception(status)) {
			failed = 1;
			PyGILState_Release(outer);
			return NULL;
		}
		if (PyRun_SimpleString(code) != 0)
			failed = 1;
		Py_EndInterpreter(state);
		PyEval_RestoreThread(before);
		PyGILState_Release(outer);
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[4];

	Py_Initialize();
	PyThreadState *saved = PyEval_SaveThread();
	for (long i = 0; i < 4; i++) {
		if (pthread_create(&threads[i], NULL, work, (void *)i) != 0)
			return 2;
	}
	for (int round = 0; round < 4; round++) {
		PyEval_RestoreThread(saved);
		if (PyRun_SimpleString(code) != 0)
			failed = 1;
		saved = PyEval_SaveThread();
	}
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	PyEval_RestoreThread(saved);
	if (Py_FinalizeEx() != 0 || failed)
		return 1;
	puts("done");
	return 0;
}
