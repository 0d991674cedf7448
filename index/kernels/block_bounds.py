"""Bounds of superblocks, the first half of kernels.block_max: no document in one has a higher score.

A bound is a sum over the query's terms, in units: 64,000 of them are the sum of the terms' largest products, so that
sums fit into uint16, and 32 blocks are added up at a time. What rounding down loses, less than a unit for each term, is
.1 % of a usual threshold; see `block_visits.least_bound`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import config, njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from index.kernels.exhaustive import WINDOW
from index.kernels.lines import impact_value
from index.kernels.superblock_scores import SUPERBLOCK
from index.kernels.vector_code import I8, I16, constant, data_of, repeat, upper_half, vector, vector_at

BLOCK = 8
BLOCKS = SUPERBLOCK // BLOCK
# The steps of a block maximum.
STEPS = 255
UNITS = 64_000.0
_PER_WINDOW = WINDOW // SUPERBLOCK
_UP = 1.0 + 1e-6
# Blocks that are added up at a time.
_WIDE = 32
_SHIFT = 8


class BlockMaxima(NamedTuple):
    """The largest impacts of the frequent terms, 0 .. n_frequent - 1, term by term.

    starts   uint16[n_frequent * n_superblocks]      postings of the window before the superblock's first
    blocks   uint8[n_frequent * n_superblocks * 8]   largest impact in steps of the term's scale, rounded up
    """

    starts: NDArray[np.uint16]
    blocks: NDArray[np.uint8]


if config.DISABLE_JIT:  # type: ignore[attr-defined]

    def add_wide(sums, j, blocks, at, other, factor, second_factor):
        """Do the same in plain Python."""
        for place in range(_WIDE):
            steps, others = int(blocks[at + place]), int(blocks[other + place])
            sums[j + place] += ((steps * int(factor)) >> _SHIFT) + ((others * int(second_factor)) >> _SHIFT)

else:

    @intrinsic
    def add_wide(typingctx, sums, j, blocks, at, other, factor, second_factor):  # noqa: ARG001
        """Add 32 maxima of two rows, blocks[at:at + 32] and blocks[other:other + 32], to sums[j:j + 32]."""

        def codegen(context, builder, signature, arguments):
            sums, blocks = (data_of(context, builder, signature.args[place], arguments[place]) for place in (0, 2))
            target = vector_at(builder, builder.gep(sums, [arguments[1]]), I16, _WIDE)
            total = builder.load(target)
            total.align = 2
            for at, factor in zip(arguments[3:5], arguments[5:], strict=True):
                steps = builder.load(vector_at(builder, builder.gep(blocks, [at]), I8, _WIDE))
                steps.align = 1
                steps = builder.shl(builder.zext(steps, vector(I16, _WIDE)), constant(I16, _WIDE, 16 - _SHIFT))
                upper = upper_half(builder, steps, repeat(builder, factor, _WIDE))
                total = builder.add(total, upper)
            builder.store(total, target).align = 2
            return context.get_dummy_value()

        return types.none(sums, types.int64, blocks, types.int64, types.int64, types.uint16, types.uint16), codegen


@njit(cache=True, nogil=True)
def bound_superblocks(windows, maxima, lists, largest, bounds, sums):
    """Write each superblock's bound, and lists.starts; return the unit of the bounds, float64.

    windows   exhaustive.Windows              maxima   BlockMaxima      lists   block_visits.Lists
    largest   float64[m], each term's largest product: weight times scale times 255
    bounds    uint16[n_superblocks]           sums     uint16[8 * superblocks of a window], written

    A bound in units is at least a document's largest score in the superblock, less one unit for each frequent term.
    """
    blocks, docs, impacts = maxima.blocks, windows.docs, windows.impacts
    postings, rows, starts, weights = lists.postings, lists.rows, lists.starts, lists.weights
    n_superblocks, m = np.int64(len(bounds)), len(rows)
    unit = largest.sum() / UNITS
    factors = np.empty(m, dtype=np.uint16)
    for i in range(m):
        # So many 256ths of a unit are a step.
        factors[i] = np.uint16(np.ceil(largest[i] / unit * (_UP * 256 / STEPS)))
    starts[:] = 0
    for window in range(postings.shape[1]):
        first = np.int64(window) * _PER_WINDOW
        stop = min(n_superblocks, first + _PER_WINDOW)
        own = sums[: (stop - first) * BLOCKS]
        own[:] = 0
        add_rows(blocks, rows, first * BLOCKS, factors, own)
        for i in range(m):
            if rows[i] < 0:
                counts = starts[first - rows[i] - 1 : stop - rows[i] - 1]
                place, last = postings[i, window, 0], postings[i, window, 1]
                units, most = np.float32(weights[i] / unit * _UP), np.float32(np.ceil(largest[i] / unit))
                add_postings(docs[place:last], impacts[place:last], units, most, own, counts)
        largest_of_blocks(own, bounds[first:stop])
    return unit


@njit(cache=True, nogil=True)
def add_rows(blocks, rows, first, factors, sums):
    """Add each frequent term's maxima, from block `first` on, in units to sums; two rows at a time."""
    waiting = np.int64(-1)
    for i in range(len(rows)):
        if rows[i] < 0:
            continue
        if waiting < 0:
            waiting = i
            continue
        add_two_rows(
            blocks, rows[waiting] * BLOCKS + first, rows[i] * BLOCKS + first, factors[waiting], factors[i], sums
        )
        waiting = np.int64(-1)
    if waiting >= 0:
        at = rows[waiting] * BLOCKS + first
        add_two_rows(blocks, at, at, factors[waiting], np.uint16(0), sums)


@njit(cache=True, nogil=True)
def add_two_rows(blocks, at, other, factor, second_factor, sums):
    """Add two rows of maxima, each times its factor over 256, rounded down, to sums."""
    n = np.int64(len(sums))
    whole = n - n % _WIDE
    for j in range(0, whole, _WIDE):
        add_wide(sums, j, blocks, at + j, other + j, factor, second_factor)
    for j in range(whole, n):
        sums[j] += (np.uint32(blocks[at + j]) * np.uint32(factor)) >> _SHIFT
        sums[j] += (np.uint32(blocks[other + j]) * np.uint32(second_factor)) >> _SHIFT


@njit(cache=True, nogil=True)
def add_postings(docs, impacts, units, most_units, sums, counts):
    """Add a term's largest product in each block to sums; write how many postings are before each superblock's.

    units, most_units   float32: of an impact of 1, and of the largest

    docs, impacts   the term's in this window      counts  uint16[superblocks of the window], zeroed
    """
    # A damaged document stays inside the collection.
    most = np.int64(len(sums)) - 1
    held = np.int64(-1)
    before, largest = np.int64(0), np.int64(0)
    # Without branches: nothing says beforehand where a block ends.
    for p in range(len(docs)):
        block = min(np.int64(docs[p]) >> 3, most)
        product = np.int64(min(units * impact_value(impacts[p]), most_units)) + 1
        before = before if block == held else np.int64(sums[block])
        largest = max(largest, product) if block == held else product
        sums[block] = before + largest
        counts[block >> 3] += 1
        held = block
    so_far = np.int64(0)
    for superblock in range(len(counts)):
        here = np.int64(counts[superblock])
        counts[superblock] = so_far
        so_far += here


@njit(cache=True, nogil=True)
def largest_of_blocks(sums, bounds):
    """Write the largest of each eight sums to bounds."""
    for j in range(len(bounds)):
        largest = np.uint16(0)
        for block in range(BLOCKS):
            largest = max(largest, sums[j * BLOCKS + block])
        bounds[j] = largest
