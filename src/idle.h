/* SPDX-License-Identifier: MIT */
/*
 * idle.h: a process that does nothing calls nothing, and yet its reserve has to go back.  While there
 * is a reserve worth it, a thread sleeps, and looks twice a second whether the policy has looked.  If
 * not, it gives back what can be reached without the owners (free arenas, freed large mappings, what is
 * free in heaps that have none, free slots of the others), has the hook do what can be done in the owners' place, and
 * ends.  It also ends before a fork, so that no process is ever forked with it.
 */
#ifndef PA_IDLE_H
#define PA_IDLE_H

#include "base.h"

/* Watch from now on; without this call there is no thread, ever. */
void pa_idle_enable(void);

/* What else to do when the process is idle: a little at each call, as long as it returns true. */
void pa_idle_set_hook(bool (*purge_unused)(void));

/* Before a fork: let the thread end.  Waits for a moment at most. */
void pa_idle_stop(void);

/* In the child, where it is not. */
void pa_idle_after_fork_child(void);

#endif
