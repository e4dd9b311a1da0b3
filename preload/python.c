/* SPDX-License-Identifier: MIT */
/*
 * python.c: the hook into CPython.  A constructor of a preloaded library runs before main, and
 * CPython keeps the allocators that it finds set then, unless PYTHONMALLOC or -X dev ask for others.
 * So its MEM and OBJ domains come to a heap of the interpreter, which the GIL guards: no lock, no
 * atomic, and an object freed in another thread than the one that made it is freed just as fast.
 *
 * What has to be sure at each call is that the caller holds the GIL of the heap's interpreter.
 *   - CPython 3.7 to 3.11 has one GIL for all interpreters, and one current thread state.  The fast path
 *     compares the calling thread with the one that came last, and that state as well: a thread that has
 *     let go of the GIL may come again while the next is about to come.  Only when they differ is
 *     CPython asked whether the caller holds the GIL.
 *   - From 3.12 on, an interpreter may have a GIL of its own, and a thread may go from one to another.
 *     There the current thread state is thread-local, NULL without a GIL, and names its interpreter:
 *     the fast path compares that with the main one, whose heap it is.
 * Who does not hold the GIL is served from the thread's heap, as by malloc.
 */
#include "harden.h"
#include "preload.h"

#include "idle.h"
#include "os.h"
#include "state.h"

#include <stdlib.h>
#include <string.h>

/* CPython's interface, as far as it is stable from 3.7 on; all looked up by the dynamic linker. */
typedef struct py_thread_state {
	struct py_thread_state *previous, *next;
	const void
		*interpreter; /* the first three fields, 3.12 on; checked before they are relied upon */
} py_thread_state;

struct py_allocator { /* PyMemAllocatorEx */
	void *context;
	void *(*malloc)(void *context, size_t bytes);
	void *(*calloc)(void *context, size_t count, size_t each);
	void *(*realloc)(void *context, void *p, size_t bytes);
	void (*free)(void *context, void *p);
};

enum py_domain { PY_DOMAIN_RAW, PY_DOMAIN_MEM, PY_DOMAIN_OBJ };

#define WEAK __attribute__((weak))
extern const char *Py_GetVersion(void) WEAK;
extern int Py_IsInitialized(void) WEAK;
extern void PyMem_SetAllocator(enum py_domain domain, struct py_allocator *allocator) WEAK;
extern py_thread_state *_PyThreadState_UncheckedGet(void) WEAK; /* to 3.12 */
extern py_thread_state *PyThreadState_GetUnchecked(void) WEAK;  /* 3.13 on */
extern py_thread_state *PyGILState_GetThisThreadState(void) WEAK;
extern const void *PyThreadState_GetInterpreter(py_thread_state *state) WEAK; /* 3.9 on */
extern const void *PyInterpreterState_Main(void) WEAK;

/* [const] after install, where nothing else is said */
static struct {
	struct pa_heap *heap; /* of the main interpreter; the context of both domains */
	py_thread_state *(*current_state)(void);
	bool has_own_gils;                 /* 3.12 on */
	struct pa_state_place state_place; /* [GIL] not yet made sure of, or unknown */
	_Atomic(uintptr_t) state_where;    /* [atomic] where no state is, until that is made sure of */
	_Atomic(uintptr_t) gil_where; /* [atomic] 3.12 on: of the main interpreter's; 0: not known */
	unsigned gil_looks;           /* [GIL] for that */
	struct pa_heap *replacement;  /* [GIL] of a main heap that a fork left half changed */
} python;

#define ARENAS_AT_ONCE 4 /* that an idle process's heap is not to be had for */
#define GIL_LOOKS 100    /* in vain, until it is clear that the GIL will not be found */

/* --- which heap a caller that is not known at once may use --- */

/* Before and after CPython's life nobody holds a GIL; one thread is there then. */
static bool is_outside_of_life(const struct pa_heap *heap)
{
	uintptr_t thread = pa_load_relaxed(&heap->thread);

	return !Py_IsInitialized() && (thread == 0 || thread == pa_thread_identity());
}

/* One that is claimed, when it is not any more.  One that a fork left in the midst of a change is replaced for good. */
static struct pa_heap *usable_main_heap(struct pa_heap *heap)
{
	pa_heap_wait_for_claim(heap);
	if (PA_LIKELY(heap->state != PA_HEAP_QUARANTINED))
		return heap;
	if (!python.replacement || python.replacement->state == PA_HEAP_QUARANTINED)
		python.replacement = pa_heap_acquire(PA_HEAP_INTERPRETER);
	return python.replacement;
}

/* The place is right if the state is there that the accessor returns; in use from then on. */
static void use_state_place(const py_thread_state *state)
{
	bool is_of_thread = python.state_place.kind == PA_STATE_OF_THREAD;
	uintptr_t where = python.state_place.where;

	if (PA_LIKELY(python.state_place.kind == PA_STATE_UNKNOWN) || !state)
		return;
	python.state_place.kind = PA_STATE_UNKNOWN;
	if (is_of_thread == python.has_own_gils &&
	    state == (is_of_thread ? pa_state_of_thread(where) : pa_state_of_process(where)))
		pa_store_relaxed(&python.state_where, where);
}

static void note_turn(struct pa_heap *heap, const py_thread_state *state)
{
	pa_store_relaxed(&heap->thread, pa_thread_identity());
	pa_store_release(&heap->gil_state, state); /* pairs with came_last */
}

static struct pa_heap *heap_by_turns(struct pa_heap *heap)
{
	py_thread_state *state = python.current_state();

	heap = usable_main_heap(heap);
	if (!heap)
		return NULL;
	if (state ? state == PyGILState_GetThisThreadState() : is_outside_of_life(heap)) {
		note_turn(heap, state);
		use_state_place(state);
		return heap;
	}
	return NULL;
}

/* Of the main interpreter; who calls with a state of it holds its GIL meanwhile. */
static void look_for_gil(const py_thread_state *state)
{
	python.gil_looks++;
	pa_store_relaxed(&python.gil_where, pa_state_find_gil(state->interpreter, state));
}

static bool may_find_gil(void)
{
	return !pa_load_relaxed(&python.gil_where) && python.gil_looks < GIL_LOOKS;
}

static struct pa_heap *heap_by_state(struct pa_heap *heap)
{
	static __thread struct {
		const void *interpreter;
		struct pa_heap *heap;
	} last;
	py_thread_state *state = python.current_state();

	if (!state) {
		heap = usable_main_heap(heap);
		if (!heap || !is_outside_of_life(heap))
			return NULL;
		pa_store_relaxed(&heap->thread, pa_thread_identity());
		return heap;
	}
	use_state_place(state);
	const void *interpreter = PyThreadState_GetInterpreter(state);
	if (interpreter == PyInterpreterState_Main()) {
		heap = usable_main_heap(heap);
		if (!heap || state->interpreter != interpreter)
			return heap;
		if (may_find_gil())
			look_for_gil(state);
		if (!may_find_gil())
			pa_store_relaxed(&heap->gil_state,
					 interpreter); /* the fast path knows it now */
		return heap;
	}
	if (last.interpreter != interpreter || last.heap->state == PA_HEAP_QUARANTINED) {
		last.heap = pa_heap_of_interpreter(interpreter);
		last.interpreter = last.heap ? interpreter : NULL;
	}
	return last.heap;
}

static struct pa_heap *heap_of_caller(struct pa_heap *heap)
{
	return python.has_own_gils ? heap_by_state(heap) : heap_by_turns(heap);
}

static PA_COLD void *malloc_slow(void *context, size_t bytes)
{
	struct pa_heap *heap = heap_of_caller(context);

	return heap ? pa_allocate(heap, bytes) : pa_malloc(bytes);
}

static PA_COLD void *calloc_slow(void *context, size_t count, size_t each)
{
	struct pa_heap *heap = heap_of_caller(context);
	size_t bytes = count * each; /* the callers have seen that it fits */

	return heap ? pa_allocate_zero(heap, bytes) : pa_calloc(bytes);
}

static PA_COLD void *realloc_slow(void *context, void *p, size_t bytes)
{
	struct pa_heap *heap = heap_of_caller(context);

	return heap ? pa_reallocate(heap, p, bytes, "PyMem_Realloc")
		    : pa_realloc(p, bytes, "PyMem_Realloc");
}

static PA_COLD void free_slow(void *context, void *p)
{
	struct pa_heap *heap = heap_of_caller(context);

	if (!p)
		return;
	if (!heap) {
		pa_free(p, "PyMem_Free");
	} else if (!pa_heap_free(heap, p)) {
		pa_heap_free_slow(heap, p, "PyMem_Free");
		pa_reserve_watch(); /* a large one: much of the reserve */
	}
}

/* --- what CPython calls, in forms that differ in how the owner is known --- */

/*
 * 3.7 to 3.11: the thread came last, and the GIL has not been let go since.  The thread is looked at last:
 * who comes notes its thread before its state, see note_turn; so who sees the new state, and does not hold
 * the GIL itself, sees the new thread too.
 */
PA_INLINE bool came_last(const struct pa_heap *heap, const void *state)
{
	return PA_LIKELY(state == pa_load_acquire(&heap->gil_state)) && /* pairs with note_turn */
	       PA_LIKELY(pa_load_relaxed(&heap->thread) == pa_thread_identity());
}

PA_INLINE bool owns_by_turns(const struct pa_heap *heap)
{
	return came_last(heap, pa_state_of_process(pa_load_relaxed(&python.state_where)));
}

/* The same, where the accessor has to be called. */
PA_INLINE bool owns_by_turns_called(const struct pa_heap *heap)
{
	return came_last(heap, python.current_state());
}

/* 3.12 on: the thread holds the GIL of the heap's interpreter. */
PA_INLINE bool owns_by_state(const struct pa_heap *heap)
{
	const py_thread_state *state = pa_state_of_thread(pa_load_relaxed(&python.state_where));

	return PA_LIKELY(state != NULL) &&
	       PA_LIKELY(state->interpreter == pa_load_relaxed(&heap->gil_state));
}

PA_INLINE bool owns_by_state_called(const struct pa_heap *heap)
{
	const py_thread_state *state = python.current_state();

	return PA_LIKELY(state != NULL) &&
	       PA_LIKELY(state->interpreter == pa_load_relaxed(&heap->gil_state));
}

/*
 * Who does not own the heap this way may do so the next.  That is a jump at the end, never a call in
 * between: so the first way needs no stack frame.  Inlined, the next would need one.
 */
#define ALLOCATOR(how, next) \
	static PA_NOINLINE void *malloc_##how(void *context, size_t bytes) \
	{ \
		return owns_##how(context) ? pa_allocate(context, bytes) \
					   : malloc_##next(context, bytes); \
	} \
	static PA_NOINLINE void *calloc_##how(void *context, size_t count, size_t each) \
	{ \
		size_t bytes; \
		if (__builtin_mul_overflow(count, each, &bytes)) \
			return NULL; \
		return owns_##how(context) ? pa_allocate_zero(context, bytes) \
					   : calloc_##next(context, count, each); \
	} \
	static PA_NOINLINE void *realloc_##how(void *context, void *p, size_t bytes) \
	{ \
		if (!p) \
			return malloc_##how(context, bytes); \
		return owns_##how(context) ? pa_reallocate(context, p, bytes, "PyMem_Realloc") \
					   : realloc_##next(context, p, bytes); \
	} \
	static PA_NOINLINE void free_##how(void *context, void *p) \
	{ \
		if (!owns_##how(context) || PA_UNLIKELY(!pa_heap_free(context, p))) \
			free_##next(context, p); \
	}

ALLOCATOR(by_turns_called, slow)
ALLOCATOR(by_turns, by_turns_called)
ALLOCATOR(by_state_called, slow)
ALLOCATOR(by_state, by_state_called)

/* --- what it calls in a hardened process: heaps that the fast paths must not be given --- */

static struct pa_heap *hardened_heap(struct pa_heap *heap)
{
	bool is_owner = python.has_own_gils ? owns_by_state(heap) : owns_by_turns(heap);

	return is_owner ? heap : heap_of_caller(heap);
}

static void *malloc_hardened(void *context, size_t bytes)
{
	struct pa_heap *heap = hardened_heap(context);

	return heap ? pa_harden_allocate(heap, 1, bytes, false) : pa_malloc(bytes);
}

static void *calloc_hardened(void *context, size_t count, size_t each)
{
	struct pa_heap *heap = hardened_heap(context);
	size_t bytes;

	if (__builtin_mul_overflow(count, each, &bytes))
		return NULL;
	return heap ? pa_harden_allocate(heap, 1, bytes, true) : pa_calloc(bytes);
}

static void *realloc_hardened(void *context, void *p, size_t bytes)
{
	struct pa_heap *heap = hardened_heap(context);

	if (!p)
		return malloc_hardened(context, bytes);
	return heap ? pa_harden_reallocate(heap, p, bytes, "PyMem_Realloc")
		    : pa_realloc(p, bytes, "PyMem_Realloc");
}

static void free_hardened(void *context, void *p)
{
	struct pa_heap *heap = hardened_heap(context);

	if (!p)
		return;
	if (heap)
		pa_harden_free(heap, p, PA_HARDEN_ANY_SIZE, "PyMem_Free");
	else
		pa_free(p, "PyMem_Free");
}

#define FUNCTIONS(how, heap) \
	{ \
		.context = (heap), .malloc = malloc_##how, .calloc = calloc_##how, \
		.realloc = realloc_##how, .free = free_##how \
	}

/* --- installation --- */

const char *pa_python_version(char *buffer, size_t bytes)
{
	if (!Py_GetVersion)
		return NULL;
	const char *full = Py_GetVersion(); /* "3.11.7 (main, …) [GCC …]" */
	size_t length = pa_min(strcspn(full, " "), bytes - 1);
	memcpy(buffer, full, length);
	buffer[length] = 0;
	return buffer;
}

/* The minor version of CPython 3, 0 for any other. */
static unsigned minor_version(void)
{
	const char *full = Py_GetVersion ? Py_GetVersion() : "";
	unsigned minor = 0;

	if (strncmp(full, "3.", 2) != 0)
		return 0;
	for (full += 2; *full >= '0' && *full <= '9'; full++)
		minor = minor * 10 + (unsigned)(*full - '0');
	return minor;
}

static bool is_free_threaded(void)
{
	return strstr(Py_GetVersion(), "free-threading") != NULL;
}

/* A place to look at where the fast path finds nothing that it knows. */
static uintptr_t where_no_state_is(void)
{
	static const void *no_state = &no_state;
	static __thread const void *no_state_of_thread __attribute__((tls_model("initial-exec")));

	return python.has_own_gils ? (uintptr_t)&no_state_of_thread - pa_thread_identity()
				   : (uintptr_t)&no_state;
}

static bool is_gil_free(void)
{
	return python.has_own_gils ? pa_state_is_gil_free(pa_load_relaxed(&python.gil_where))
				   : !python.current_state();
}

/*
 * Of an idle process: whether no thread holds the GIL of the heap's interpreter.  First the fast path is
 * made to miss, for whoever comes from here on; a barrier makes that known before the GIL is looked
 * at.  So a thread that is not seen there yet sees the mark, and waits for the heap's lock.  Another
 * barrier brings what the last one has written.  One that had not seen the lock may have noted its turn
 * (or its interpreter) meanwhile, over the mark, and let go of the GIL: it would not miss when it comes
 * again.  While CPython is being ended, it is not initialized any more before the state goes.
 */
static bool is_without_gil(struct pa_heap *heap)
{
	static const char nobody;

	pa_store_relaxed(&heap->gil_state, &nobody);
	return pa_os_barrier() && is_gil_free() && pa_os_barrier() &&
	       pa_load_relaxed(&heap->gil_state) == &nobody && Py_IsInitialized();
}

static bool purge_unused(void)
{
	struct pa_heap *heap = python.heap;

	if (python.has_own_gils && !pa_load_relaxed(&python.gil_where))
		return false;
	/* The first barrier of all takes the kernel milliseconds to prepare: none for anybody to wait for. */
	return heap->state != PA_HEAP_QUARANTINED && pa_os_barrier() &&
	       pa_heap_purge_unused(heap, is_without_gil, ARENAS_AT_ONCE);
}

bool pa_python_install(void)
{
	unsigned minor = minor_version();

	if (minor < 7 || is_free_threaded() || !PyMem_SetAllocator || !Py_IsInitialized)
		return false;
	python.has_own_gils = minor >= 12;
	python.current_state =
		PyThreadState_GetUnchecked ? PyThreadState_GetUnchecked : _PyThreadState_UncheckedGet;
	if (!python.current_state ||
	    (python.has_own_gils ? !PyThreadState_GetInterpreter || !PyInterpreterState_Main
				 : !PyGILState_GetThisThreadState))
		return false;
	python.heap = pa_heap_acquire(PA_HEAP_INTERPRETER);
	if (!python.heap)
		return false;
	python.state_place = pa_state_find(python.current_state);
	pa_store_relaxed(&python.state_where, where_no_state_is());
	struct py_allocator by_turns = FUNCTIONS(by_turns, python.heap);
	struct py_allocator by_state = FUNCTIONS(by_state, python.heap);
	struct py_allocator hardened = FUNCTIONS(hardened, python.heap);
	struct py_allocator *allocator = pa_is_hardened()      ? &hardened
					 : python.has_own_gils ? &by_state
							       : &by_turns;
	PyMem_SetAllocator(PY_DOMAIN_MEM, allocator);
	PyMem_SetAllocator(PY_DOMAIN_OBJ, allocator);
	pa_idle_set_hook(purge_unused);
	return true;
}

static const char *next_argument(const char *argument)
{
	return argument + strlen(argument) + 1;
}

static bool is_interpreter(const char *program)
{
	const char *slash = strrchr(program, '/');

	return strncmp(slash ? slash + 1 : program, "python", strlen("python")) == 0;
}

/* Up to the script, -c or -m, as CPython reads it: letters, of which W and X take what follows. */
static void read_arguments(const char *argument, bool *ignores_environment, bool *is_dev)
{
	for (; argument[0] == '-' && argument[1]; argument = next_argument(argument)) {
		if (argument[1] == '-') {
			if (!argument[2])
				return;
			argument = next_argument(argument); /* the only one that goes on takes a word */
			continue;
		}
		for (const char *c = argument + 1; *c; c++) {
			if (*c == 'c' || *c == 'm')
				return;
			*ignores_environment |= *c == 'E' || *c == 'I';
			if (*c != 'W' && *c != 'X')
				continue;
			const char *value = c[1] ? c + 1 : (argument = next_argument(argument));
			*is_dev |= *c == 'X' && strcmp(value, "dev") == 0;
			break;
		}
	}
}

static bool is_set(const char *name)
{
	const char *value = getenv(name);

	return value && value[0];
}

const char *pa_python_replaced(void)
{
	char line[4096 + 3] = ""; /* and ends of the last argument, of one that it lacks, and of all */
	bool ignores_environment = false, is_dev = false;

	pa_os_read_file("/proc/self/cmdline", line, sizeof line - 3);
	if (is_interpreter(line))
		read_arguments(next_argument(line), &ignores_environment, &is_dev);
	if (!ignores_environment && is_set("PYTHONMALLOC"))
		return "PYTHONMALLOC is set";
	if (!ignores_environment && is_set("PYTHONDEVMODE"))
		return "PYTHONDEVMODE is set";
	return is_dev ? "-X dev is given" : NULL;
}

size_t pa_python_trim(void)
{
	struct pa_heap *heap = python.heap ? heap_of_caller(python.heap) : NULL;

	if (heap && pa_is_hardened())
		pa_harden_flush(heap);
	return heap ? pa_heap_trim(heap) : 0;
}
