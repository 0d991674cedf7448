"""Exact search that skips documents: bounds of blocks of documents, best first (block-max pruning).

Lines lie in a coherent order (building.coherent_order): neighbours share their terms. 64 consecutive lines are a
superblock, 8 a block. For each frequent term three arrays say, for every superblock, where its postings begin, and, for
every superblock and block, its largest impact there in 255 steps, rounded up. A query

1. bounds each superblock: the sum of its weights times the maxima. A term that is not frequent is read posting by
   posting, and its largest impact in the superblock counts.
2. visits superblocks by descending bound, until none can reach the threshold: first the bounds of its eight blocks,
   then, if one of these can reach it, all postings of the superblock, by ascending collection term id and in float64:
   so each sum is the canonical score.

Bounds are float32 sums of at most MOST_TERMS products; the threshold is lowered by _SLACK, which is more than their
rounding errors together. Superblocks are collected in small batches, so that the processor fetches what the next ones
read. Sources: Mallia, Suel, Tonellotto, Faster learned sparse retrieval with block-max pruning, SIGIR 2024; Carlson et
al., Dynamic superblock pruning for fast learned sparse retrieval, SIGIR 2025.
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
_BUCKETS = 256
_BATCH = 12
_AHEAD = 8
_UP = np.float32(1.0 + 1e-6)
_SLACK = np.float32(1.0 - 1e-5)
_SURELY_LESS = 1.0 - 2.0**-23
# Superblocks below this share of the largest bound are sorted only if the threshold turns out to be lower.
_FIRST_SHARE = np.float32(0.35)


class BlockMaxima(NamedTuple):
    """The largest impacts of the frequent terms, 0 .. n_frequent - 1, term by term.

    starts       uint16[n_frequent * n_superblocks]      postings of the window before the superblock's first
    superblocks  uint8[n_frequent * n_superblocks]       largest impact in steps of the term's scale, rounded up
    blocks       uint8[n_frequent * n_superblocks * 8]   the same of each block
    """

    starts: NDArray[np.uint16]
    superblocks: NDArray[np.uint8]
    blocks: NDArray[np.uint8]


class BlockScratch(NamedTuple):
    """What a search writes to.

    bounds  float32[n_superblocks]
    heads   int32[n_superblocks], all -1, and left so: the first run of each superblock
    runs    int64[at least the postings of the query's other terms, 4]: place in the query, first, stop, next run
    order   int32[n_superblocks + 1]      found  int32[n_superblocks + 1]
    """

    bounds: NDArray[np.float32]
    heads: NDArray[np.int32]
    runs: NDArray[np.int64]
    order: NDArray[np.int32]
    found: NDArray[np.int32]


@njit(cache=True, nogil=True)
def fill_maxima(n_frequent, window_entry, entry_terms, entry_start, docs, impacts, scale, starts, superblocks, blocks):
    """Fill a BlockMaxima, zeroed, from unpruned postings in the order of lines.

    scale  float32[n_terms], the impact of one step of each term      others  see `exhaustive.Windows`

    Oracle: oracle.block_maxima.
    """
    n_superblocks = np.int64(len(superblocks)) // max(np.int64(1), n_frequent)
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
                    step = steps_up(impacts[place], scale[term])
                    block = (row + first) * BLOCKS + (np.int64(docs[place]) >> 3)
                    blocks[block] = max(np.int64(blocks[block]), step)
                    superblocks[row + superblock] = max(np.int64(superblocks[row + superblock]), step)
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
    starts, superblocks, blocks,
    scale, line_docs, terms, weights,
    bounds, heads, runs, order, found,
    most_visits, heap,
):  # fmt: skip
    """Put the best documents on the heap and return how many those are; -1 if more superblocks than that are visited.

    window_entry .. impacts   exhaustive.Windows in the order of lines     starts .. blocks   BlockMaxima
    scale      float32[n_terms]                 line_docs  uint32[n_docs], the document of each line
    terms      uint32[m], the query's in the segment's numbers, by ascending collection term id; m <= MOST_TERMS
    weights    float32[m], above 0
    bounds .. found   BlockScratch
    heap       int64[k]

    Oracle: oracle.brute_force over oracle.canonical_scores.
    """
    windows = Windows(window_entry, entry_terms, entry_start, docs, impacts)
    maxima = BlockMaxima(starts, superblocks, blocks)
    m = len(terms)
    n_superblocks = np.int64(len(heads))
    n_frequent = np.int64(len(superblocks)) // max(np.int64(1), n_superblocks)
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
    bound_superblocks(windows, maxima, postings, frequent, steps, weights, bounds, heads, runs)
    top = np.float32(0.0)
    for superblock in range(n_superblocks):
        top = max(top, bounds[superblock])
    size, visits = np.int64(0), np.int64(0)
    most, least = np.float32(np.inf), top * _FIRST_SHARE
    while visits >= 0:
        n = order_superblocks(bounds, least, most, top, order, found)
        size, visits = visit(
            order[:n], windows, maxima, postings, frequent, steps, weights, bounds, heads, runs, line_docs, n_docs,
            visits, most_visits, heap, size,
        )  # fmt: skip
        if least == 0.0 or threshold_of(heap, size) * _SLACK > least:
            break
        most, least = least, np.float32(0.0)
    heads[:] = -1
    return size if visits >= 0 else np.int64(-1)


@njit(cache=True, nogil=True)
def bound_superblocks(windows, maxima, postings, frequent, steps, weights, bounds, heads, runs):
    """Write each superblock's bound, and the runs of the terms that are not frequent: their postings in a superblock.

    postings  int64[m, n_windows, 2], where each term's are      frequent  int64[m], the term's row in maxima, or -1
    steps     float32[m], weight times scale                     others    see `search_blocks`
    """
    docs, impacts, rows = windows.docs, windows.impacts, maxima.superblocks
    n_superblocks = len(bounds)
    bounds[:] = 0.0
    for i in range(len(frequent)):
        if frequent[i] >= 0:
            add_row(rows[frequent[i] : frequent[i] + n_superblocks], steps[i], bounds)
    n = 0
    for i in range(len(frequent)):
        if frequent[i] >= 0:
            continue
        weight = weights[i] * _UP
        for window in range(postings.shape[1]):
            place, last = postings[i, window, 0], postings[i, window, 1]
            first_superblock = window * _PER_WINDOW
            while place < last:
                within = np.int64(docs[place]) >> 6
                # A damaged document stays inside the collection.
                superblock = min(first_superblock + within, n_superblocks - 1)
                first = place
                largest = impact_value(impacts[place])
                place += 1
                while place < last and np.int64(docs[place]) >> 6 == within:
                    largest = max(largest, impact_value(impacts[place]))
                    place += 1
                bounds[superblock] += weight * largest
                runs[n, 0] = i
                runs[n, 1] = first
                runs[n, 2] = place
                runs[n, 3] = heads[superblock]
                heads[superblock] = n
                n += 1


@njit(cache=True, nogil=True)
def add_row(row, step, bounds):
    """Add step times each value of row, uint8[n], to bounds, float32[n]."""
    for j in range(len(bounds)):
        bounds[j] += step * np.float32(row[j])


@njit(cache=True, nogil=True)
def order_superblocks(bounds, least, most, top, order, found):
    """Write the superblocks with a bound above 0 and in least .. most, most excluded, to `order`; return their number.

    By descending bound, in steps of a 256th of the range up to `top`.
    """
    n = np.int64(0)
    for superblock in range(len(bounds)):
        bound = bounds[superblock]
        found[n] = superblock
        n += np.int64((bound >= least) & (bound < most) & (bound > 0.0))
    high = min(top, most)
    share = np.float32(_BUCKETS - 1) / max(high - least, np.float32(1e-30))
    counts = np.zeros(_BUCKETS + 1, dtype=np.int64)
    for j in range(n):
        counts[bucket_of(bounds[found[j]], least, share)] += 1
    place = np.int64(0)
    for bucket in range(_BUCKETS - 1, -1, -1):
        here = counts[bucket]
        counts[bucket] = place
        place += here
    for j in range(n):
        bucket = bucket_of(bounds[found[j]], least, share)
        order[counts[bucket]] = found[j]
        counts[bucket] += 1
    return n


@njit(cache=True, nogil=True)
def bucket_of(bound, least, share):
    """Return the bucket of a bound, 0 .. _BUCKETS - 1."""
    return max(np.int64(0), min(np.int64((bound - least) * share), np.int64(_BUCKETS - 1)))


@njit(cache=True, nogil=True)
def visit(
    order, windows, maxima, postings, frequent, steps, weights, bounds, heads, runs, line_docs, n_docs, visits,
    most_visits, heap, size,
):  # fmt: skip
    """Visit the superblocks of `order` that can reach the threshold; return (the heap's size, visits so far, or -1)."""
    m = len(weights)
    starts_of, blocks_of = maxima.starts, maxima.blocks
    docs, impacts = windows.docs, windows.impacts
    sums = np.zeros(SUPERBLOCK, dtype=np.float64)
    block_bounds = np.empty(BLOCKS, dtype=np.float32)
    batch = np.empty(_BATCH, dtype=np.int64)
    begin = np.empty((_BATCH, m), dtype=np.int64)
    end = np.empty((_BATCH, m), dtype=np.int64)
    place = np.int64(0)
    while place < len(order):
        n = 0
        least = threshold_of(heap, size) * _SLACK
        while place < len(order) and n < _BATCH:
            ahead = np.int64(order[min(place + _AHEAD, len(order) - 1)])
            if bounds[ahead] >= least:
                for i in range(m):
                    if frequent[i] >= 0:
                        prefetch(blocks_of, (frequent[i] + ahead) * BLOCKS)
            superblock = np.int64(order[place])
            place += 1
            if bounds[superblock] < least or (
                largest_bound(superblock, frequent, steps, weights, windows, blocks_of, heads, runs, block_bounds)
                < least
            ):
                continue
            for i in range(m):
                if frequent[i] >= 0:
                    prefetch(starts_of, frequent[i] + superblock)
            batch[n] = superblock
            n += 1
        for b in range(n):
            find_runs(batch[b], frequent, postings, starts_of, heads, runs, begin[b], end[b])
            for i in range(m):
                prefetch(docs, min(begin[b, i], np.int64(len(docs)) - 1))
                prefetch(impacts, min(begin[b, i], np.int64(len(docs)) - 1))
        for b in range(n):
            for i in range(m):
                weight = np.float64(weights[i])
                for p in range(begin[b, i], end[b, i]):
                    sums[np.int64(docs[p]) & (SUPERBLOCK - 1)] += weight * np.float64(impact_value(impacts[p]))
            size = offer_superblock(batch[b], sums, line_docs, n_docs, heap, size)
        visits += n
        if visits > most_visits:
            return size, np.int64(-1)
    return size, visits


@njit(cache=True, nogil=True)
def largest_bound(superblock, frequent, steps, weights, windows, blocks_of, heads, runs, bounds):
    """Return the largest bound of the superblock's blocks."""
    a = b = c = d = e = f = g = h = np.float32(0.0)
    for i in range(len(frequent)):
        if frequent[i] >= 0:
            step = steps[i]
            at = (frequent[i] + superblock) * BLOCKS
            a += step * np.float32(blocks_of[at])
            b += step * np.float32(blocks_of[at + 1])
            c += step * np.float32(blocks_of[at + 2])
            d += step * np.float32(blocks_of[at + 3])
            e += step * np.float32(blocks_of[at + 4])
            f += step * np.float32(blocks_of[at + 5])
            g += step * np.float32(blocks_of[at + 6])
            h += step * np.float32(blocks_of[at + 7])
    if heads[superblock] < 0:
        return max(max(max(a, b), max(c, d)), max(max(e, f), max(g, h)))
    bounds[0], bounds[1], bounds[2], bounds[3], bounds[4], bounds[5], bounds[6], bounds[7] = a, b, c, d, e, f, g, h
    docs, impacts = windows.docs, windows.impacts
    run = np.int64(heads[superblock])
    while run >= 0:
        weight = weights[runs[run, 0]] * _UP
        place, last = runs[run, 1], runs[run, 2]
        while place < last:
            block = (np.int64(docs[place]) >> 3) & (BLOCKS - 1)
            largest = impact_value(impacts[place])
            place += 1
            while place < last and (np.int64(docs[place]) >> 3) & (BLOCKS - 1) == block:
                largest = max(largest, impact_value(impacts[place]))
                place += 1
            bounds[block] += weight * largest
        run = runs[run, 3]
    return bounds.max()


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
def offer_superblock(superblock, sums, line_docs, n_docs, heap, size):
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
                size = offer(key_of(doc, score), heap, size)
                threshold = threshold_of(heap, size)
    sums[:] = 0.0
    return size
