"""Exact search over full postings lists: term at a time, in windows of documents.

Postings are kept by windows of 65,536 documents, in each window by term: so a document is a 16-bit number, a window is
built by itself, and the sums of a window stay in the processor's cache whatever the size of the collection (SINDI, in
VSAG, works so as well). In a window the query's lists are added up one after the other, by rising collection term id
and in float64: the canonical order, so each sum is the canonical score. Then the window's documents go to a heap of the
k best. Source of term-at-a-time: Turtle and Flood, Query evaluation: strategies and optimizations, 1995.

What is kept on the heap is one number a document: its score's bits, and below them the document, so that of equal
scores the smaller document is the better one.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from index.kernels.heap import bar_of, offer_document
from index.kernels.lines import impact_value

WINDOW = 1 << 16
# Shares of a window's documents above which it is swept as a whole, instead of by the postings once more.
_SWEEP = 4
_SPAN = 64
_SURELY_LESS = 1.0 - 2.0**-23


@njit(cache=True, nogil=True)
def search_windows(
    first,
    last,
    n_docs,
    window_entry,
    entry_terms,
    entry_start,
    docs,
    impacts,
    terms,
    weights,
    allowed,
    sums,
    heap,
    size,
):
    """Offer the documents of the windows first .. last to the heap of the best, and return how many it holds then.

    window_entry  int64[n_windows + 1]   into entry_terms: the terms that the window's documents hold
    entry_terms   uint16|uint32[]        rising in a window
    entry_start   int64[n_entries + 1]   into docs, uint16[], rising, counted from the window's first document, and
                  impacts, uint16 (float16 bits)|float32[]
    terms         uint32[m], the query's in the segment's numbers, by rising collection term id
    weights       float32[m], above 0
    allowed       bool[n_docs], or bool[0] for every document
    sums          float64[WINDOW], zeroed, and left so
    heap          int64[k], of which `size` are used; see `best_of`

    Oracle: oracle.brute_force over oracle.canonical_scores.
    """
    starts = np.empty(len(terms), dtype=np.int64)
    stops = np.empty(len(terms), dtype=np.int64)
    for window in range(first, last):
        base = window * WINDOW
        width = min(np.int64(WINDOW), n_docs - base)
        postings = 0
        for i in range(len(terms)):
            entry = find_entry(entry_terms, window_entry[window], window_entry[window + 1], terms[i])
            starts[i] = entry_start[entry] if entry >= 0 else 0
            stops[i] = entry_start[entry + 1] if entry >= 0 else 0
            postings += stops[i] - starts[i]
        for i in range(len(terms)):
            weight = np.float64(weights[i])
            own_docs, own_impacts = docs[starts[i] : stops[i]], impacts[starts[i] : stops[i]]
            for j in range(len(own_docs)):
                sums[own_docs[j]] += weight * np.float64(impact_value(own_impacts[j]))
        # What does not reach the k-th score so far, and that is nearly everything, costs one comparison.
        bar = bar_of(heap, size)
        if postings > width // _SWEEP:
            # Of float32's numbers those that reach the bar are rounded from more than this.
            least = np.float64(bar) * _SURELY_LESS
            for first_place in range(0, width, _SPAN):
                span = sums[first_place : min(first_place + _SPAN, width)]
                if count_above(span, least) > 0:
                    for place in range(len(span)):
                        score = np.float32(span[place])
                        if score > 0.0 and score >= bar:
                            size = offer_document(base + first_place + place, score, allowed, heap, size)
                            bar = bar_of(heap, size)
                    least = np.float64(bar) * _SURELY_LESS
            sums[:] = 0.0
        else:
            for i in range(len(terms)):
                for j in range(starts[i], stops[i]):
                    place = np.int64(docs[j])
                    score = np.float32(sums[place])
                    sums[place] = 0.0
                    # A damaged document stays inside of the collection.
                    if score > 0.0 and score >= bar and place < width:
                        size = offer_document(base + place, score, allowed, heap, size)
                        bar = bar_of(heap, size)
    return size


@njit(cache=True, nogil=True)
def count_above(sums, least):
    """Return how many are above `least`; with neither branches nor places below 0, four are compared at a time."""
    above = 0
    for place in range(len(sums)):
        above += np.int64(sums[place] > least)
    return above


@njit(cache=True, nogil=True)
def find_entry(entry_terms, first, stop, term):
    """Return where `term` is in entry_terms[first:stop], which rises, or -1.

    Terms are numbered by falling frequency and most windows hold the frequent ones, so the place is near the number,
    and never behind it.
    """
    high = min(stop - first, np.int64(term) + 1)
    low = high
    step = 1
    while low > 0 and np.int64(entry_terms[first + low - 1]) >= np.int64(term):
        high = low
        low = max(np.int64(0), low - step)
        step *= 2
    while low < high:
        middle = (low + high) >> 1
        if np.int64(entry_terms[first + middle]) < np.int64(term):
            low = middle + 1
        else:
            high = middle
    if first + low < stop and np.int64(entry_terms[first + low]) == np.int64(term):
        return first + low
    return np.int64(-1)
