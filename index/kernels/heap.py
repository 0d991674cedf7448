"""One heap for all kernels: the best documents found so far.

A document and its score are one int64, its key: the score in the upper 32 bits, 2**32 - 1 - document in the lower 32.
So keys compare as rankings do: the higher score is the larger key, and of equal scores the smaller document is.

A score is above 0 and one of two kinds, never both in one heap:

* a canonical score, float32. The bits of positive floats compare as the floats do.
* a sketch score, an integer, cut off at 2**31 - 1. `sketches.fill_tables` scales a query so that no sum passes that by
  more than 255 for each of its terms; a damaged file may hold any impacts.

A heap is an int64 array of which `size` places are used, the smallest key first (Williams, Algorithm 232, CACM 1964).
The threshold is the score that a document must beat, or tie with: that of the smallest key once the heap is full.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_LOWER = 0xFFFFFFFF
_LARGEST_SKETCH = 0x7FFFFFFF


@njit(cache=True, nogil=True)
def key_of(doc, score):
    """Return the key of a document with a canonical score, float32 above 0."""
    return (np.int64(np.float32(score).view(np.uint32)) << 32) | (_LOWER - doc)


@njit(cache=True, nogil=True)
def sketch_key_of(doc, score):
    """Return the key of a document with a sketch score, int64 above 0."""
    return (min(np.int64(score), np.int64(_LARGEST_SKETCH)) << 32) | (_LOWER - doc)


@njit(cache=True, nogil=True)
def doc_of(key):
    """Return the document of a key."""
    return _LOWER - (key & _LOWER)


@njit(cache=True, nogil=True)
def threshold_of(heap, size):
    """Return the threshold of canonical scores, float32: 0 until the heap is full."""
    return np.uint32(heap[0] >> 32).view(np.float32) if size == len(heap) else np.float32(0.0)


@njit(cache=True, nogil=True)
def sketch_threshold_of(heap, size):
    """Return the threshold of sketch scores, int64: 0 until the heap is full."""
    return heap[0] >> 32 if size == len(heap) else np.int64(0)


@njit(cache=True, nogil=True)
def offer(key, heap, size):
    """Put the key on the heap if there is room or it is larger than the smallest; return the heap's new size."""
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


@njit(cache=True, nogil=True)
def best_of(keys, ids, scores):
    """Sort the keys of canonical scores; write the best documents to ids, int64[n], scores to scores, float32[n].

    Best first: by descending score, then ascending document. n is at most len(keys).
    """
    keys.sort()
    last = len(keys) - 1
    for i in range(len(ids)):
        key = keys[last - i]
        ids[i] = doc_of(key)
        scores[i] = np.uint32(key >> 32).view(np.float32)
