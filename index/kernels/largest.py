"""The k largest of many keys, by selection.

A heap (kernels.heap) knows the k-th largest key after every offer, which costs a walk of log k steps for each key that
gets in. Where k is large most keys of the first windows get in, and the heap takes most of a search. Here keys are
collected in a buffer with room for more than k; when it is full, quickselect keeps the k largest (Hoare, Algorithm 65,
CACM 1961). A key then costs a few nanoseconds whatever k is; the threshold is that of the last selection, so it may be
too low, never too high.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Of how many sums `threshold_from_sample` looks at one; for a large k, of fewer.
STEP = 64
_SMALL_STEP = 16
_LARGE_K = 128


@njit(cache=True, nogil=True)
def score_of(key):
    """Return the canonical score of a key, float32 (see kernels.heap)."""
    return np.uint32(key >> 32).view(np.float32)


@njit(cache=True, nogil=True)
def select_largest(keys, size, k):
    """Bring the k largest of keys[:size] to its front, in any order; return the smallest of them.

    keys  int64[at least size]      k  int64, 1 .. size         Oracle: sorting.
    """
    low, high, wanted = np.int64(0), np.int64(size - 1), np.int64(k - 1)
    while low < high:
        first, middle, last = keys[low], keys[(low + high) >> 1], keys[high]
        pivot = max(min(first, middle), min(max(first, middle), last))
        i, j = low, high
        while i <= j:
            while keys[i] > pivot:
                i += 1
            while keys[j] < pivot:
                j -= 1
            if i <= j:
                keys[i], keys[j] = keys[j], keys[i]
                i += 1
                j -= 1
        if wanted <= j:
            high = j
        elif wanted >= i:
            low = i
        else:
            break
    return keys[k - 1]


@njit(cache=True, nogil=True)
def keep(key, k, keys, size, threshold):
    """Add a key to the buffer; if that is then full, keep its k largest. Return (how many it holds, the threshold).

    keys  int64[more than k], of which `size` are used      threshold  float32, raised by a selection
    """
    keys[size] = key
    if size + 1 < len(keys):
        return size + 1, threshold
    return np.int64(k), score_of(select_largest(keys, size + 1, k))


@njit(cache=True, nogil=True)
def threshold_from_sample(sums, k, sample):
    """Return a float32 that at least k of the sums, rounded to float32, reach; 0 if none was found.

    sums    float64[n], at least 0      sample  int64[at least n / 16 + 1], written

    Every 64th sum is looked at, or every 16th. The value that about k sums should exceed is read from these, and
    counted: so it is a bound, not an estimate. It is a little low, so that the count hardly ever fails.
    """
    n = np.int64(0)
    step = STEP if k < _LARGE_K else _SMALL_STEP
    for place in range(0, len(sums), step):
        # The bits of positive floats compare as the floats do.
        sample[n] = np.float64(sums[place]).view(np.int64)
        n += 1
    share = k / step
    rank = np.int64(share + 2.0 * np.sqrt(share) + 2.0)
    if rank > n:
        return np.float32(0.0)
    value = np.int64(select_largest(sample, n, rank)).view(np.float64)
    reached = np.int64(0)
    for place in range(len(sums)):
        reached += np.int64(sums[place] >= value)
    return np.float32(value) if reached >= k else np.float32(0.0)
