/* SPDX-License-Identifier: MIT */
/*
 * remote_free.pml: blocks freed by others than the owner (free_remote and pa_heap_collect_remote in
 * src/heap.c), each atomic operation a step of its own.  Every block is collected exactly once; a pool
 * whose last block has been collected, and which therefore vanishes, is in nobody's hands any more.
 *
 * The orderings in the code make what is read here visible there; the model itself is sequentially
 * consistent.
 *
 * BROKEN 1: the owner reads the pool's place in the list of pools after it has taken the blocks.  Then
 * somebody may have put the pool there again.
 * BROKEN 2: everybody who frees a block puts the pool into the list, not only who came first.
 */
#define POOLS 2
#define BLOCKS 2 /* of a pool, all freed by others, each by another thread */
#define NONE 255

byte next[POOLS * BLOCKS];  /* block after this one */
byte remote[POOLS];         /* first block freed by others */
byte remote_next[POOLS];    /* pool after this one */
byte remote_pools;          /* first pool that has such blocks */
byte used[POOLS];           /* blocks that have not come back to the owner */
bool is_collected[POOLS * BLOCKS];
byte freeing;               /* threads that still do */

/* Both of a thread's blocks, one of each pool, in an order of its own. */
proctype others(byte thread)
{
	byte pool, block, seen, n;

	for (n : 0 .. POOLS - 1) {
		pool = (n + thread) % POOLS;
		block = pool * BLOCKS + thread;
		seen = remote[pool];
		do
		:: next[block] = seen;
		   atomic {
			   if
			   :: remote[pool] == seen -> remote[pool] = block; break
			   :: else -> seen = remote[pool]
			   fi
		   }
		od;
		if
#if BROKEN != 2
		:: seen != NONE /* who came first puts the pool into the list */
#endif
		:: else ->
		   seen = remote_pools;
		   do
		   :: assert(used[pool] > 0); /* else it is another pool by now */
		      remote_next[pool] = seen;
		      atomic {
			      if
			      :: remote_pools == seen -> remote_pools = pool; break
			      :: else -> seen = remote_pools
			      fi
		      }
		   od
		fi
	}
	freeing--
}

inline collect()
{
	atomic { pool = remote_pools; remote_pools = NONE };
	do
	:: pool == NONE -> break
	:: else ->
#if BROKEN != 1
	   next_pool = remote_next[pool];
#endif
	   atomic { block = remote[pool]; remote[pool] = NONE };
	   assert(block != NONE);
#if BROKEN == 1
	   next_pool = remote_next[pool];
#endif
	   do
	   :: block == NONE -> break
	   :: else ->
	      assert(!is_collected[block] && block / BLOCKS == pool);
	      is_collected[block] = true;
	      used[pool]--;
	      block = next[block]
	   od;
	   pool = next_pool
	od
}

proctype owner()
{
	byte pool, next_pool, block;
	bool is_last;

	do
	:: is_last = freeing == 0;
	   collect();
	   if
	   :: is_last -> break
	   :: else
	   fi
	od;
	for (block : 0 .. POOLS * BLOCKS - 1) {
		assert(is_collected[block])
	}
}

init {
	byte i;

	atomic {
		remote_pools = NONE;
		for (i : 0 .. POOLS - 1) {
			remote[i] = NONE;
			remote_next[i] = NONE;
			used[i] = BLOCKS
		}
		freeing = BLOCKS;
		for (i : 0 .. BLOCKS - 1) {
			run others(i)
		}
		run owner()
	}
}
