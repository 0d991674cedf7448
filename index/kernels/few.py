"""Searching the few documents that a filter allows: bounds of all of them, so that few need a canonical score.

For a filter that allows few documents each of these is bounded by its sketch and the levels of its further lines
(kernels.lines), which reads no canonical impact:

* An impact of a sketch is at most half a step more than it says, and at most a step less.
* Further terms are by descending impact. So an impact is at most the level of the group before, the first group's at
  most the sketch's last, and at least the level of the group after; a level is a range of float16 bits.

The k-th largest lower bound is a threshold: only documents whose upper bound reaches it may be among the k best.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from index.kernels.heap import offer
from index.kernels.lines import GROUP, LEVEL_SHIFT, LEVELLED, TWO_TO_112, further_lines, level_of, prefetch_further
from index.kernels.prefetching import prefetch

_LINES_AHEAD = 12
_DOCUMENTS_AHEAD = 6
# More than all roundings of a bound together.
_UP, _DOWN = np.float64(1.0 + 1e-5), np.float64(1.0 - 1e-5)
_FLOAT16_TO_FLOAT32 = 13


@njit(cache=True, nogil=True)
def list_allowed(words, allowed, found):
    """Write the numbers of the allowed documents to found, int64[most], ascending; return how many, or -1 if more.

    allowed   bool[n_docs]     words  uint64[n_docs // 8], the same bytes: eight documents are passed over at a time

    Oracle: numpy.flatnonzero.
    """
    n, most = np.int64(0), np.int64(len(found))
    for word in range(len(words) + 1):
        if word < len(words) and words[word] == 0:
            continue
        for doc in range(8 * word, min(8 * word + 8, len(allowed))):
            if allowed[doc]:
                if n == most:
                    return np.int64(-1)
                found[n] = doc
                n += 1
    return n


@njit(cache=True, nogil=True)
def may_be_best(lines, k, documents, scale, terms, weights, per_step, per_unit, uppers, chosen):
    """Write to chosen, uint32[n], the `lines` of documents that may be among the k best; return how many.

    lines      uint32[n], documents by their lines, each once, ascending to be read faster
    documents  kernels.lines.Documents, whose further lines have levels      scale  float32[n_terms]
    terms, weights      uint32[m], float32[m], the query's, in the segment's numbers
    per_step, per_unit  float32[2**16], zeroed, and left so
    uppers     float64[n], written

    All documents whose canonical score is at least the k-th best one's are among them. Oracle: oracle.brute_force over
    oracle.canonical_scores.
    """
    steps = 0.0
    for i in range(len(terms)):
        per_step[terms[i]] = weights[i] * scale[terms[i]]
        per_unit[terms[i]] = weights[i]
        steps += np.float64(per_step[terms[i]])
    n = len(lines)
    heap = np.empty(min(k, max(1, n)), dtype=np.int64)
    size, threshold = np.int64(0), 0.0
    line_bytes, line_links, further = documents.line_bytes, documents.line_links, documents.further_terms
    for i in range(n):
        if i + _LINES_AHEAD < n:
            prefetch(line_bytes, np.int64(lines[i + _LINES_AHEAD]))
        if i + _DOCUMENTS_AHEAD < n:
            prefetch_further(np.int64(lines[i + _DOCUMENTS_AHEAD]), line_links, further)
        sketch = sketch_score(np.int64(lines[i]), documents, per_step)
        most = sketch + further_at_most(np.int64(lines[i]), documents, scale, per_unit)
        uppers[i] = (np.float64(most) + 0.5 * steps) * _UP
        if uppers[i] >= threshold:
            least = sketch + further_at_least(np.int64(lines[i]), documents, per_unit)
            lower = (np.float64(least) - steps) * _DOWN
            if lower > 0.0:
                size = offer(np.float64(lower).view(np.int64), heap, size)
                threshold = np.int64(heap[0]).view(np.float64) if size == k else 0.0
    for i in range(len(terms)):
        per_step[terms[i]] = 0.0
        per_unit[terms[i]] = 0.0
    found = 0
    for i in range(n):
        chosen[found] = lines[i]
        found += np.int64(uppers[i] >= threshold)
    return found


@njit(cache=True, nogil=True, inline="always")
def sketch_score(line, documents, per_step):
    """Return the score of a document's sketch, float32."""
    score = np.float32(0.0)
    for p in range(20):
        score += per_step[documents.line_terms[line, p]] * np.float32(documents.line_bytes[line, 40 + p])
    return score


@njit(cache=True, nogil=True, inline="always")
def further_at_most(line, documents, scale, per_unit):
    """Return what a document's further terms add to its score at most, float32."""
    further = documents.further_terms
    row, left = further_lines(line, documents.line_links, further, np.int64(LEVELLED))
    last = min(np.int64(documents.line_terms[line, 19]), np.int64(len(scale)) - 1)
    # In units of 2**112, as levels are.
    above = (np.float32(documents.line_bytes[line, 59]) + np.float32(0.5)) * scale[last] / TWO_TO_112
    most = np.float32(0.0)
    left += np.int64(left > 0)  # the number of terms takes a place
    while left > 0:
        for group in range(LEVELLED // GROUP):
            most += weight_of(row, group, further, per_unit) * above
            above = as_float32(level_of(row, group, further) + np.uint32(1))
        left -= LEVELLED
        row += 1
    return most * TWO_TO_112


@njit(cache=True, nogil=True)
def further_at_least(line, documents, per_unit):
    """Return what a document's further terms add to its score at least, float32."""
    further = documents.further_terms
    row, left = further_lines(line, documents.line_links, further, np.int64(LEVELLED))
    least, waiting = np.float32(0.0), np.float32(0.0)
    left += np.int64(left > 0)
    while left > 0:
        for group in range(LEVELLED // GROUP):
            least += waiting * as_float32(level_of(row, group, further))
            waiting = weight_of(row, group, further, per_unit)
        left -= LEVELLED
        row += 1
    return least * TWO_TO_112


@njit(cache=True, nogil=True, inline="always")
def weight_of(row, group, further, per_unit):
    """Return the sum of the query's weights of a group's terms, float32."""
    at = group * GROUP
    first = per_unit[further[row, at]] + per_unit[further[row, at + 1]]
    return first + (per_unit[further[row, at + 2]] + per_unit[further[row, at + 3]])


@njit(cache=True, nogil=True, inline="always")
def as_float32(level):
    """Return the least impact of a level, uint32, in units of 2**112."""
    return np.uint32(level << np.uint32(LEVEL_SHIFT + _FLOAT16_TO_FLOAT32)).view(np.float32)
