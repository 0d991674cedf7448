"""Exact search that skips documents: bounds of blocks of documents (block-max pruning).

Lines lie in a coherent order (building.coherent_order): neighbours share their terms. 8 consecutive lines are a block,
8 blocks a superblock. For each frequent term two arrays say where its postings begin in every superblock, and, for
every block, its largest impact there in 255 steps, rounded up. A query

1. bounds each block, window by window: the sum of its weights times the maxima. That is a few rows of bytes, read from
   end to end, 32 blocks at a time. A term that is not frequent is read posting by posting. A
   superblock's bound is the largest of its blocks' (kernels.block_bounds).
2. visits the superblocks whose bounds reach the threshold (kernels.block_visits).

Bounds of superblocks of their own were tried and left out: for queries of more than five terms they exclude little
(docs/decisions/0126). Sources: Mallia, Suel, Tonellotto, Faster learned sparse retrieval with block-max pruning, SIGIR
2024; Carlson et al., Dynamic superblock pruning for fast learned sparse retrieval, SIGIR 2025.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from index.kernels.block_bounds import BLOCKS, STEPS, BlockMaxima, bound_superblocks
from index.kernels.block_visits import Lists, visit_promising
from index.kernels.exhaustive import WINDOW, Windows, find_entry
from index.kernels.lines import impact_value
from index.kernels.superblock_scores import SUPERBLOCK

MOST_TERMS = 100
_PER_WINDOW = WINDOW // SUPERBLOCK


class BlockScratch(NamedTuple):
    """What a search writes to.

    bounds  uint16[n_superblocks]       sums  uint16[8 * superblocks of a window], the bounds of a window's blocks
    starts  uint16[at least n_superblocks for each of the query's terms that are not frequent], as BlockMaxima.starts
    found   int32[n_superblocks + 1]
    """

    bounds: NDArray[np.uint16]
    sums: NDArray[np.uint16]
    starts: NDArray[np.uint16]
    found: NDArray[np.int32]


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
    bounds, sums, own_starts, found,
    most_visits, k, keys,
):  # fmt: skip
    """Write the keys of the best documents (kernels.heap), in any order; return how many those are: at most k.

    Returned is -1 if more superblocks than `most_visits` would count.

    window_entry .. impacts   exhaustive.Windows in the order of lines     starts, blocks   BlockMaxima
    scale      float32[n_terms]                 line_docs  uint32[n_docs], the document of each line
    terms      uint32[m], the query's in the segment's numbers, by ascending collection term id; m <= MOST_TERMS
    weights    float32[m], above 0
    allowed    bool[n_docs], or bool[0] for every document
    bounds .. found   BlockScratch
    keys       int64[more than k]: with room for more, fewer selections are made (kernels.largest)

    Oracle: oracle.brute_force over oracle.canonical_scores.
    """
    windows = Windows(window_entry, entry_terms, entry_start, docs, impacts)
    m, n_windows = len(terms), np.int64(len(window_entry)) - 1
    n_superblocks = np.int64(len(bounds))
    n_frequent = np.int64(len(starts)) // max(np.int64(1), n_superblocks)
    rows = np.empty(m, dtype=np.int64)
    largest = np.empty(m, dtype=np.float64)
    postings = np.zeros((m, n_windows, 2), dtype=np.int64)
    others = np.int64(0)
    for i in range(m):
        rows[i] = np.int64(terms[i]) * n_superblocks
        if np.int64(terms[i]) >= n_frequent:
            rows[i] = -1 - others * n_superblocks
            others += 1
        largest[i] = np.float64(weights[i]) * np.float64(scale[terms[i]]) * STEPS
        for window in range(n_windows):
            entry = find_entry(entry_terms, window_entry[window], window_entry[window + 1], terms[i])
            if entry >= 0:
                postings[i, window, 0] = entry_start[entry]
                postings[i, window, 1] = entry_start[entry + 1]
    lists = Lists(postings, rows, own_starts[: others * n_superblocks], weights)
    unit = bound_superblocks(windows, BlockMaxima(starts, blocks), lists, largest, bounds, sums)
    return visit_promising(
        windows, starts, lists, bounds, unit, line_docs, n_docs, allowed, found, most_visits, k, keys
    )
