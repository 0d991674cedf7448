"""One heap for all kernels: the k best documents, each one number."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def bar_of(heap, size):
    """Return the k-th score so far, or 0 as long as there are fewer than k."""
    return np.uint32(heap[0] >> 32).view(np.float32) if size == len(heap) else np.float32(0.0)


@njit(cache=True, nogil=True)
def offer_document(doc, score, allowed, heap, size):
    """Offer the document to the heap if it is allowed, and return how many that holds then."""
    if len(allowed) == 0 or allowed[doc]:
        return _offer((np.int64(np.float32(score).view(np.uint32)) << 32) | (0xFFFFFFFF - doc), heap, size)
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
