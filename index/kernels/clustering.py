"""Clustering a postings list: which of its documents lie together in a block.

As Seismic does it (Bruch, Nardini, Rulli, Venturini, SIGIR 2024): some of the list's documents, drawn by chance, are
centroids, and each document joins the nearest, over its heaviest terms. Two things are different, and at 200,000
SPLADE-like documents save a third of the documents scored for the same recall:

* The nearest centroid is the one of largest cosine, not of largest inner product, which heavy centroids win.
* A cluster takes at most twice its share of the documents, since a search that visits a large block pays for all of it.

Clusters that are too small are dissolved once, and their documents join the nearest of the others
(docs/decisions/0105).

The centroids' terms are inverted, so that a document is compared with all centroids in one pass over its terms. A term
of many centroids is added up for all of them in a row, a rare one only where it occurs.

Chance is a linear congruential generator, seeded by the caller, so a list's blocks depend on its documents alone. A
damaged term reads another term's values, never what is past the arrays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from index.kernels.prefetching import prefetch

# How many documents ahead a line is prefetched.
_LINES_AHEAD = 8
# A term that more than one in this many centroids hold is added up for all of them: eight additions are one
# instruction.
_ROW_OF = 8
# A score that no sum of products lifts above 0.
_CLOSED = np.float32(-1e30)


class Centroids(NamedTuple):
    """The centroids' terms, inverted. A term's slot is heads[term], below 0 for one that no centroid holds.

    slot_start   int64[n_slots + 1] into held_by, int32[], and held_value, float32[]: the centroids that hold the term,
                 with its values in them, each centroid of length 1
    row_of       int64[n_slots], the term's row in rows, or -1
    rows         float32[n_rows, n_centroids], the same values of a term of many centroids, 0 where it does not occur
    """

    slot_start: NDArray[np.int64]
    held_by: NDArray[np.int32]
    held_value: NDArray[np.float32]
    row_of: NDArray[np.int64]
    rows: NDArray[np.float32]


@njit(cache=True, nogil=True)
def cluster_list(docs, seed, n_centroids, min_size, doc_cut, line_terms, line_bytes, scale, heads, blocks, starts):
    """Cluster one list: reorder it into `blocks`, write the block starts to `starts`, return the number of blocks.

    docs        uint32[n]; the documents          seed  int64     n_centroids  int64, 1 .. n
    min_size    clusters smaller than this are dissolved, as long as another one is left
    doc_cut     heaviest terms of a document that are compared; no more than a line holds
    line_terms, line_bytes   see kernels.lines     scale  float32[n_terms]
    heads       int32[power of two above every term], all -1, and left so
    blocks      uint32[n]      starts  int64[n + 1]

    A document joins the centroid of largest cosine (first among equals) whose cluster has at most twice its share of
    the documents, and one more; if all of them have, the nearest. Within a block the documents ascend.
    Oracle: oracle.cluster_list.
    """
    n = len(docs)
    width = np.int64(60 // (64 // line_terms.shape[1] + 1))
    cut = min(np.int64(doc_cut), width)
    chosen = draw_centroids(docs, seed, n_centroids)
    centroids = invert_centroids(chosen, cut, line_terms, line_bytes, scale, heads)
    nearest = np.full(n, -1, dtype=np.int64)
    sizes = np.zeros(n_centroids, dtype=np.int64)
    alive = np.ones(n_centroids, dtype=np.bool_)
    full = 2 * n // n_centroids + 2
    place_documents(docs, cut, line_terms, line_bytes, scale, heads, centroids, nearest, sizes, alive, full)
    alive[:] = sizes >= min_size
    left = np.sum(alive)
    # The last cluster is never dissolved.
    if 0 < left < n_centroids:
        for i in range(n):
            if not alive[nearest[i]]:
                nearest[i] = -1
        sizes[~alive] = 0
        place_documents(docs, cut, line_terms, line_bytes, scale, heads, centroids, nearest, sizes, alive, full)
    mask = len(heads) - 1
    for c in range(n_centroids):
        for p in range(cut):
            heads[np.int64(line_terms[chosen[c], p]) & mask] = -1
    return write_blocks(docs, nearest, sizes, blocks, starts)


@njit(cache=True, nogil=True)
def draw_centroids(docs, seed, n_centroids):
    """Return n_centroids of the documents, uint32[n_centroids]: the first of a partial shuffle."""
    n = len(docs)
    order = np.arange(n)
    state = (np.int64(seed) * 40503 + 12345) & 0x7FFFFFFF
    for i in range(n_centroids):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        j = i + (state >> 8) % (n - i)
        order[i], order[j] = order[j], order[i]
    return docs[order[:n_centroids]]


@njit(cache=True, nogil=True)
def invert_centroids(chosen, cut, line_terms, line_bytes, scale, heads):
    """Return Centroids of the documents `chosen`, over their `cut` heaviest terms; their slots are written to heads."""
    n_centroids = len(chosen)
    steps_at = np.int64(60 // (64 // line_terms.shape[1] + 1)) * (64 // line_terms.shape[1])
    mask = len(heads) - 1
    values = np.zeros(n_centroids * cut, dtype=np.float32)
    slot_start = np.zeros(n_centroids * cut + 2, dtype=np.int64)
    n_slots = 0
    for c in range(n_centroids):
        line = chosen[c]
        squares = np.float32(0.0)
        for p in range(cut):
            steps = line_bytes[line, steps_at + p]
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
        line = chosen[c]
        for p in range(cut):
            if line_bytes[line, steps_at + p] > 0:
                slot = heads[np.int64(line_terms[line, p]) & mask]
                held_by[slot_start[slot + 1]] = c
                held_value[slot_start[slot + 1]] = values[c * cut + p]
                slot_start[slot + 1] += 1
                if row_of[slot] >= 0:
                    rows[row_of[slot], c] = values[c * cut + p]
    return Centroids(slot_start, held_by, held_value, row_of, rows)


@njit(cache=True, nogil=True)
def place_documents(docs, cut, line_terms, line_bytes, scale, heads, centroids, nearest, sizes, alive, full):
    """Write to `nearest` the cluster of each document that has none yet (-1), and count the clusters' documents.

    sizes  int64[n_centroids], added to     alive  bool[n_centroids], false for one that takes no document
    full   the number of documents from which a cluster takes none as long as another one does
    """
    slot_start, held_by, held_value = centroids.slot_start, centroids.held_by, centroids.held_value
    row_of, rows = centroids.row_of, centroids.rows
    n_centroids = len(sizes)
    steps_at = np.int64(60 // (64 // line_terms.shape[1] + 1)) * (64 // line_terms.shape[1])
    mask = len(heads) - 1
    scores = np.empty(n_centroids, dtype=np.float32)
    # What a score begins with: 0 for a centroid that takes documents, less for one that does not.
    bases = np.full(n_centroids, _CLOSED, dtype=np.float32)
    n_open = 0
    for c in range(n_centroids):
        if alive[c] and sizes[c] < full:
            bases[c] = 0.0
            n_open += 1
    for i in range(len(docs)):
        if nearest[i] >= 0:
            continue
        if n_open == 0:
            bases[:] = np.where(alive, np.float32(0.0), _CLOSED)
        scores[:] = bases
        if i + _LINES_AHEAD < len(docs):
            prefetch(line_bytes, np.int64(docs[i + _LINES_AHEAD]))
        line = docs[i]
        for p in range(cut):
            steps = line_bytes[line, steps_at + p]
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
        found = first_largest(scores.view(np.int32))
        nearest[i] = found
        sizes[found] += 1
        if sizes[found] == full:
            bases[found] = _CLOSED
            n_open -= 1


@njit(cache=True, nogil=True)
def first_largest(bits):
    """Return the place of the largest score, the first among equals.

    bits  int32[n]; scores, float32, as integers: those of 0 and more compare as they do, those below are smaller
    """
    largest = bits[0]
    for c in range(len(bits)):
        largest = max(largest, bits[c])
    place = 0
    while bits[place] != largest:
        place += 1
    return place


@njit(cache=True, nogil=True)
def write_blocks(docs, nearest, sizes, blocks, starts):
    """Write the documents to `blocks` cluster by cluster, the block starts to `starts`; return the number of blocks.

    A counting sort: documents of a cluster stay in their order, a cluster without documents is no block.
    """
    number = np.empty(len(sizes), dtype=np.int64)
    n_blocks = 0
    starts[0] = 0
    for c in range(len(sizes)):
        if sizes[c] > 0:
            number[c] = n_blocks
            starts[n_blocks + 1] = starts[n_blocks] + sizes[c]
            n_blocks += 1
    filled = starts[:n_blocks].copy()
    for i in range(len(docs)):
        b = number[nearest[i]]
        blocks[filled[b]] = docs[i]
        filled[b] += 1
    return n_blocks
