"""Exact search over the unpruned postings: term at a time, in windows of documents.

Postings are kept by windows of 65,536 documents, in each window by term: so a document is a 16-bit number, a window is
built by itself, and the sums of a window stay in the processor's cache whatever the size of the collection (as in
SINDI, of VSAG). In a window the query's lists are added up one after the other, by ascending collection term
id and in float64: the canonical order, so each sum is the canonical score. Then the window's documents above the
threshold go to a buffer that keeps the k best (kernels.largest). A sample of the first window's sums gives the first
threshold. Source of term-at-a-time: Turtle and Flood, Query evaluation: strategies and optimizations, 1995.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from index.kernels.heap import key_of
from index.kernels.largest import keep, score_of, select_largest, threshold_from_sample
from index.kernels.lines import impact_value

WINDOW = 1 << 16
# Share of a window's documents, as 1 over it: with more postings the whole window is swept, not the postings again.
_SWEEP = 4
# Sums compared with the threshold in one pass.
_SPAN = 32
_SURELY_LESS = 1.0 - 2.0**-23


class Windows(NamedTuple):
    """Unpruned postings by windows.

    window_entry  int64[n_windows + 1]   into entry_terms: the terms that the window's documents hold
    entry_terms   uint16|uint32[]        ascending in a window
    entry_start   int64[n_entries + 1]   into docs, uint16[], ascending, counted from the window's first document, and
                  impacts, uint16 (float16 bits)|float32[]
    """

    window_entry: NDArray[np.int64]
    entry_terms: NDArray[Any]
    entry_start: NDArray[np.int64]
    docs: NDArray[np.uint16]
    impacts: NDArray[Any]


@njit(cache=True, nogil=True)
def search_windows(
    first, last, n_docs, line_docs,
    window_entry, entry_terms, entry_start, docs, impacts,
    terms, weights, allowed, sums, found, found_sums, sample, k, keys, size,
):  # fmt: skip
    """Add the best documents of the windows first .. last to `keys`, and return how many it holds then: at most k.

    line_docs     uint32[n_docs], the document of each line, if the windows are in the order of lines, else uint32[0]
    window_entry .. impacts   as in Windows, one at a time (docs/decisions/0111)
    terms         uint32[m], the query's in the segment's numbers, by ascending collection term id
    weights       float32[m], above 0
    allowed       bool[n_docs], or bool[0] for every document
    sums          float64[WINDOW], zeroed, and left so
    found         int32[WINDOW + 1], found_sums, float64[WINDOW + 1], and sample, int64[WINDOW], written
    keys          int64[more than k], of which `size` are used: the best of the windows before; see kernels.largest

    Oracle: oracle.brute_force over oracle.canonical_scores.
    """
    windows = Windows(window_entry, entry_terms, entry_start, docs, impacts)
    starts = np.empty(len(terms), dtype=np.int64)
    stops = np.empty(len(terms), dtype=np.int64)
    threshold = score_of(select_largest(keys, size, k)) if size == k else np.float32(0.0)
    for window in range(first, last):
        base = window * WINDOW
        width = min(np.int64(WINDOW), n_docs - base)
        postings = find_postings(window, windows, terms, starts, stops)
        add_up(windows, weights, starts, stops, sums)
        if postings > width // _SWEEP:
            totals = sums[:width]
            if len(allowed) and len(line_docs) == 0:
                leave_out(totals, allowed[base : base + width])
            if threshold == 0.0 and (len(allowed) == 0 or len(line_docs) == 0):
                threshold = threshold_from_sample(totals, k, sample)
            size, threshold = keep_all(totals, base, line_docs, allowed, found, found_sums, threshold, k, keys, size)
        else:
            size, threshold = keep_matching(
                windows, starts, stops, sums, base, width, line_docs, allowed, threshold, k, keys, size
            )
    if size > k:
        select_largest(keys, size, k)
    return min(size, k)


@njit(cache=True, nogil=True)
def find_postings(window, windows, terms, starts, stops):
    """Write where each term's postings are in the window, starts .. stops; return how many they are together."""
    window_entry, entry_terms, entry_start = windows.window_entry, windows.entry_terms, windows.entry_start
    postings = 0
    for i in range(len(terms)):
        entry = find_entry(entry_terms, window_entry[window], window_entry[window + 1], terms[i])
        starts[i] = entry_start[entry] if entry >= 0 else 0
        stops[i] = entry_start[entry + 1] if entry >= 0 else 0
        postings += stops[i] - starts[i]
    return postings


@njit(cache=True, nogil=True)
def add_up(windows, weights, starts, stops, sums):
    """Add weight * impact of each posting to its document's sum."""
    docs, impacts = windows.docs, windows.impacts
    for i in range(len(weights)):
        weight = np.float64(weights[i])
        own_docs, own_impacts = docs[starts[i] : stops[i]], impacts[starts[i] : stops[i]]
        for j in range(len(own_docs)):
            sums[own_docs[j]] += weight * np.float64(impact_value(own_impacts[j]))


@njit(cache=True, nogil=True)
def leave_out(sums, allowed):
    """Set the sums of a window's documents that are not allowed to 0, without branches."""
    for place in range(len(sums)):
        sums[place] = sums[place] if allowed[place] else 0.0


@njit(cache=True, nogil=True)
def keep_all(sums, base, line_docs, allowed, found, found_sums, threshold, k, keys, size):
    """Keep the best of a window's documents, base .. base + len(sums), and set the sums to 0; return (how many keys,
    the threshold)."""
    for i in range(take_above(sums, np.float64(threshold) * _SURELY_LESS, found, found_sums)):
        score = np.float32(found_sums[i])
        if score > 0.0 and score >= threshold:
            doc = document_at(base + np.int64(found[i]), line_docs)
            if len(allowed) == 0 or allowed[doc]:
                size, threshold = keep(key_of(doc, score), k, keys, size, threshold)
    return size, threshold


@njit(cache=True, nogil=True)
def document_at(place, line_docs):
    """Return the document at a place of the windows (see `search_windows`); a damaged one stays in the collection."""
    if len(line_docs) == 0:
        return np.int64(place)
    return min(np.int64(line_docs[place]), np.int64(len(line_docs)) - 1)


@njit(cache=True, nogil=True)
def keep_matching(windows, starts, stops, sums, base, width, line_docs, allowed, threshold, k, keys, size):
    """Keep the best documents of the postings starts .. stops, and set their sums to 0; return as `keep_all` does."""
    docs = windows.docs
    for i in range(len(starts)):
        for j in range(starts[i], stops[i]):
            place = np.int64(docs[j])
            score = np.float32(sums[place])
            sums[place] = 0.0
            # A damaged document stays inside the collection.
            if score > 0.0 and score >= threshold and place < width:
                doc = document_at(base + place, line_docs)
                if len(allowed) == 0 or allowed[doc]:
                    size, threshold = keep(key_of(doc, score), k, keys, size, threshold)
    return size, threshold


@njit(cache=True, nogil=True)
def take_above(sums, least, found, found_sums):
    """Write the places of the sums above `least` to found, and these sums to found_sums; set all to 0.

    found, found_sums   int32, float64[at least len(sums) + 1]

    Returned is how many there are. A number that rounds to a float32 of at least the threshold is above the threshold
    times _SURELY_LESS.
    """
    n = np.int64(0)
    for first in range(0, len(sums), _SPAN):
        span = sums[first : min(first + _SPAN, len(sums))]
        above = 0
        # Neither branches nor places below 0, so that eight are compared at a time. Nearly all spans end here.
        for place in range(len(span)):
            above += np.int64(span[place] > least)
        if above > 0:
            for place in range(len(span)):
                found[n] = first + place
                found_sums[n] = span[place]
                n += np.int64(span[place] > least)
        for place in range(len(span)):
            span[place] = 0.0
    return n


@njit(cache=True, nogil=True)
def find_entry(entry_terms, first, stop, term):
    """Return where `term` is in entry_terms[first:stop], which ascends, or -1.

    Terms are numbered by descending frequency and most windows hold the frequent ones, so the place is near the
    number, and never behind it.
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
