"""Exact search over full postings lists: term at a time, in windows of documents.

The query's lists are added up in a window of documents small enough for the processor's cache, one list after the
other, by rising collection term id and in float64: the canonical order, so each sum is the canonical score. Then the
window's documents go to a heap of the k best, and the next window begins where the lists stopped. Windows make the
additions fast: the sums stay in cache whatever the size of the collection (SINDI, in VSAG, does it so as well).
Source of term-at-a-time: Turtle and Flood, Query evaluation: strategies and optimizations, 1995.

What is kept on the heap is one number a document: its score's bits, and below them the document, so that of equal
scores the smaller document is the better one.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numba.extending import overload

_TWO_TO_112 = np.float32(2.0**112)


def impact_value(stored):
    """Return a stored impact as a float32; as in kernels.forward (a kernel and its helpers share a file)."""
    if isinstance(stored, np.uint16):
        return np.uint32(np.uint32(stored) << np.uint32(13)).view(np.float32) * _TWO_TO_112
    return np.float32(stored)


@overload(impact_value, inline="always")
def _impact_value(stored):
    if stored == types.uint16:
        return lambda stored: np.uint32(np.uint32(stored) << np.uint32(13)).view(np.float32) * _TWO_TO_112
    return lambda stored: np.float32(stored)


@njit(cache=True, nogil=True)
def search_lists(first, last, docs, impacts, weights, cursors, stops, allowed, sums, touched, heap, size):
    """Offer the documents first .. last to the heap of the best, and return how many it holds then.

    docs      uint32[nnz], rising in a list       impacts  uint16 (float16 bits)|float32[nnz]
    weights   float32[m], above 0, by rising collection term id
    cursors   int64[m], where each list goes on; left where the documents from `last` on begin
    stops     int64[m], where each list ends
    allowed   bool[n_docs], or bool[0] for every document
    sums      float64[width of a window], zeroed, and left so      touched  int64[width + 1], for use here
    heap      int64[k], of which `size` are used; see `best_of`

    Oracle: oracle.brute_force over oracle.canonical_scores.
    """
    width = len(sums)
    everything = len(allowed) == 0
    for window in range(first, last, width):
        end = min(window + width, last)
        n_touched = 0
        for i in range(len(weights)):
            weight = np.float64(weights[i])
            cursor = cursors[i]
            while cursor < stops[i] and docs[cursor] < end:
                place = np.int64(docs[cursor]) - window
                # A damaged document stays inside of the window.
                if place >= 0:
                    touched[n_touched] = place
                    n_touched += np.int64(sums[place] == 0.0)
                    sums[place] += weight * np.float64(impact_value(impacts[cursor]))
                cursor += 1
            cursors[i] = cursor
        # What does not reach the k-th score so far, and that is nearly everything, costs one comparison.
        bar = np.uint32(heap[0] >> 32).view(np.float32) if size == len(heap) else np.float32(0.0)
        for j in range(n_touched):
            place = touched[j]
            score = np.float32(sums[place])
            sums[place] = 0.0
            if score >= bar and (everything or allowed[window + place]):
                key = (np.int64(np.float32(score).view(np.uint32)) << 32) | (0xFFFFFFFF - (window + place))
                size = _offer(key, heap, size)
                if size == len(heap):
                    bar = np.uint32(heap[0] >> 32).view(np.float32)
    return size


@njit(cache=True, nogil=True)
def best_of(heap, ids, scores):
    """Write the documents and scores of the heap's numbers, best first, to ids int64[n] and scores float32[n]."""
    heap.sort()
    n = len(heap)
    for i in range(n):
        key = heap[n - 1 - i]
        ids[i] = 0xFFFFFFFF - (key & 0xFFFFFFFF)
        scores[i] = np.uint32(key >> 32).view(np.float32)


@njit(cache=True, nogil=True)
def _offer(key, heap, size):
    """Put the number on the heap, smallest at the root, if there is room or it beats the root."""
    n = len(heap)
    if size < n:
        place = size
        while place > 0 and heap[(place - 1) >> 1] > key:
            heap[place] = heap[(place - 1) >> 1]
            place = (place - 1) >> 1
        heap[place] = key
        return size + 1
    if key > heap[0]:
        place = 0
        while 2 * place + 1 < n:
            child = 2 * place + 1
            if child + 1 < n and heap[child + 1] < heap[child]:
                child += 1
            if heap[child] >= key:
                break
            heap[place] = heap[child]
            place = child
        heap[place] = key
    return size
