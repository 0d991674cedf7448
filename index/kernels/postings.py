"""Turning documents around: from lines to postings, a range of documents at a time.

Two kinds of lists come of it. Lists cut to the largest impacts, for candidate search: while documents stream by, a list
collects up to twice what it may keep, then drops the smaller half, so memory is bounded by the lists and not by the
collection. And full lists by windows of documents, for exact search (kernels.exhaustive).
"""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numba.extending import overload


def sort_key(stored):
    """Return 16 bits that compare as the stored impacts do: a float16's own, or the upper half of a float32's."""
    return np.int64(stored) if isinstance(stored, np.uint16) else np.int64(np.float32(stored).view(np.uint32)) >> 16


@overload(sort_key, inline="always")
def _sort_key(stored):
    if stored == types.uint16:
        return lambda stored: np.int64(stored)
    return lambda stored: np.int64(np.float32(stored).view(np.uint32)) >> 16


@njit(cache=True, nogil=True)
def collect_largest(first, last, line_terms, line_links, impacts, n_keep, start, filled, floors, docs, keys):
    """Add the documents with first lines first .. last to the lists that keep each term's `n_keep` largest impacts.

    line_terms, line_links   see kernels.lines     impacts  uint16|float32[n_lines, width]
    start    int64[n_terms + 1] into docs, uint32[], and keys, uint16[]: room for all of a list or for 2 * n_keep
    filled   int64[n_terms], how much of each list's room is used
    floors   int64[n_terms], -1 at first: a key that is no larger cannot be among the largest any more

    `docs` are numbers of first lines, as everywhere in candidate search. They must come by rising number. At the end
    `keep_largest` cuts each list to size. Ties go to the smaller number. Oracle: oracle.largest_postings.
    """
    for doc in range(first, last):
        line = np.int64(doc)
        while True:
            for place in range(impacts.shape[1]):
                if impacts[line, place] == 0:
                    break
                term = np.int64(line_terms[line, place])
                key = sort_key(impacts[line, place])
                if key <= floors[term]:
                    continue
                at = start[term] + filled[term]
                docs[at] = doc
                keys[at] = key
                filled[term] += 1
                if filled[term] == 2 * n_keep:
                    stop = start[term + 1]
                    floors[term] = keep_largest(docs[start[term] : stop], keys[start[term] : stop], n_keep)
                    filled[term] = n_keep
            following = np.int64(line_links[line, 15])
            if following <= line or following >= len(line_links):
                break
            line = following


@njit(cache=True, nogil=True)
def keep_largest(docs, keys, n_keep):
    """Move the `n_keep` documents with the largest keys to the front, in their order; return the smallest key of them.

    docs  uint32[n], rising      keys  uint16[n]      n_keep  int64, 1 .. n

    Ties go to the smaller document. Oracle: oracle.largest_postings.
    """
    # The n_keep-th largest key, high byte first, then low byte.
    counts = np.zeros(256, dtype=np.int64)
    for j in range(len(keys)):
        counts[keys[j] >> 8] += 1
    above = 0
    high = 255
    while above + counts[high] < n_keep:
        above += counts[high]
        high -= 1
    counts[:] = 0
    for j in range(len(keys)):
        if keys[j] >> 8 == high:
            counts[keys[j] & 255] += 1
    low = 255
    while above + counts[low] < n_keep:
        above += counts[low]
        low -= 1
    smallest = (high << 8) | low
    ties = n_keep - above
    out = 0
    for j in range(len(keys)):
        if keys[j] > smallest or (keys[j] == smallest and ties > 0):
            if keys[j] == smallest:
                ties -= 1
            docs[out] = docs[j]
            keys[out] = keys[j]
            out += 1
    return np.int64(smallest)


@njit(cache=True, nogil=True)
def count_postings(lines, line_terms, line_links, impacts, counts):
    """Write to counts, int64[n_terms], how many of the documents with the first lines `lines`, uint32[n], hold each."""
    counts[:] = 0
    for first in lines:
        line = np.int64(first)
        while True:
            for place in range(impacts.shape[1]):
                if impacts[line, place] == 0:
                    break
                counts[line_terms[line, place]] += 1
            following = np.int64(line_links[line, 15])
            if following <= line or following >= len(line_links):
                break
            line = following


@njit(cache=True, nogil=True)
def fill_postings(lines, line_terms, line_links, impacts, cursors, docs, stored):
    """Write the documents with these first lines, uint32[n], as 0 .. n, and their impacts where each term's cursor is.

    cursors  int64[n_terms], moved on      docs  uint16[]      stored  uint16|float32[]
    """
    for doc in range(len(lines)):
        line = np.int64(lines[doc])
        while True:
            for place in range(impacts.shape[1]):
                if impacts[line, place] == 0:
                    break
                at = cursors[line_terms[line, place]]
                docs[at] = doc
                stored[at] = impacts[line, place]
                cursors[line_terms[line, place]] = at + 1
            following = np.int64(line_links[line, 15])
            if following <= line or following >= len(line_links):
                break
            line = following
