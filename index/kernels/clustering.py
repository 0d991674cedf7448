"""Clustering a postings list: which documents lie together in a block."""

from __future__ import annotations

import numpy as np
from numba import njit

from index.kernels.prefetching import prefetch

# First lines are asked for this many documents ahead.
_LINES_AHEAD = 8


# A term that more than one of so many centroids hold is added up for all of them: eight additions are one instruction.
_ROW_OF = 8


# A score that no sum of products lifts above 0.
_CLOSED = np.float32(-1e30)


@njit(cache=True, nogil=True)
def cluster_list(docs, seed, n_centroids, min_size, doc_cut, line_terms, line_bytes, scale, heads, blocks, starts):
    """Cluster one list: reorder it into `blocks`, write the block starts to `starts`, return the number of blocks.

    docs        uint32[n]; the documents          seed  int64     n_centroids  int64, 1 .. n
    min_size    clusters smaller than this are dissolved, as long as another one is left
    doc_cut     heaviest terms of a document looked at; no more than a line holds
    line_terms, line_bytes   see kernels.lines     scale  float32[n_terms]
    heads       int32[power of two above every term], all -1, and left so
    blocks      uint32[n]      starts  int64[n + 1]

    A document goes to the centroid of largest cosine (first among equals) whose cluster has at most twice its share of
    the documents, and one more; if all of them have, to the nearest. Within a block the documents rise.
    Oracle: oracle.cluster_list.
    """
    n = len(docs)
    term_bytes = 64 // line_terms.shape[1]
    width = np.int64(60 // (term_bytes + 1))
    cut = min(np.int64(doc_cut), width)
    mask = len(heads) - 1
    # Centroids: the first of a partial shuffle.
    order = np.arange(n)
    state = (np.int64(seed) * 40503 + 12345) & 0x7FFFFFFF
    for i in range(n_centroids):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        j = i + (state >> 8) % (n - i)
        order[i], order[j] = order[j], order[i]
    # The centroids' terms turned around: heads[term] -> slot -> the centroids that hold the term, with their values.
    values = np.zeros(n_centroids * cut, dtype=np.float32)
    slot_start = np.zeros(n_centroids * cut + 2, dtype=np.int64)
    n_slots = 0
    for c in range(n_centroids):
        line = docs[order[c]]
        squares = np.float32(0.0)
        for p in range(cut):
            steps = line_bytes[line, width * term_bytes + p]
            if steps > 0:
                term = np.int64(line_terms[line, p]) & mask
                values[c * cut + p] = np.float32(steps) * scale[term]
                squares += values[c * cut + p] * values[c * cut + p]
                if heads[term] < 0:
                    heads[term] = n_slots
                    n_slots += 1
                slot_start[heads[term] + 2] += 1
        values[c * cut : (c + 1) * cut] /= np.sqrt(squares)
    n_rows = 0
    row_of = np.full(n_slots, -1, dtype=np.int64)
    for slot in range(n_slots):
        if slot_start[slot + 2] * _ROW_OF > n_centroids:
            row_of[slot] = n_rows
            n_rows += 1
        slot_start[slot + 2] += slot_start[slot + 1]
    held_by = np.empty(slot_start[n_slots + 1], dtype=np.int32)
    held_value = np.empty(slot_start[n_slots + 1], dtype=np.float32)
    rows = np.zeros((n_rows, n_centroids), dtype=np.float32)
    for c in range(n_centroids):
        line = docs[order[c]]
        for p in range(cut):
            if line_bytes[line, width * term_bytes + p] > 0:
                slot = heads[np.int64(line_terms[line, p]) & mask]
                held_by[slot_start[slot + 1]] = c
                held_value[slot_start[slot + 1]] = values[c * cut + p]
                slot_start[slot + 1] += 1
                if row_of[slot] >= 0:
                    rows[row_of[slot], c] = values[c * cut + p]
    full = 2 * n // n_centroids + 2
    nearest = np.full(n, -1, dtype=np.int64)
    sizes = np.zeros(n_centroids, dtype=np.int64)
    alive = np.ones(n_centroids, dtype=np.bool_)
    scores = np.empty(n_centroids, dtype=np.float32)
    # What a score begins with: nothing for a centroid that takes documents, less than nothing for one that does not.
    bases = np.zeros(n_centroids, dtype=np.float32)
    n_open = n_centroids
    for turn in range(2):
        for i in range(n):
            if nearest[i] >= 0:
                continue
            if n_open == 0:
                bases[:] = np.where(alive, np.float32(0.0), _CLOSED)
            scores[:] = bases
            if i + _LINES_AHEAD < n:
                prefetch(line_bytes, np.int64(docs[i + _LINES_AHEAD]))
            line = docs[i]
            for p in range(cut):
                steps = line_bytes[line, width * term_bytes + p]
                if steps > 0:
                    term = np.int64(line_terms[line, p]) & mask
                    slot = heads[term]
                    if slot >= 0:
                        value = np.float32(steps) * scale[term]
                        if row_of[slot] >= 0:
                            row = rows[row_of[slot]]
                            for c in range(n_centroids):
                                scores[c] += value * row[c]
                        else:
                            for entry in range(slot_start[slot], slot_start[slot + 1]):
                                scores[held_by[entry]] += value * held_value[entry]
            found = _first_largest(scores.view(np.int32))
            nearest[i] = found
            sizes[found] += 1
            if sizes[found] == full:
                bases[found] = _CLOSED
                n_open -= 1
        if turn == 1:
            break
        # Dissolve the small clusters, but never the last one.
        alive[:] = sizes >= min_size
        left = np.sum(alive)
        if left == 0 or left == n_centroids:
            break
        n_open = 0
        for c in range(n_centroids):
            if not alive[c]:
                sizes[c] = 0
                bases[c] = _CLOSED
            else:
                bases[c] = np.float32(0.0) if sizes[c] < full else _CLOSED
                n_open += sizes[c] < full
        for i in range(n):
            if not alive[nearest[i]]:
                nearest[i] = -1
    for c in range(n_centroids):
        line = docs[order[c]]
        for p in range(cut):
            heads[np.int64(line_terms[line, p]) & mask] = -1
    # Counting sort by cluster.
    number = np.empty(n_centroids, dtype=np.int64)
    n_blocks = 0
    starts[0] = 0
    for c in range(n_centroids):
        if sizes[c] > 0:
            number[c] = n_blocks
            starts[n_blocks + 1] = starts[n_blocks] + sizes[c]
            n_blocks += 1
    filled = starts[:n_blocks].copy()
    for i in range(n):
        b = number[nearest[i]]
        blocks[filled[b]] = docs[i]
        filled[b] += 1
    return n_blocks


@njit(cache=True, nogil=True)
def _first_largest(bits):
    """Return the place of the largest score, the first among equals.

    bits  int32[n]; scores, float32, as whole numbers: those of 0 and more compare as they do, those below are smaller
    """
    largest = bits[0]
    for c in range(len(bits)):
        largest = max(largest, bits[c])
    place = 0
    while bits[place] != largest:
        place += 1
    return place
