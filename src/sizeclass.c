/* SPDX-License-Identifier: MIT */
/*
 * sizeclass.c: the table of classes, computed by the preprocessor, constant and shared by all.
 */
#include "sizeclass.h"

/*
 * A pool is as few slots as hold eight blocks (four, of the largest) and waste at most one part in 64
 * behind the last one: enough blocks that one straggler does not hold a whole pool for itself, few
 * enough that pools become empty.  Of blocks up to PA_LINEAR_MAX there are 32: pools are come back to for a
 * share of their blocks, and each time takes the slow path.
 */
#define ENOUGH(b) ((b) <= PA_LINEAR_MAX ? 32 : 8)
#define WASTE(b, n) ((n)*PA_SLOT_BYTES % (b))
#define IS_TIGHT(b, n) (WASTE(b, n) * 64 <= (n)*PA_SLOT_BYTES)
#define IS_FIT(b, n) ((n)*PA_SLOT_BYTES / (b) >= ENOUGH(b) && IS_TIGHT(b, n))
#define SLOTS(b) (IS_FIT(b, 1) ? 1 : IS_FIT(b, 2) ? 2 : IS_FIT(b, 3) ? 3 : 4)
#define LEAD(b) ((b) <= PA_LEAD_MAX ? PA_LEAD_BYTES : 0)
#define BLOCKS(b) ((SLOTS(b) * PA_SLOT_BYTES - LEAD(b)) / (b))
#define CLASS(b) { (b), (uint32_t)(((UINT64_C(1) << 32) + (b)-1) / (b)), BLOCKS(b), SLOTS(b) },

#define FOUR(b, step) CLASS(b) CLASS((b) + (step)) CLASS((b) + 2 * (step)) CLASS((b) + 3 * (step))
#define EIGHT(b, step) FOUR(b, step) FOUR((b) + 4 * (step), step)
#define OCTET(b, n) EIGHT((b) + (b) / 32 * (n), (b) / 32)
#define DOUBLING(b) OCTET(b, 1) OCTET(b, 9) OCTET(b, 17) OCTET(b, 25)

const struct pa_class pa_classes[PA_CLASSES + 1] = {
	CLASS(16) /* requests of no bytes */
	EIGHT(16, 16) EIGHT(144, 16) EIGHT(272, 16) EIGHT(400, 16) DOUBLING(512) DOUBLING(1024)
		DOUBLING(2048) DOUBLING(4096) DOUBLING(8192)
	/* Only offset 0 is the start of a run's one block. */
	{ .block_bytes = 0, .reciprocal = 1, .blocks = 1, .slots = 0 },
};

unsigned pa_class_of_aligned(size_t bytes, size_t align)
{
	unsigned class_index = pa_class_of(pa_round_up(pa_max(bytes, 1), align));

	PA_ASSERT(
		(pa_classes[class_index].block_bytes & (align - 1)) == 0,
		"every multiple of an alignment, up to the largest class, is in a class of multiples");
	return class_index;
}
