"""Visits of the superblocks that can reach the threshold: the second half of kernels.block_max.

First those with the largest bounds, about as many as hits are wanted: then the threshold is nearly known. Then all
others that can reach it, in the order of lines: neighbours read the same cache lines, which is worth more than a
threshold that rises sooner (docs/decisions/0129). A visit adds up what the query's terms have in a superblock
(kernels.superblock_scores), and scores the documents that may be among the best. What the next visits read is
prefetched.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from index.kernels.bits import bits_between, count_bits, lowest_bit
from index.kernels.exhaustive import WINDOW
from index.kernels.heap import key_of
from index.kernels.largest import keep, score_of, select_largest
from index.kernels.prefetching import prefetch
from index.kernels.superblock_scores import SUPERBLOCK, find_above, score_of_place

# More than the rounding errors of float32 sums of MOST_TERMS products; and than those of two products.
_SLACK = np.float32(1.0 - 1e-5)
_SURELY_LESS = 1.0 - 1e-9
_PER_WINDOW = WINDOW // SUPERBLOCK
# How many visits ahead postings are prefetched; where they begin, twice as many.
_AHEAD = 12
# The least superblocks to begin with, and one over the share by which the level is lowered until that many reach it.
_FIRST = 48
_NARROWER = 14
_SMALLEST = np.float32(1e-45)
# Bounds that are compared at a time: one bit each.
_SPAN = 64


class Lists(NamedTuple):
    """Where the postings of a query's m terms are.

    postings   int64[m, n_windows, 2]: in each window, first and last
    rows       int64[m], where a frequent term's row begins in BlockMaxima.starts; of others, -1 - where it is in starts
    starts     uint16[others * n_superblocks], as BlockMaxima.starts
    weights    float32[m], above 0
    """

    postings: NDArray[np.int64]
    rows: NDArray[np.int64]
    starts: NDArray[np.uint16]
    weights: NDArray[np.float32]


@njit(cache=True, nogil=True)
def visit_promising(windows, starts, lists, bounds, unit, line_docs, n_docs, allowed, found, most_visits, k, keys):
    """Visit the superblocks that can reach the threshold; return what `block_max.search_blocks` returns.

    starts   BlockMaxima.starts      bounds, unit   written and returned by block_bounds.bound_superblocks
    """
    size, threshold = np.int64(0), np.float32(0.0)
    level, below = np.int64(0), np.int64(1) << 16
    for superblock in range(len(bounds)):
        level = max(level, np.int64(bounds[superblock]))
    wanted = max(np.int64(_FIRST), np.int64(k))
    while level > 0 and count_between(bounds, level, below) < wanted:
        level -= level // _NARROWER + 1
    while True:
        level = max(level, np.int64(0))
        n = find_between(bounds, level, below, found)
        most_visits -= n
        if most_visits < 0:
            return np.int64(-1)
        size, threshold = visit(
            found[:n], windows, starts, lists, bounds, unit, line_docs, n_docs, allowed, k, keys, size, threshold
        )
        if size >= k:
            threshold = score_of(select_largest(keys, size, k))
            size = np.int64(k)
        least = least_bound(threshold, unit, len(lists.weights))
        if least >= level or level == 0:
            return size
        below, level = level, least


@njit(cache=True, nogil=True)
def least_bound(threshold, unit, m):
    """Return the least bound, in units, of a superblock in which a document may reach the threshold."""
    return max(np.int64(0), np.int64(np.float64(threshold) * _SURELY_LESS / unit) - m)


@njit(cache=True, nogil=True)
def count_between(bounds, least, below):
    """Return how many bounds, uint16[], are in least .. below, below excluded; 0 <= least < below <= 65,536."""
    n = np.int64(0)
    whole = np.int64(len(bounds)) & -_SPAN
    for first in range(0, whole, _SPAN):
        n += count_bits(bits_between(bounds, first, np.uint16(least), np.uint16(below - 1)))
    for superblock in range(whole, len(bounds)):
        n += np.int64(least <= np.int64(bounds[superblock]) < below)
    return n


@njit(cache=True, nogil=True)
def find_between(bounds, least, below, found):
    """Write the superblocks that `count_between` counts to `found`, int32[one more], ascending; return their number."""
    n = np.int64(0)
    whole = np.int64(len(bounds)) & -_SPAN
    for first in range(0, whole, _SPAN):
        bits = bits_between(bounds, first, np.uint16(least), np.uint16(below - 1))
        while bits != 0:
            place = lowest_bit(bits)
            bits &= ~(np.int64(1) << place)
            found[n] = first + place
            n += 1
    for superblock in range(whole, len(bounds)):
        found[n] = superblock
        n += np.int64(least <= np.int64(bounds[superblock]) < below)
    return n


@njit(cache=True, nogil=True)
def visit(found, windows, starts, lists, bounds, unit, line_docs, n_docs, allowed, k, keys, size, threshold):
    """Visit the superblocks of `found` that can reach the threshold; return (how many keys, the threshold).

    What a visit reads is prefetched in two steps, since where the postings are must be read first.
    """
    postings, rows, own_starts, weights = lists.postings, lists.rows, lists.starts, lists.weights
    docs, impacts = windows.docs, windows.impacts
    m, n, last = np.int64(len(weights)), np.int64(len(found)), np.int64(len(docs)) - 1
    begin, end = np.empty(_AHEAD * m, dtype=np.int64), np.empty(_AHEAD * m, dtype=np.int64)
    held, sums = np.empty(m, dtype=np.int64), np.empty(SUPERBLOCK, dtype=np.float64)
    for place in range(-2 * _AHEAD, n):
        if 0 <= place + 2 * _AHEAD < n:
            for i in range(m):
                if rows[i] >= 0:
                    prefetch(starts, rows[i] + np.int64(found[place + 2 * _AHEAD]))
        least = least_bound(threshold, unit, m)
        if place >= 0 and np.int64(bounds[found[place]]) >= least:
            row = place % _AHEAD
            above = find_above(docs, impacts, begin, end, row, weights, held, sums, max(threshold * _SLACK, _SMALLEST))
            while above != 0:
                in_superblock = lowest_bit(above)
                above &= ~(np.int64(1) << in_superblock)
                line = np.int64(found[place]) * SUPERBLOCK + in_superblock
                score = score_of_place(in_superblock, held, begin, row, weights, impacts)
                if score > 0.0 and score >= threshold and line < n_docs:
                    doc = min(np.int64(line_docs[line]), n_docs - 1)
                    if len(allowed) == 0 or allowed[doc]:
                        size, threshold = keep(key_of(doc, score), k, keys, size, threshold)
        if 0 <= place + _AHEAD < n and np.int64(bounds[found[place + _AHEAD]]) >= least:
            row = (place + _AHEAD) % _AHEAD
            superblock = np.int64(found[place + _AHEAD])
            find_runs(superblock, np.int64(len(bounds)), starts, postings, rows, own_starts, begin, end, row)
            for i in range(m):
                prefetch(docs, min(begin[row * m + i], last))
                prefetch(impacts, min(begin[row * m + i], last))
    return size, threshold


@njit(cache=True, nogil=True)
def find_runs(superblock, n_superblocks, starts, postings, rows, own_starts, begin, end, row):
    """Write where each term's postings in the superblock are: begin .. end, int64[rows * m], in this row."""
    m = np.int64(len(rows))
    window = superblock // _PER_WINDOW
    is_last = (superblock + 1) % _PER_WINDOW == 0 or superblock + 1 == n_superblocks
    for i in range(m):
        first, stop = postings[i, window, 0], postings[i, window, 1]
        if rows[i] >= 0:
            at = rows[i] + superblock
            before, until = np.int64(starts[at]), np.int64(0) if is_last else np.int64(starts[at + 1])
        else:
            at = superblock - rows[i] - 1
            before, until = np.int64(own_starts[at]), np.int64(0) if is_last else np.int64(own_starts[at + 1])
        # A damaged start stays inside the term's postings.
        begin[row * m + i] = min(first + before, stop)
        end[row * m + i] = stop if is_last else min(first + until, stop)
