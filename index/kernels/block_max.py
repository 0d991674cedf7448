"""Exact search that skips documents: bounds of blocks of documents, best first (block-max pruning).

Lines lie in a coherent order (building.coherent_order): neighbours share their terms. 8 consecutive lines are a block,
8 blocks a superblock. For each frequent term two arrays say where its postings begin in every superblock, and, for
every block, its largest impact there in 255 steps, rounded up. A query

1. bounds each block, window by window: the sum of its weights times the maxima. That is a few rows of bytes, read from
   end to end, eight or sixteen blocks at a time. A term that is not frequent is read posting by posting. A
   superblock's bound is the largest of its blocks'.
2. visits superblocks by descending bound, until none can reach the threshold: all postings are added up by ascending
   collection term id and in float64, so each sum is the canonical score.

Bounds are float32 sums of at most MOST_TERMS products; the threshold is lowered by _SLACK, which is more than their
rounding errors together. What the next visits read is prefetched. Bounds of superblocks of their own were tried and
left out: for queries of more than five terms they exclude little (docs/decisions/0126). Sources: Mallia, Suel,
Tonellotto, Faster learned sparse retrieval with block-max pruning, SIGIR 2024; Carlson et al., Dynamic superblock
pruning for fast learned sparse retrieval, SIGIR 2025.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from index.kernels.exhaustive import WINDOW, Windows, find_entry
from index.kernels.heap import key_of, offer, threshold_of
from index.kernels.lines import impact_value
from index.kernels.prefetching import prefetch

SUPERBLOCK = 64
BLOCK = 8
BLOCKS = SUPERBLOCK // BLOCK
MOST_TERMS = 100
_PER_WINDOW = WINDOW // SUPERBLOCK
# How many visits ahead postings are prefetched; where they begin, twice as many.
_AHEAD = 12
_UP = np.float32(1.0 + 1e-6)
_SLACK = np.float32(1.0 - 1e-5)
_SURELY_LESS = 1.0 - 2.0**-23
_BUCKETS = 256
# The least superblocks to begin with, and by what the level is multiplied until that many reach it.
_FIRST = 16
_NARROWER = np.float32(0.93)
_TINY = np.float32(1e-37)
# Bounds that are compared at a time.
_SPAN = 32


class BlockMaxima(NamedTuple):
    """The largest impacts of the frequent terms, 0 .. n_frequent - 1, term by term.

    starts   uint16[n_frequent * n_superblocks]      postings of the window before the superblock's first
    blocks   uint8[n_frequent * n_superblocks * 8]   largest impact in steps of the term's scale, rounded up
    """

    starts: NDArray[np.uint16]
    blocks: NDArray[np.uint8]


class BlockScratch(NamedTuple):
    """What a search writes to.

    bounds  float32[n_superblocks]      sums  float32[8 * superblocks of a window], the bounds of a window's blocks
    heads   int32[n_superblocks], all -1, and left so: the first run of each superblock
    runs    int64[at least the postings of the query's other terms, 4]: place in the query, first, stop, next run
    found, order   int32[n_superblocks + 1]
    """

    bounds: NDArray[np.float32]
    sums: NDArray[np.float32]
    heads: NDArray[np.int32]
    runs: NDArray[np.int64]
    found: NDArray[np.int32]
    order: NDArray[np.int32]


@njit(cache=True, nogil=True)
def fill_maxima(n_frequent, window_entry, entry_terms, entry_start, docs, impacts, scale, starts, blocks):
    """Fill a BlockMaxima, zeroed, from unpruned postings in the order of lines.

    scale  float32[n_terms], the impact of one step of each term      others  see `exhaustive.Windows`

    Oracle: oracle.block_maxima.
    """
    n_superblocks = np.int64(len(starts)) // max(np.int64(1), n_frequent)
    for window in range(len(window_entry) - 1):
        first = np.int64(window) * _PER_WINDOW
        stop = min(n_superblocks, first + _PER_WINDOW)
        for term in range(n_frequent):
            entry = find_entry(entry_terms, window_entry[window], window_entry[window + 1], np.int64(term))
            if entry < 0:
                continue
            place, last = entry_start[entry], entry_start[entry + 1]
            row = term * n_superblocks
            for superblock in range(first, stop):
                starts[row + superblock] = place - entry_start[entry]
                end = (superblock - first + 1) * SUPERBLOCK
                while place < last and np.int64(docs[place]) < end:
                    block = (row + first) * BLOCKS + (np.int64(docs[place]) >> 3)
                    blocks[block] = max(np.int64(blocks[block]), steps_up(impacts[place], scale[term]))
                    place += 1


@njit(cache=True, nogil=True)
def steps_up(stored, scale):
    """Return an impact in steps of its term's scale, rounded up: 1 .. 255."""
    steps = np.int64(np.ceil(np.float64(impact_value(stored)) / np.float64(scale)))
    return min(max(steps, np.int64(1)), np.int64(255))


@njit(cache=True, nogil=True)
def search_blocks(
    n_docs,
    window_entry, entry_terms, entry_start, docs, impacts,
    starts, blocks,
    scale, line_docs, terms, weights, allowed,
    bounds, sums, heads, runs, found, order,
    most_visits, heap,
):  # fmt: skip
    """Put the best documents on the heap and return how many those are; -1 if more superblocks than that would count.

    window_entry .. impacts   exhaustive.Windows in the order of lines     starts, blocks   BlockMaxima
    scale      float32[n_terms]                 line_docs  uint32[n_docs], the document of each line
    terms      uint32[m], the query's in the segment's numbers, by ascending collection term id; m <= MOST_TERMS
    weights    float32[m], above 0
    allowed    bool[n_docs], or bool[0] for every document
    bounds .. found   BlockScratch
    heap       int64[k]

    Oracle: oracle.brute_force over oracle.canonical_scores.
    """
    windows = Windows(window_entry, entry_terms, entry_start, docs, impacts)
    maxima = BlockMaxima(starts, blocks)
    m = len(terms)
    n_superblocks = np.int64(len(heads))
    n_frequent = np.int64(len(starts)) // max(np.int64(1), n_superblocks)
    frequent = np.empty(m, dtype=np.int64)
    steps = np.empty(m, dtype=np.float32)
    postings = np.zeros((m, len(window_entry) - 1, 2), dtype=np.int64)
    for i in range(m):
        frequent[i] = np.int64(terms[i]) * n_superblocks if np.int64(terms[i]) < n_frequent else np.int64(-1)
        steps[i] = weights[i] * scale[terms[i]] * _UP
        for window in range(len(window_entry) - 1):
            entry = find_entry(entry_terms, window_entry[window], window_entry[window + 1], terms[i])
            if entry >= 0:
                postings[i, window, 0] = entry_start[entry]
                postings[i, window, 1] = entry_start[entry + 1]
    bound_superblocks(windows, maxima, postings, frequent, steps, weights, bounds, sums, heads, runs)
    size, _ = visit_best_first(
        windows, maxima, postings, frequent, weights, bounds, heads, runs, line_docs, n_docs, allowed, found, order,
        most_visits, heap,
    )  # fmt: skip
    heads[:] = -1
    return size


@njit(cache=True, nogil=True)
def visit_best_first(
    windows, maxima, postings, frequent, weights, bounds, heads, runs, line_docs, n_docs, allowed, found, order,
    most_visits, heap,
):  # fmt: skip
    """Visit the superblocks by descending bound; return (what `search_blocks` returns, how many were visited).

    First a few with the largest bounds, as they lie: then the threshold is nearly known, and little is left to sort.
    """
    size, visits = np.int64(0), np.int64(0)
    below, sorted_to = np.float32(np.inf), np.float32(np.inf)
    level = np.float32(0.0)
    for superblock in range(len(bounds)):
        level = max(level, bounds[superblock])
    wanted = max(np.int64(_FIRST), np.int64(len(heap)) // 8)
    while level > _TINY and count_between(bounds, level, below) < wanted:
        level *= _NARROWER
    while True:
        level = max(level, _TINY)
        n = find_between(bounds, level, below, found)
        if n > most_visits - visits:
            return np.int64(-1), visits
        if below < np.inf:
            sort_by_bound(found[:n], bounds, level, below, order)
            found, sorted_to = order, (below - level) / np.float32(_BUCKETS - 1) * _UP
        size, visits = visit(
            found[:n], sorted_to, windows, maxima, postings, frequent, weights, bounds, heads, runs, line_docs, n_docs,
            allowed, visits, heap, size,
        )  # fmt: skip
        least = threshold_of(heap, size) * _SLACK
        if least >= level or level <= _TINY:
            return size, visits
        below, level = level, least


@njit(cache=True, nogil=True)
def sort_by_bound(found, bounds, least, most, order):
    """Write the superblocks of `found`, whose bounds are in least .. most, to `order` by descending bound.

    In steps of a 256th of the range.
    """
    share = np.float32(_BUCKETS - 1) / max(most - least, np.float32(1e-30))
    counts = np.zeros(_BUCKETS, dtype=np.int64)
    for superblock in found:
        counts[bucket_of(bounds[superblock], least, share)] += 1
    place = np.int64(0)
    for bucket in range(_BUCKETS - 1, -1, -1):
        here = counts[bucket]
        counts[bucket] = place
        place += here
    for superblock in found:
        bucket = bucket_of(bounds[superblock], least, share)
        order[counts[bucket]] = superblock
        counts[bucket] += 1


@njit(cache=True, nogil=True, inline="always")
def bucket_of(bound, least, share):
    """Return the bucket of a bound, 0 .. _BUCKETS - 1."""
    return max(np.int64(0), min(np.int64((bound - least) * share), np.int64(_BUCKETS - 1)))


@njit(cache=True, nogil=True)
def count_between(bounds, least, below):
    """Return how many bounds are in least .. below, below excluded."""
    n = np.int32(0)
    for superblock in range(len(bounds)):
        n += np.int32((bounds[superblock] >= least) & (bounds[superblock] < below))
    return np.int64(n)


@njit(cache=True, nogil=True)
def find_between(bounds, least, below, found):
    """Write the superblocks that `count_between` counts to `found`, int32[one more], ascending; return their number."""
    n = np.int64(0)
    for first in range(0, len(bounds), _SPAN):
        span = bounds[first : min(first + _SPAN, len(bounds))]
        if count_between(span, least, below) > 0:
            for place in range(len(span)):
                found[n] = first + place
                n += np.int64((span[place] >= least) & (span[place] < below))
    return n


@njit(cache=True, nogil=True)
def bound_superblocks(windows, maxima, postings, frequent, steps, weights, bounds, sums, heads, runs):
    """Write each superblock's bound, and the runs of the terms that are not frequent: their postings in a superblock.

    postings  int64[m, n_windows, 2], where each term's are      frequent  int64[m], the term's row in maxima, or -1
    steps     float32[m], weight times scale                     others    see `search_blocks`
    """
    n_superblocks = np.int64(len(bounds))
    n = np.int64(0)
    for window in range(postings.shape[1]):
        first = np.int64(window) * _PER_WINDOW
        stop = min(n_superblocks, first + _PER_WINDOW)
        own = sums[: (stop - first) * BLOCKS]
        own[:] = 0.0
        add_rows(maxima.blocks, frequent, first * BLOCKS, steps, own)
        for i in range(len(frequent)):
            if frequent[i] < 0:
                n = add_postings(i, postings[i, window], weights[i] * _UP, windows, first, own, heads, runs, n)
        largest_of_blocks(own, bounds[first:stop])


@njit(cache=True, nogil=True)
def add_rows(blocks, frequent, first, steps, sums):
    """Add each frequent term's step times its row of maxima, from block `first` on, to sums; two rows at a time."""
    waiting = np.int64(-1)
    n = np.int64(len(sums))
    for i in range(len(frequent)):
        if frequent[i] < 0:
            continue
        if waiting < 0:
            waiting = i
            continue
        at, other = frequent[waiting] * BLOCKS + first, frequent[i] * BLOCKS + first
        row, second = blocks[at : at + n], blocks[other : other + n]
        step, second_step = steps[waiting], steps[i]
        for j in range(n):
            sums[j] += step * np.float32(row[j]) + second_step * np.float32(second[j])
        waiting = np.int64(-1)
    if waiting >= 0:
        at = frequent[waiting] * BLOCKS + first
        row, step = blocks[at : at + n], steps[waiting]
        for j in range(n):
            sums[j] += step * np.float32(row[j])


@njit(cache=True, nogil=True)
def add_postings(i, place_and_stop, weight, windows, first_superblock, sums, heads, runs, n):
    """Add a term's largest product in each block to sums, and a run for each superblock; return how many there are."""
    docs, impacts = windows.docs, windows.impacts
    place, last = place_and_stop[0], place_and_stop[1]
    # A damaged document stays inside the collection.
    most = np.int64(len(sums)) - 1
    while place < last:
        block = min(np.int64(docs[place]) >> 3, most)
        superblock = first_superblock + (block >> 3)
        runs[n, 0] = i
        runs[n, 1] = place
        while place < last and min(np.int64(docs[place]) >> 3, most) >> 3 == block >> 3:
            here = min(np.int64(docs[place]) >> 3, most)
            largest = np.float32(0.0)
            while place < last and min(np.int64(docs[place]) >> 3, most) == here:
                largest = max(largest, impact_value(impacts[place]))
                place += 1
            sums[here] += weight * largest
        runs[n, 2] = place
        runs[n, 3] = heads[superblock]
        heads[superblock] = n
        n += 1
    return n


@njit(cache=True, nogil=True)
def largest_of_blocks(sums, bounds):
    """Write the largest of each eight sums to bounds."""
    for j in range(len(bounds)):
        own = sums[j * BLOCKS : (j + 1) * BLOCKS]
        a, b = max(own[0], own[1]), max(own[2], own[3])
        c, d = max(own[4], own[5]), max(own[6], own[7])
        bounds[j] = max(max(a, b), max(c, d))


@njit(cache=True, nogil=True)
def visit(
    order, sorted_to, windows, maxima, postings, frequent, weights, bounds, heads, runs, line_docs, n_docs, allowed,
    visits, heap, size,
):  # fmt: skip
    """Visit the superblocks of `order` that can reach the threshold; return (the heap's size, visits so far).

    sorted_to   none has a bound that exceeds that of one before it by more than this
    What a visit reads is prefetched in two steps, since where the postings are must be read first.
    """
    m, n = len(weights), np.int64(len(order))
    starts_of = maxima.starts
    docs, impacts = windows.docs, windows.impacts
    last = np.int64(len(docs)) - 1
    sums = np.zeros(SUPERBLOCK, dtype=np.float64)
    begin = np.empty((_AHEAD, m), dtype=np.int64)
    end = np.empty((_AHEAD, m), dtype=np.int64)
    for place in range(-2 * _AHEAD, n):
        if 0 <= place + 2 * _AHEAD < n:
            for i in range(m):
                if frequent[i] >= 0:
                    prefetch(starts_of, frequent[i] + np.int64(order[place + 2 * _AHEAD]))
        least = threshold_of(heap, size) * _SLACK
        if place >= 0 and bounds[order[place]] + sorted_to < least:
            break
        if place >= 0 and bounds[order[place]] >= least:
            visits += 1
            own = place % _AHEAD
            for i in range(m):
                weight = np.float64(weights[i])
                for p in range(begin[own, i], end[own, i]):
                    sums[np.int64(docs[p]) & (SUPERBLOCK - 1)] += weight * np.float64(impact_value(impacts[p]))
            size = offer_superblock(np.int64(order[place]), sums, line_docs, n_docs, allowed, heap, size)
        if 0 <= place + _AHEAD < n:
            own = (place + _AHEAD) % _AHEAD
            find_runs(np.int64(order[place + _AHEAD]), frequent, postings, starts_of, heads, runs, begin[own], end[own])
            for i in range(m):
                prefetch(docs, min(begin[own, i], last))
                prefetch(impacts, min(begin[own, i], last))
    return size, visits


@njit(cache=True, nogil=True)
def find_runs(superblock, frequent, postings, starts_of, heads, runs, begin, end):
    """Write where each term's postings in the superblock are: begin .. end, int64[m]."""
    window = superblock // _PER_WINDOW
    is_last = (superblock + 1) % _PER_WINDOW == 0 or superblock + 1 == len(heads)
    for i in range(len(frequent)):
        begin[i] = 0
        end[i] = 0
        if frequent[i] >= 0:
            first, stop = postings[i, window, 0], postings[i, window, 1]
            # A damaged start stays inside the term's postings.
            begin[i] = min(first + np.int64(starts_of[frequent[i] + superblock]), stop)
            end[i] = stop if is_last else min(first + np.int64(starts_of[frequent[i] + superblock + 1]), stop)
    run = np.int64(heads[superblock])
    while run >= 0:
        begin[runs[run, 0]] = runs[run, 1]
        end[runs[run, 0]] = runs[run, 2]
        run = runs[run, 3]


@njit(cache=True, nogil=True)
def offer_superblock(superblock, sums, line_docs, n_docs, allowed, heap, size):
    """Offer a superblock's documents to the heap and set the sums to 0; return how many the heap holds then."""
    threshold = threshold_of(heap, size)
    least = np.float64(threshold) * _SURELY_LESS
    above = 0
    for j in range(SUPERBLOCK):
        above += np.int64(sums[j] > least)
    if above > 0:
        for j in range(SUPERBLOCK):
            line = superblock * SUPERBLOCK + j
            score = np.float32(sums[j])
            if score > 0.0 and score >= threshold and line < n_docs:
                doc = min(np.int64(line_docs[line]), n_docs - 1)
                if len(allowed) == 0 or allowed[doc]:
                    size = offer(key_of(doc, score), heap, size)
                    threshold = threshold_of(heap, size)
    sums[:] = 0.0
    return size
